//! The one execute request into which every protocol is parsed.

use crate::id::ProcessId;
use crate::subscriber::Subscriber;
use crate::value::{BoundingBox, Data};
use serde::{Deserialize, Serialize};

/// What a client asks to be executed, as it was said: nothing is checked against the process yet (see [`crate::bind()`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecuteRequest {
    /// The process.
    pub process: ProcessId,
    /// In the order given; an identifier may come several times.
    pub inputs: Vec<InputItem>,
    /// Outputs asked for; empty asks for all, in their default formats.
    pub outputs: Vec<OutputRequest>,
    /// Whether the client waits.
    pub mode: ExecutionMode,
    /// In which form results are wanted.
    pub response: ResponseForm,
    /// Repeat inputs and output definitions in the answer (WPS 1.0.0 §10.2.1, `lineage`).
    #[serde(default)]
    pub lineage: bool,
    /// Whom to call back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscriber: Option<Subscriber>,
}

/// Whether the client waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionMode {
    /// The answer holds the results.
    Sync,
    /// The answer names the job.
    Async,
    /// The server chooses.
    Auto,
}

/// Raw data or a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseForm {
    /// The outputs themselves.
    Raw,
    /// A document that names or holds the outputs.
    Document,
}

/// One input as given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputItem {
    /// Identifier.
    pub id: String,
    /// What was given.
    pub data: InputData,
    /// The format the client says it has.
    #[serde(default)]
    pub format: FormatHint,
    /// The literal type the client says it has, as written.
    #[serde(default)]
    pub data_type: Option<String>,
    /// The unit of measure the client says it has.
    #[serde(default)]
    pub uom: Option<String>,
}

/// What was given for an input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputData {
    /// Characters: a literal, complex data that is text or base64, or a bounding box in KVP form
    /// (`minx,miny,maxx,maxy[,crs[,dimensions]]`).
    Text {
        /// The characters.
        text: String,
        /// Where they come from, for strict typing.
        form: TextForm,
    },
    /// Complex data, already decoded.
    Bytes(Data),
    /// A bounding box.
    BoundingBox(BoundingBox),
    /// Data to be fetched when the job starts.
    Reference(Reference),
}

/// Where characters come from: XML and KVP have no types, JSON has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextForm {
    /// XML text or KVP: untyped.
    Untyped,
    /// Serialized XML elements.
    Xml,
    /// The content of a JSON string.
    JsonString,
    /// A JSON number as written.
    JsonNumber,
    /// `true` or `false`.
    JsonBoolean,
    /// A JSON object or array as written.
    Json,
}

/// Data somewhere else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// Absolute URL, as written.
    pub href: String,
    /// How it is asked for.
    pub method: HttpMethod,
    /// Request headers, in order.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// What is sent with a POST.
    #[serde(default)]
    pub body: Option<ReferenceBody>,
}

impl Reference {
    /// A plain GET.
    #[must_use]
    pub fn get(href: impl Into<String>) -> Self {
        Self { href: href.into(), method: HttpMethod::Get, headers: Vec::new(), body: None }
    }
}

/// The methods that WPS references know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HttpMethod {
    /// GET.
    Get,
    /// POST.
    Post,
}

/// The body of a reference by POST (WPS 1.0.0 §10.1, `Body` and `BodyReference`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReferenceBody {
    /// In the request.
    Inline(String),
    /// To be fetched first.
    Href(String),
}

/// A format as far as the client names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormatHint {
    /// Media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// `base64`, or a character encoding such as `UTF-8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// Schema URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
}

impl FormatHint {
    /// The client names nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.media_type.is_none() && self.encoding.is_none() && self.schema.is_none()
    }
}

/// One output as asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputRequest {
    /// Identifier.
    pub id: String,
    /// Wanted format; empty takes the default.
    #[serde(default)]
    pub format: FormatHint,
    /// In the answer or as a link.
    pub transmission: Transmission,
    /// Wanted unit of measure.
    #[serde(default)]
    pub uom: Option<String>,
}

impl OutputRequest {
    /// Asked for as a playlist: the client follows it, so that what it has shown is never taken back.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.format.media_type.as_deref().is_some_and(crate::description::is_playlist)
    }
}

/// How an output is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transmission {
    /// In the answer.
    Value,
    /// As a link.
    Reference,
}
