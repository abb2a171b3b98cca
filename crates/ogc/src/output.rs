//! One output of a job, as the writers of all protocols take it.

use anabranch_model::{DismissedBy, Format, OutputDescription, OutputRequest, Transmission, Value};

/// An output to be written.
#[derive(Clone, Copy, Debug)]
pub struct Output<'a> {
    /// What the process says about it.
    pub description: &'a OutputDescription,
    /// How the client wants it; as `model::bind` resolved it.
    pub request: &'a OutputRequest,
    /// What it is.
    pub value: OutputValue<'a>,
}

/// The value of an output, or where it is.
#[derive(Clone, Copy, Debug)]
pub enum OutputValue<'a> {
    /// Written into the answer.
    Inline(&'a Value),
    /// Named in the answer.
    Reference {
        /// Absolute URL.
        href: &'a str,
        /// What is found there, where it is known.
        format: Option<&'a Format>,
    },
}

impl Output<'_> {
    /// The client asked for a link.
    #[must_use]
    pub fn is_reference(&self) -> bool {
        self.request.transmission == Transmission::Reference
            || matches!(self.value, OutputValue::Reference { .. })
    }

    /// The media type of the bare value, as it is sent alone.
    #[must_use]
    pub fn media_type(&self) -> String {
        match self.value {
            OutputValue::Inline(Value::Complex(complex)) => complex.format.media_type.clone(),
            OutputValue::Inline(Value::Literal(_)) => "text/plain; charset=utf-8".into(),
            OutputValue::Inline(Value::BoundingBox(_)) => "application/json".into(),
            OutputValue::Reference { format, .. } => {
                format.map_or_else(|| "application/octet-stream".into(), |format| format.media_type.clone())
            }
        }
    }
}

/// What clients read about a job that was dismissed.
pub(crate) fn dismissed_text(by: DismissedBy) -> &'static str {
    match by {
        DismissedBy::Client => "the job was dismissed by a client",
        DismissedBy::Operator => "the job was dismissed by an operator",
        DismissedBy::Disconnect => "the job was dismissed because the client that waited for it went away",
    }
}
