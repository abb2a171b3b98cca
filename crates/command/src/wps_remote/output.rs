//! `[Output…]`.

use super::input::{DataType, data_type};
use super::table::{Context, Table};
use crate::draft::Output;
use crate::ini::Section;
use crate::report::Findings;
use crate::service::{Delivery, OutputSource};
use anabranch_model::id::check_identifier;
use anabranch_model::{
    ComplexDomain, DataDescription, Format, LiteralDomain, LiteralType, OutputDescription, Publication,
};

pub(super) fn read(findings: &mut Findings, context: &Context<'_>, section: &Section) -> Option<Output> {
    let mut table = Table::new(context, section);
    let name = table.required(findings, "name");
    if let Some(at) = &name
        && let Err(error) = check_identifier(&at.value)
    {
        table.fault(findings, &at.span, format!("name: {error}"));
    }
    let declared = table.required(findings, "type");
    let title = table.text(findings, "title").map(|at| at.value);
    let description = table.text(findings, "description").map(|at| at.value).unwrap_or_default();
    let media_type = table.text(findings, "output_mime_type");
    let is_map = declared.as_ref().is_some_and(|at| at.value.contains("application/owc"));
    let layers = layers(findings, &mut table, is_map);
    let source = if is_map {
        layers.clone().map(OutputSource::Layers)
    } else {
        let at = table.required(findings, "filepath");
        at.and_then(|at| table.result_path(findings, "filepath", &at)).map(OutputSource::File)
    };
    let publication = publication(findings, &mut table, layers);
    let delivery = delivery(findings, &mut table);
    let span = table.span().clone();
    let data = match declared.as_ref().map(|at| data_type(&at.value).0) {
        _ if is_map => Some(DataDescription::Literal(LiteralDomain::any(LiteralType::String))),
        Some(Some(DataType::Literal(data_type))) => {
            Some(DataDescription::Literal(LiteralDomain::any(data_type)))
        }
        Some(Some(DataType::Complex(declared))) => {
            let format = Format::new(media_type.map_or(declared, |at| at.value));
            Some(DataDescription::Complex(ComplexDomain { formats: vec![format], bytes_max: None }))
        }
        Some(None) => {
            if let Some(at) = &declared {
                let text = format!("type must be string or a media type, not {:?}", at.value);
                table.fault(findings, &at.span, text);
            }
            None
        }
        None => None,
    };
    table.finish(findings);
    let id = name?.value;
    let title = title.unwrap_or_else(|| id.clone());
    let data = data?;
    let description = OutputDescription { id, title, description, keywords: Vec::new(), data, publication };
    Some(Output { span, description, source, formats: Vec::new(), delivery })
}

/// `layers_to_publish`: names of outputs, between semicolons.
fn layers(findings: &mut Findings, table: &mut Table<'_>, is_map: bool) -> Option<Vec<String>> {
    if !is_map {
        return None;
    }
    let at = table.required(findings, "layers_to_publish")?;
    Some(at.value.split(';').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect())
}

/// The layers of maps are outputs of the file.
pub(super) fn check_layers(findings: &mut Findings, outputs: &[Output]) {
    for output in outputs {
        let Some(OutputSource::Layers(layers)) = &output.source else { continue };
        for layer in layers {
            if !outputs.iter().any(|other| other.description.id == *layer) {
                let text = format!("layers_to_publish: {layer:?} is no output of this file");
                findings.fault(&output.span, text);
            }
        }
    }
}

fn publication(
    findings: &mut Findings,
    table: &mut Table<'_>,
    context_of: Option<Vec<String>>,
) -> Option<Publication> {
    let (as_layer, is_map) = (table.boolean(findings, "publish_as_layer"), context_of.is_some());
    let mut text = |key| table.text(findings, key).map(|at| at.value);
    let publication = Publication {
        as_layer: as_layer.unwrap_or(is_map),
        layer_name: text("publish_layer_name"),
        default_style: text("publish_default_style"),
        workspace: text("publish_target_workspace"),
        context_of: context_of.unwrap_or_default(),
    };
    (publication != Publication::default()).then_some(publication)
}

fn delivery(findings: &mut Findings, table: &mut Table<'_>) -> Option<Delivery> {
    let metadata = table.text(findings, "publish_metadata");
    let delivery = Delivery {
        shared_folder: table.boolean(findings, "backup_on_wps_execution_shared_dir").unwrap_or_default(),
        upload: table.boolean(findings, "upload_data").unwrap_or_default(),
        upload_folder: table.text(findings, "upload_data_root").map(|at| at.value),
        metadata_file: metadata.and_then(|at| table.result_path(findings, "publish_metadata", &at)),
    };
    (delivery != Delivery::default()).then_some(delivery)
}
