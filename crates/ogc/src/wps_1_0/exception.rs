//! Errors as OWS 1.1 exception reports (WPS 1.0.0 §8.4, §9.4, §10.4).

use crate::ows::exception::input_named;
use crate::ows::{Exception, ExceptionCode as Code, ExceptionReport};
use anabranch_model::{Error, Fault, FaultKind, LimitSort};

/// The report for an error: the one mapping of WPS 1.0.0.
#[must_use]
pub fn exception_report(error: &Error) -> ExceptionReport {
    let (status, code, locator) = match error {
        Error::Invalid(faults) => {
            return ExceptionReport::of(400, faults.iter().map(exception_of).collect());
        }
        Error::LoginRequired => (401, Code::NoApplicableCode, None),
        Error::NotAllowed => (403, Code::NoApplicableCode, None),
        Error::NoSuchProcess(_) => (400, Code::InvalidParameterValue, Some("Identifier")),
        Error::NoSuchJob(_) => (404, Code::InvalidParameterValue, Some("executionId")),
        Error::Gone { .. } => (410, Code::InvalidParameterValue, Some("executionId")),
        Error::NoSuchOutput { output, .. } => (404, Code::InvalidParameterValue, Some(output.as_str())),
        Error::OutputGone { output, .. } => (410, Code::InvalidParameterValue, Some(output.as_str())),
        Error::ResultNotReady(_) => (404, Code::NoApplicableCode, None),
        Error::Dismissed => (410, Code::NoApplicableCode, None),
        Error::NoSuchMode { mode, .. } if mode == "asynchronously" => {
            (400, Code::StorageNotSupported, Some("status"))
        }
        Error::NoSuchMode { .. } => (400, Code::InvalidParameterValue, Some("status")),
        Error::TooLarge { what, .. } => (413, Code::FileSizeExceeded, input_named(what)),
        Error::DataNotAccessible { input, .. } => (400, Code::NoApplicableCode, Some(input.as_str())),
        Error::ProcessFailed { .. }
        | Error::TimedOut { .. }
        | Error::AgentLost { .. }
        | Error::Interrupted { .. }
        | Error::Internal { .. } => (500, Code::NoApplicableCode, None),
        Error::Busy { .. } => (503, Code::ServerBusy, None),
        Error::OverLimit { limit, .. } => match limit.sort() {
            LimitSort::UserBusy => (429, Code::ServerBusy, None),
            LimitSort::ServerBusy => (503, Code::ServerBusy, None),
            LimitSort::TooLarge => (413, Code::FileSizeExceeded, None),
            LimitSort::NoStorage => (507, Code::NotEnoughStorage, None),
            LimitSort::TooLong => (500, Code::NoApplicableCode, None),
        },
        Error::NotEnoughStorage { .. } => (507, Code::NotEnoughStorage, None),
    };
    let retry_after_s = error.retry_after_s();
    let exception = Exception { code, locator: locator.map(str::to_owned), text: error.client_text() };
    ExceptionReport { retry_after_s, ..ExceptionReport::of(status, vec![exception]) }
}

fn exception_of(fault: &Fault) -> Exception {
    let code = match fault.kind {
        FaultKind::Missing => Code::MissingParameterValue,
        FaultKind::TooLarge => Code::FileSizeExceeded,
        FaultKind::Unknown
        | FaultKind::TooMany
        | FaultKind::Malformed
        | FaultKind::NotAllowed
        | FaultKind::Unsupported => Code::InvalidParameterValue,
    };
    Exception::new(code, fault.subject.name(), fault.to_string())
}
