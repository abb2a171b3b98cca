//! `[outputs.…]`.

use super::data::{self, Kind};
use super::section::{At, Section};
use crate::draft::{Output, path_fault};
use crate::report::Findings;
use crate::service::{
    Batch, Complete, Delivery, OutputSource, RECORDS_MAX_DEFAULT, RECORDS_WAIT_DEFAULT, Stream,
};
use anabranch_model::id::check_identifier;
use anabranch_model::{ComplexDomain, DataDescription, LiteralDomain, OutputDescription, Publication};
use std::path::Path;

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
            for key in ["uom", "crs", "formats", "publish", "deliver"] {
                section.known(key);
            }
            return None;
        }
    };
    let publication = publication(findings, section, source.as_ref());
    let description =
        OutputDescription { id: id.to_owned(), title, description, keywords, data, publication };
    let delivery = delivery(findings, section);
    Some(Output { span: section.span.clone(), description, source, formats, delivery })
}

fn publication(
    findings: &mut Findings,
    section: &mut Section<'_>,
    source: Option<&OutputSource>,
) -> Option<Publication> {
    let context_of = match source {
        Some(OutputSource::Layers(outputs)) => outputs.clone(),
        _ => Vec::new(),
    };
    let Some(mut part) = section.section(findings, "publish") else {
        return (!context_of.is_empty()).then(|| Publication { context_of, ..Publication::default() });
    };
    let text = |at: Option<At<&str>>| at.map(|at| at.value.to_owned());
    let publication = Publication {
        as_layer: part.boolean(findings, "as_layer").is_some_and(|at| at.value),
        layer_name: text(part.string(findings, "layer_name")),
        default_style: text(part.string(findings, "default_style")),
        workspace: text(part.string(findings, "workspace")),
        context_of,
    };
    part.finish(findings);
    Some(publication)
}

fn delivery(findings: &mut Findings, section: &mut Section<'_>) -> Option<Delivery> {
    let mut part = section.section(findings, "deliver")?;
    let delivery = Delivery {
        shared_folder: part.boolean(findings, "shared_folder").is_some_and(|at| at.value),
        upload: part.boolean(findings, "upload").is_some_and(|at| at.value),
        upload_folder: part.string(findings, "upload_folder").map(|at| at.value.to_owned()),
        metadata_file: part
            .string(findings, "metadata_file")
            .and_then(|at| path(findings, &part, "metadata_file", &at)),
    };
    part.finish(findings);
    Some(delivery)
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
    let layers = section.strings(findings, "layers");
    let complete = complete(findings, section);
    let batch = batch(findings, section);
    let named = [file.is_some(), glob.is_some(), stdout.is_some(), has_pattern, section.has("layers")];
    match named.iter().filter(|given| **given).count() {
        1 => {}
        0 => {
            section.fault(
                findings,
                &section.span,
                "has no source: file, glob, stdout = true, pattern or layers",
            );
            return None;
        }
        _ => {
            section.fault(
                findings,
                &section.span,
                "has several sources: file, glob, stdout, pattern and layers exclude each other",
            );
            return None;
        }
    }
    if announced_given && glob.is_none() {
        section.fault(findings, &section.span, "announced goes with glob only");
    }
    if complete.is_some() && (glob.is_none() || announced_given) {
        section.fault(findings, &section.span, "complete goes with glob only, and not with announced");
    }
    if batch.is_some() && stdout.is_none() {
        section.fault(findings, &section.span, "records goes with stdout = true only");
    }
    if is_known && !is_complex && batch.is_some() {
        section.fault(findings, &section.span, "records is for complex data only");
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
        let complete = complete.unwrap_or(Complete::AtEnd);
        return Some(OutputSource::Glob {
            pattern,
            announced: announced.map(|regex| (stream, regex)),
            complete,
        });
    }
    if let (Some(_), Some(batch)) = (&stdout, batch) {
        return Some(OutputSource::Records(batch));
    }
    if stdout.is_some() {
        return Some(OutputSource::Stdout);
    }
    if section.has("layers") {
        return Some(OutputSource::Layers(layers.into_iter().map(|at| at.value.to_owned()).collect()));
    }
    pattern.map(|pattern| OutputSource::Line { stream, pattern })
}

fn complete(findings: &mut Findings, section: &mut Section<'_>) -> Option<Complete> {
    let at = section.string(findings, "complete")?;
    let found = Complete::ALL.iter().find(|(_, name)| *name == at.value);
    if found.is_none() {
        let text = format!("complete must be \"end\", \"next\", \"named\" or \"closed\", not {:?}", at.value);
        section.fault(findings, &at.span, text);
    }
    found.map(|(complete, _)| *complete)
}

fn batch(findings: &mut Findings, section: &mut Section<'_>) -> Option<Batch> {
    let mut part = section.section(findings, "records")?;
    let records_max = part.count(findings, "max");
    let wait_max = part.duration(findings, "wait").map_or(RECORDS_WAIT_DEFAULT, |at| at.value);
    if let Some(at) = records_max.as_ref().filter(|at| at.value == 0) {
        part.fault(findings, &at.span, "max must be at least 1");
    }
    part.finish(findings);
    Some(Batch { records_max: records_max.map_or(RECORDS_MAX_DEFAULT, |at| at.value), wait_max })
}

fn path(findings: &mut Findings, section: &Section<'_>, key: &str, at: &At<&str>) -> Option<String> {
    match path_fault(at.value).filter(|_| !(key != "glob" && is_shared(at.value))) {
        Some(fault) => {
            section.fault(findings, &at.span, format!("{key} {:?} {fault}", at.value));
            None
        }
        None => Some(at.value.to_owned()),
    }
}

/// An absolute path, which is the author's choice: all runs share that file.
fn is_shared(path: &str) -> bool {
    let plain = |part: &str| part != "." && part != "..";
    Path::new(path).is_absolute() && !path.ends_with('/') && path.split('/').all(plain)
}

fn glob_pattern(findings: &mut Findings, section: &Section<'_>, at: &At<&str>) -> Option<String> {
    let pattern = path(findings, section, "glob", at)?;
    if let Err(error) = glob::Pattern::new(&pattern) {
        section.fault(findings, &at.span, format!("glob {pattern:?} is wrong: {}", error.msg));
        return None;
    }
    Some(pattern)
}
