//! `[outputs.…]`.

mod source;

use super::data::{self, Kind};
use super::section::{At, Section};
use crate::draft::Output;
use crate::report::Findings;
use crate::service::{Delivery, OutputSource};
use anabranch_model::id::check_identifier;
use anabranch_model::{ComplexDomain, DataDescription, LiteralDomain, OutputDescription, Publication};

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
    let source = source::read(findings, section, kind.as_ref());
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
            .and_then(|at| source::path(findings, &part, "metadata_file", &at)),
    };
    part.finish(findings);
    Some(delivery)
}
