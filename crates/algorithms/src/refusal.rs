//! What is said of inputs that can't be read.

use anabranch_formats::geojson;
use anabranch_model::{Error, Fault, FaultKind, Subject};

/// GeoJSON that breaks a rule; `purpose` completes "must be GeoJSON that …".
pub(crate) fn unreadable(input: &str, purpose: &str, error: &geojson::Error) -> Error {
    let rule = match error {
        geojson::Error::Read(cause) => {
            return Error::internal(format!("input '{input}': {error}: {cause}"));
        }
        geojson::Error::Invalid { .. } | geojson::Error::TooLarge { .. } => {
            format!("must be GeoJSON that {purpose}: {error}")
        }
    };
    let kind = match error {
        geojson::Error::TooLarge { .. } => FaultKind::TooLarge,
        geojson::Error::Invalid { .. } | geojson::Error::Read(_) => FaultKind::Malformed,
    };
    refused(input, kind, rule)
}

/// An input that breaks a rule, which completes "input … ".
pub(crate) fn refused(input: &str, kind: FaultKind, rule: impl Into<String>) -> Error {
    Error::invalid(Fault::new(Subject::Input(input.into()), kind, rule.into()))
}
