//! Errors as OWS 2.0 exception reports (WPS 2.0 tables 41, 46, 48 and 50).

use crate::ows::exception::input_named;
use crate::ows::{Exception, ExceptionCode as Code, ExceptionReport, Version};
use anabranch_model::{Error, Fault, FaultKind, LimitSort, Subject};

/// The report for an error: the one mapping of WPS 2.0.
#[must_use]
pub fn exception_report(error: &Error) -> ExceptionReport {
    let (status, code, locator) = match error {
        Error::Invalid(faults) => {
            let exceptions = faults.iter().map(exception_of).collect();
            return ExceptionReport::of(400, exceptions).in_version(Version::V2_0);
        }
        Error::LoginRequired => (401, Code::NoApplicableCode, None),
        Error::NotAllowed => (403, Code::NoApplicableCode, None),
        Error::NoSuchProcess(process) => (400, Code::NoSuchProcess, Some(process.as_str())),
        Error::NoSuchJob(_) => (400, Code::NoSuchJob, Some("JobID")),
        Error::Gone { .. } => (410, Code::NoSuchJob, Some("JobID")),
        Error::NoSuchOutput { output, .. } => (400, Code::NoSuchOutput, Some(output.as_str())),
        Error::OutputGone { output, .. } => (410, Code::NoSuchOutput, Some(output.as_str())),
        Error::ResultNotReady(_) => (400, Code::ResultNotReady, Some("JobID")),
        Error::Dismissed => (410, Code::NoApplicableCode, None),
        Error::NoSuchMode { .. } => (400, Code::NoSuchMode, Some("mode")),
        Error::TooLarge { what, .. } => (413, Code::SizeExceeded, input_named(what)),
        Error::DataNotAccessible { input, .. } => (400, Code::DataNotAccessible, Some(input.as_str())),
        Error::ProcessFailed { .. }
        | Error::TimedOut { .. }
        | Error::AgentLost { .. }
        | Error::Interrupted { .. } => (500, Code::NoApplicableCode, None),
        Error::Internal { .. } => (500, Code::InternalServerError, None),
        Error::Busy { .. } => (503, Code::ServerBusy, None),
        Error::OverLimit { limit, .. } => match limit.sort() {
            LimitSort::UserBusy => (429, Code::ServerBusy, None),
            LimitSort::ServerBusy => (503, Code::ServerBusy, None),
            LimitSort::TooLarge => (413, Code::SizeExceeded, None),
            LimitSort::NoStorage => (507, Code::NotEnoughStorage, None),
            LimitSort::TooLong => (500, Code::NoApplicableCode, None),
        },
        Error::NotEnoughStorage { .. } => (507, Code::NotEnoughStorage, None),
    };
    let retry_after_s = error.retry_after_s();
    let exception = Exception { code, locator: locator.map(str::to_owned), text: error.client_text() };
    ExceptionReport { retry_after_s, ..ExceptionReport::of(status, vec![exception]) }
        .in_version(Version::V2_0)
}

fn exception_of(fault: &Fault) -> Exception {
    let code = match (fault.kind, &fault.subject) {
        (FaultKind::Missing, _) => Code::MissingParameterValue,
        (FaultKind::TooLarge, _) => Code::SizeExceeded,
        (FaultKind::Unknown, Subject::Input(_)) => Code::NoSuchInput,
        (FaultKind::Unknown, Subject::Output(_)) => Code::NoSuchOutput,
        (FaultKind::TooMany, Subject::Input(_)) => Code::TooManyInputs,
        (FaultKind::TooMany, Subject::Output(_)) => Code::TooManyOutputs,
        (FaultKind::Unsupported, Subject::Input(_) | Subject::Output(_)) => Code::NoSuchFormat,
        (FaultKind::Malformed | FaultKind::NotAllowed, Subject::Input(_)) => Code::WrongInputData,
        (FaultKind::Malformed | FaultKind::NotAllowed, Subject::Output(_))
        | (
            FaultKind::Unknown
            | FaultKind::TooMany
            | FaultKind::Unsupported
            | FaultKind::Malformed
            | FaultKind::NotAllowed,
            Subject::Parameter(_),
        ) => Code::InvalidParameterValue,
    };
    Exception::new(code, fault.subject.name(), fault.to_string())
}
