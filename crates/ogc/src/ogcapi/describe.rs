//! A process description (§7.10, and the *OGC process description* of §8).

use super::link::BaseUrl;
use super::processes::{ProcessSummary, summary};
use super::schema;
use anabranch_model::{DataDescription, InputDescription, OutputDescription, ProcessDescription};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// A description (`process.yaml`).
#[derive(Clone, Debug, Serialize)]
pub struct Process<'a> {
    /// What lists say too.
    #[serde(flatten)]
    pub summary: ProcessSummary<'a>,
    /// By identifier (`inputDescription.yaml`).
    pub inputs: Map<String, Value>,
    /// By identifier (`outputDescription.yaml`).
    pub outputs: Map<String, Value>,
}

/// Describes a process.
#[must_use]
pub fn describe<'a>(process: &'a ProcessDescription, base: &BaseUrl) -> Process<'a> {
    Process {
        summary: summary(process, base),
        inputs: process.inputs.iter().map(|input| (input.id.clone(), input_description(input))).collect(),
        outputs: process
            .outputs
            .iter()
            .map(|output| (output.id.clone(), output_description(output)))
            .collect(),
    }
}

/// The schema is that of one value: `maxOccurs` above 1 says that values come in an array.
fn input_description(input: &InputDescription) -> Value {
    let mut document = described(&input.title, &input.description, &input.keywords, &input.data);
    document.insert("minOccurs".into(), input.occurs.min.into());
    document.insert("maxOccurs".into(), input.occurs.max.map_or_else(|| "unbounded".into(), Value::from));
    document.insert("schema".into(), schema::of(&input.data));
    Value::Object(document)
}

fn output_description(output: &OutputDescription) -> Value {
    let mut document = described(&output.title, &output.description, &output.keywords, &output.data);
    document.insert("schema".into(), schema::of(&output.data));
    Value::Object(document)
}

/// `descriptionType.yaml`. Units of measure have no place in a schema; they are additional parameters.
fn described(
    title: &str,
    description: &str,
    keywords: &[String],
    data: &DataDescription,
) -> Map<String, Value> {
    let mut document = Map::new();
    document.insert("title".into(), title.into());
    if !description.is_empty() {
        document.insert("description".into(), description.into());
    }
    if !keywords.is_empty() {
        document.insert("keywords".into(), keywords.into());
    }
    if let DataDescription::Literal(domain) = data
        && !domain.uoms.is_empty()
    {
        let parameters =
            json!({"title": "units of measure", "parameters": [{"name": "uom", "value": domain.uoms}]});
        document.insert("additionalParameters".into(), parameters);
    }
    document
}

#[cfg(test)]
mod tests;
