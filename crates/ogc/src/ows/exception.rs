//! Exception reports (OWS Common 1.1 §8, 06-121r3).

/// The exception codes of OWS Common 1.1 §8.3 and WPS 1.0.0 tables 38, 46 and 62.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExceptionCode {
    /// The operation is not offered.
    OperationNotSupported,
    /// A mandatory parameter is not there.
    MissingParameterValue,
    /// A parameter has a value that is not allowed.
    InvalidParameterValue,
    /// None of the versions the client accepts is offered.
    VersionNegotiationFailed,
    /// The client's update sequence is later than the server's.
    InvalidUpdateSequence,
    /// Everything else.
    NoApplicableCode,
    /// The disk is full.
    NotEnoughStorage,
    /// Try again later.
    ServerBusy,
    /// An input is too large.
    FileSizeExceeded,
    /// The process can't be executed asynchronously, or its outputs not stored.
    StorageNotSupported,
}

/// One thing wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Sort.
    pub code: ExceptionCode,
    /// The parameter, input or output it is about.
    pub locator: Option<String>,
    /// For people.
    pub text: String,
}

/// What is answered instead of a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .exceptions.iter().map(|e| e.text.as_str()).collect::<Vec<_>>().join("; "))]
pub struct ExceptionReport {
    /// HTTP status.
    pub status: u16,
    /// For a `Retry-After` header, in seconds.
    pub retry_after_s: Option<u32>,
    /// Not empty.
    pub exceptions: Vec<Exception>,
}

impl ExceptionReport {
    /// The document, OWS 1.1, `text/xml`.
    #[must_use]
    pub fn to_xml(&self, _language: &str) -> Vec<u8> {
        unimplemented!()
    }
}
