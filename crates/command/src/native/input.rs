//! `[inputs.…]`.

use super::data::{self, Kind};
use super::section::Section;
use crate::draft::{Input, date_format_fault, path_fault};
use crate::report::Findings;
use crate::service::{InputDefault, InputRule};
use anabranch_model::id::check_identifier;
use anabranch_model::{ComplexDomain, DataDescription, InputDescription, LiteralType, Occurs};
use std::path::Path;

pub(super) fn read_all(findings: &mut Findings, root: &mut Section<'_>, folder: &Path) -> Vec<Input> {
    let mut inputs = Vec::new();
    for (name, found) in root.entries(findings, "inputs") {
        if let Err(error) = check_identifier(name.value) {
            findings.fault(&name.span, format!("input: {error}"));
        }
        let Some(table) = found.get_ref().as_table() else {
            findings.fault(&found.span(), format!("input '{}' must be a table", name.value));
            continue;
        };
        let mut section = Section::new(format!("input '{}'", name.value), name.span.clone(), table);
        inputs.extend(read(findings, &mut section, name.value, folder));
        section.finish(findings);
    }
    inputs
}

fn read(findings: &mut Findings, section: &mut Section<'_>, id: &str, folder: &Path) -> Option<Input> {
    let title = section.string(findings, "title").map_or(id, |at| at.value).to_owned();
    let description = section.string(findings, "abstract").map(|at| at.value.to_owned()).unwrap_or_default();
    let keywords = section.strings(findings, "keywords").into_iter().map(|at| at.value.to_owned()).collect();
    let mut rule = InputRule {
        id: id.to_owned(),
        file_name: None,
        default: None,
        date_format: None,
        allow_leading_dash: false,
    };
    let kind = data::kind(findings, section);
    let data = kind.map(|kind| match kind {
        Kind::Literal(data_type) => {
            rule.allow_leading_dash =
                section.boolean(findings, "allow_leading_dash").is_some_and(|at| at.value);
            rule.date_format = date_format(findings, section, data_type);
            DataDescription::Literal(data::literal(findings, section, data_type))
        }
        Kind::BoundingBox => DataDescription::BoundingBox(data::bounding_box(findings, section)),
        Kind::Complex => DataDescription::Complex(complex(findings, section, &mut rule, folder)),
    });
    let has_default = rule.default.is_some()
        || matches!(&data, Some(DataDescription::Literal(domain)) if domain.default.is_some());
    let occurs = occurs(findings, section, has_default);
    let Some(data) = data else {
        // Which keys it may hold depends on the type: without one they can't be called unknown.
        for key in [
            "default",
            "minimum",
            "maximum",
            "allowed",
            "uom",
            "uoms",
            "allow_leading_dash",
            "crs",
            "date_format",
        ] {
            section.known(key);
        }
        for key in ["formats", "size_max", "default_file", "file_name"] {
            section.known(key);
        }
        return None;
    };
    let description = InputDescription { id: id.to_owned(), title, description, keywords, occurs, data };
    Some(Input { span: section.span.clone(), description, rule })
}

fn date_format(findings: &mut Findings, section: &mut Section<'_>, data_type: LiteralType) -> Option<String> {
    let at = section.string(findings, "date_format")?;
    if data_type != LiteralType::DateTime {
        section.fault(findings, &at.span, "date_format is for type dateTime only");
    } else if let Some(fault) = date_format_fault(at.value) {
        section.fault(findings, &at.span, format!("date_format {:?} {fault}", at.value));
    }
    Some(at.value.to_owned())
}

fn occurs(findings: &mut Findings, section: &mut Section<'_>, has_default: bool) -> Occurs {
    let min_at = section.count(findings, "min_occurs");
    let max_at = section.bound(findings, "max_occurs");
    let min = min_at.as_ref().map(|at| u32::try_from(at.value).unwrap_or(u32::MAX));
    let occurs = Occurs {
        min: min.unwrap_or_else(|| u32::from(!has_default)),
        max: max_at.as_ref().map_or(Some(1), |at| at.value),
    };
    if let Some(max) = occurs.max
        && (max == 0 || max < occurs.min)
        && let Some(span) = max_at.map(|at| at.span).or_else(|| min_at.map(|at| at.span))
    {
        let text = format!("max_occurs {max} must be at least 1 and at least min_occurs {}", occurs.min);
        section.fault(findings, &span, text);
    }
    occurs
}

fn complex(
    findings: &mut Findings,
    section: &mut Section<'_>,
    rule: &mut InputRule,
    folder: &Path,
) -> ComplexDomain {
    let formats = data::formats(findings, section).into_iter().map(|(format, _)| format).collect();
    let bytes_max = section.bytes(findings, "size_max");
    if let Some(at) = section.string(findings, "default_file") {
        let path = folder.join(at.value);
        if !path.is_file() {
            section.fault(findings, &at.span, format!("default_file {:?} does not exist", at.value));
        }
        rule.default = Some(InputDefault::File(path));
    }
    if let Some(at) = section.string(findings, "default") {
        if rule.default.is_some() {
            section.fault(findings, &at.span, "default and default_file exclude each other");
        }
        rule.default = Some(InputDefault::Text(at.value.to_owned()));
    }
    if let Some(at) = section.string(findings, "file_name") {
        let fault = path_fault(at.value)
            .or_else(|| at.value.contains('/').then_some("must be a name without folders"));
        if let Some(fault) = fault {
            section.fault(findings, &at.span, format!("file_name {:?} {fault}", at.value));
        }
        rule.file_name = Some(at.value.to_owned());
    }
    ComplexDomain { formats, bytes_max }
}
