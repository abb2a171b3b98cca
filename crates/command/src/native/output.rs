//! `[outputs.…]`.

use super::data::{self, Kind, NamedFormat};
use super::section::{At, Section};
use crate::report::Findings;
use crate::service::{OutputRule, OutputSource, Stream};
use anabranch_model::id::check_identifier;
use anabranch_model::{ComplexDomain, DataDescription, LiteralDomain, OutputDescription};
use std::ops::Range;

/// An output and where it stands.
pub(super) struct Output {
    pub(super) span: Range<usize>,
    pub(super) description: OutputDescription,
    /// `None` after a fault.
    pub(super) source: Option<OutputSource>,
    formats: Vec<NamedFormat>,
}

impl Output {
    pub(super) fn into_rule(self) -> Option<OutputRule> {
        let named = self.formats.into_iter().filter_map(|(format, name)| Some((format, name?)));
        Some(OutputRule { id: self.description.id, source: self.source?, format_names: named.collect() })
    }
}

pub(super) fn read_all(findings: &mut Findings, root: &mut Section<'_>) -> Vec<Output> {
    let mut outputs = Vec::new();
    let entries = root.entries(findings, "outputs");
    if entries.is_empty() {
        root.fault(findings, &root.span, "outputs is missing: a process has one output at least");
    }
    for (name, found) in entries {
        if let Err(error) = check_identifier(name.value) {
            findings.fault(&name.span, format!("output: {error}"));
        }
        let Some(table) = found.get_ref().as_table() else {
            findings.fault(&found.span(), format!("output '{}' must be a table", name.value));
            continue;
        };
        let mut section = Section::new(format!("output '{}'", name.value), name.span.clone(), table);
        outputs.extend(read(findings, &mut section, name.value));
        section.finish(findings);
    }
    outputs
}

fn read(findings: &mut Findings, section: &mut Section<'_>, id: &str) -> Option<Output> {
    let title = section.string(findings, "title").map_or(id, |at| at.value).to_owned();
    let description = section.string(findings, "abstract").map(|at| at.value.to_owned()).unwrap_or_default();
    let keywords = section.strings(findings, "keywords").into_iter().map(|at| at.value.to_owned()).collect();
    let kind = data::kind(findings, section);
    let source = source(findings, section, matches!(kind, Some(Kind::Complex)), kind.is_some());
    let mut formats = Vec::new();
    let data = match kind {
        Some(Kind::Literal(data_type)) => {
            let uom = section.string(findings, "uom").map(|at| at.value.to_owned());
            let uoms = uom.into_iter().collect();
            DataDescription::Literal(LiteralDomain { uoms, ..LiteralDomain::any(data_type) })
        }
        Some(Kind::BoundingBox) => DataDescription::BoundingBox(data::bounding_box(findings, section)),
        Some(Kind::Complex) => {
            formats = data::formats(findings, section);
            let formats = formats.iter().map(|(format, _)| format.clone()).collect();
            DataDescription::Complex(ComplexDomain { formats, bytes_max: None })
        }
        None => {
            for key in ["uom", "crs", "formats"] {
                section.known(key);
            }
            return None;
        }
    };
    let description = OutputDescription { id: id.to_owned(), title, description, keywords, data };
    Some(Output { span: section.span.clone(), description, source, formats })
}

fn source(
    findings: &mut Findings,
    section: &mut Section<'_>,
    is_complex: bool,
    is_known: bool,
) -> Option<OutputSource> {
    let file = section.string(findings, "file");
    let glob = section.string(findings, "glob");
    let stdout = section.boolean(findings, "stdout").filter(|at| at.value);
    let has_pattern = section.has("pattern");
    let pattern = data::pattern(findings, section, "pattern", 1);
    let announced_given = section.has("announced");
    let announced = data::pattern(findings, section, "announced", 1);
    let stream_given = section.has("stream");
    let stream = data::stream(findings, section).unwrap_or(Stream::Stdout);
    let named = [file.is_some(), glob.is_some(), stdout.is_some(), has_pattern];
    match named.iter().filter(|given| **given).count() {
        1 => {}
        0 => {
            section.fault(findings, &section.span, "has no source: file, glob, stdout = true or pattern");
            return None;
        }
        _ => {
            section.fault(
                findings,
                &section.span,
                "has several sources: file, glob, stdout and pattern exclude each other",
            );
            return None;
        }
    }
    if announced_given && glob.is_none() {
        section.fault(findings, &section.span, "announced goes with glob only");
    }
    if stream_given && !has_pattern && !announced_given {
        section.fault(findings, &section.span, "stream goes with pattern or announced only");
    }
    if is_known && is_complex && has_pattern {
        section.fault(
            findings,
            &section.span,
            "complex data can't come from a line: pattern is for literals and boxes",
        );
    }
    if is_known && !is_complex && glob.is_some() {
        section.fault(findings, &section.span, "glob is for complex data only");
    }
    if let Some(at) = file {
        return path(findings, section, "file", &at).map(OutputSource::File);
    }
    if let Some(at) = glob {
        let pattern = glob_pattern(findings, section, &at)?;
        return Some(OutputSource::Glob { pattern, announced: announced.map(|regex| (stream, regex)) });
    }
    if stdout.is_some() {
        return Some(OutputSource::Stdout);
    }
    pattern.map(|pattern| OutputSource::Line { stream, pattern })
}

fn path(findings: &mut Findings, section: &Section<'_>, key: &str, at: &At<&str>) -> Option<String> {
    match data::path_fault(at.value) {
        Some(fault) => {
            section.fault(findings, &at.span, format!("{key} {:?} {fault}", at.value));
            None
        }
        None => Some(at.value.to_owned()),
    }
}

fn glob_pattern(findings: &mut Findings, section: &Section<'_>, at: &At<&str>) -> Option<String> {
    let pattern = path(findings, section, "glob", at)?;
    if let Err(error) = glob::Pattern::new(&pattern) {
        section.fault(findings, &at.span, format!("glob {pattern:?} is wrong: {}", error.msg));
        return None;
    }
    Some(pattern)
}
