//! `[groups.…]`: inputs and outputs that belong together.

use super::section::Section;
use crate::report::Findings;
use anabranch_model::group::{GROUP_DEPTH_MAX, groups_around};
use anabranch_model::id::check_identifier;
use anabranch_model::{GroupDescription, InputDescription, OutputDescription};

pub(super) fn read_all(
    findings: &mut Findings,
    root: &mut Section<'_>,
    inputs: &[InputDescription],
    outputs: &[OutputDescription],
) -> Vec<GroupDescription> {
    let (mut groups, mut spans) = (Vec::new(), Vec::new());
    for (name, found) in root.entries(findings, "groups") {
        if let Err(error) = check_identifier(name.value) {
            findings.fault(&name.span, format!("group: {error}"));
        }
        let Some(table) = found.get_ref().as_table() else {
            findings.fault(&found.span(), format!("group '{}' must be a table", name.value));
            continue;
        };
        let mut section = Section::new(format!("group '{}'", name.value), name.span.clone(), table);
        groups.push(read(findings, &mut section, name.value, inputs));
        let group = &groups[groups.len() - 1];
        let members = inputs.iter().map(|input| &input.id).chain(outputs.iter().map(|output| &output.id));
        if !members.into_iter().any(|id| group.holds(id)) {
            let text = format!("is empty: no input or output is called \"{}.…\"", group.id);
            section.fault(findings, &name.span, text);
        }
        section.finish(findings);
        spans.push(name.span);
    }
    for (group, span) in groups.iter().zip(&spans) {
        if groups_around(&groups, &group.id).len() >= GROUP_DEPTH_MAX {
            let text = format!("group '{}' lies in more than {} groups", group.id, GROUP_DEPTH_MAX - 1);
            findings.fault(span, text);
        }
    }
    groups
}

fn read(
    findings: &mut Findings,
    section: &mut Section<'_>,
    id: &str,
    inputs: &[InputDescription],
) -> GroupDescription {
    let title = section.string(findings, "title").map_or(id, |at| at.value).to_owned();
    let description = section.string(findings, "abstract").map(|at| at.value.to_owned()).unwrap_or_default();
    let mut group = GroupDescription { id: id.to_owned(), title, description, needs: Vec::new() };
    for needed in section.strings(findings, "needs") {
        if !group.holds(needed.value) || !inputs.iter().any(|input| input.id == needed.value) {
            let text = format!("needs '{}', which is no input of the group", needed.value);
            section.fault(findings, &needed.span, text);
        }
        group.needs.push(needed.value.to_owned());
    }
    group
}
