//! Execute requests (§7.11).

use super::prefer::Prefer;
use anabranch_model::{Error, ExecuteRequest, ProcessDescription};

/// A request and what goes with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Execute {
    /// What is to be executed; its mode fits the process.
    pub request: ExecuteRequest,
    /// How long the client waits before it takes a job for an answer, in seconds (`Prefer: respond-async, wait=N`).
    pub wait_s: Option<u32>,
    /// The value of the `Preference-Applied` header, where a preference was followed.
    pub preference_applied: Option<String>,
    /// Whom to call back.
    pub subscriber: Option<Subscriber>,
}

/// Whom to call back (`subscriber.yaml`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscriber {
    /// With the results.
    pub success_uri: Option<String>,
    /// With the status while it runs.
    pub in_progress_uri: Option<String>,
    /// With the exception.
    pub failed_uri: Option<String>,
}

/// Parses the body of an execute request.
///
/// # Errors
/// Every fault found, each with the input, output or member it is about.
pub fn parse(_body: &[u8], _process: &ProcessDescription, _prefer: &Prefer) -> Result<Execute, Error> {
    unimplemented!()
}
