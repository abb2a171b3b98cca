//! Execute requests (WPS 1.0.0 §10.1, §10.2).

use anabranch_model::ExecuteRequest;

/// A request and how its answer is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Execute {
    /// What is to be executed.
    pub request: ExecuteRequest,
    /// How the answer is wanted.
    pub response: ResponseOptions,
    /// As offered by the service; `None` means its default.
    pub language: Option<String>,
}

/// The attributes of `ResponseDocument`, or `RawDataOutput` (§10.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseOptions {
    /// The one output itself is the answer.
    pub raw: bool,
    /// The answer is kept under `statusLocation`.
    pub store: bool,
    /// The client does not wait.
    pub status: bool,
    /// Inputs and output definitions are repeated in the answer.
    pub lineage: bool,
}
