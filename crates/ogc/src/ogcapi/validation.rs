//! What a dry run finds out: how a request would be executed. No standard defines it.

use super::link::{BaseUrl, Link};
use anabranch_model::bind::BoundRequest;
use anabranch_model::{
    DataDescription, ExecuteRequest, ExecutionMode, OutputRequest, ProcessDescription, ResponseForm,
    Transmission,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// The answer to a request that would be accepted.
#[derive(Clone, Debug, Serialize)]
pub struct Validation {
    /// Always true: else the answer is an exception.
    pub valid: bool,
    /// What would be executed.
    #[serde(rename = "processID")]
    pub process_id: String,
    /// `sync-execute` or `async-execute`.
    pub mode: &'static str,
    /// `raw` or `document`.
    pub response: &'static str,
    /// What would be given, by identifier.
    pub outputs: BTreeMap<String, OutputForm>,
    /// The process.
    pub links: Vec<Link>,
}

/// The form in which an output would be given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputForm {
    /// Media type.
    pub media_type: String,
    /// `base64` or a character encoding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// URL of a schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// `value` or `reference`.
    pub transmission_mode: &'static str,
}

/// Says how a request would be executed, which has been bound to its process.
#[must_use]
pub fn validation(
    process: &ProcessDescription,
    request: &ExecuteRequest,
    bound: &BoundRequest,
    base: &BaseUrl,
) -> Validation {
    Validation {
        valid: true,
        process_id: process.id.to_string(),
        mode: match request.mode {
            ExecutionMode::Async => "async-execute",
            ExecutionMode::Sync | ExecutionMode::Auto => "sync-execute",
        },
        response: match request.response {
            ResponseForm::Raw => "raw",
            ResponseForm::Document => "document",
        },
        outputs: bound.outputs.iter().map(|output| (output.id.clone(), form(process, output))).collect(),
        links: vec![Link::new("up", super::MEDIA_TYPE, base.process(&process.id)).titled("the process")],
    }
}

fn form(process: &ProcessDescription, output: &OutputRequest) -> OutputForm {
    let is_box = process
        .output(&output.id)
        .is_some_and(|output| matches!(output.data, DataDescription::BoundingBox(_)));
    let by_kind = if is_box { super::MEDIA_TYPE } else { "text/plain" };
    OutputForm {
        media_type: output.format.media_type.clone().unwrap_or_else(|| by_kind.to_owned()),
        encoding: output.format.encoding.clone(),
        schema: output.format.schema.clone(),
        transmission_mode: match output.transmission {
            Transmission::Value => "value",
            Transmission::Reference => "reference",
        },
    }
}
