//! Errors as exceptions (`exception.yaml`, RFC 7807).

use anabranch_model::{Error, Fault, FaultKind, LimitSort, Subject};
use serde::Serialize;

/// The media type where a client asks for it; else exceptions are `application/json`, which the official suite compares literally.
pub const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";

const OGC_TYPE: &str = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/";

/// An exception.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// URI of the sort of error.
    #[serde(rename = "type")]
    pub kind: String,
    /// The sort, for people.
    pub title: &'static str,
    /// HTTP status.
    pub status: u16,
    /// What happened.
    pub detail: String,
    /// The resource it happened at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Every fault of the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<ProblemFault>,
    /// For a `Retry-After` header, in seconds.
    #[serde(skip)]
    pub retry_after_s: Option<u32>,
}

/// One fault of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProblemFault {
    /// `input`, `output` or `parameter`.
    pub subject: &'static str,
    /// Its name.
    pub name: String,
    /// Code of the sort of fault: the codes of OWS exceptions.
    pub code: &'static str,
    /// What is wrong.
    pub detail: String,
}

impl Problem {
    /// With the resource it happened at.
    #[must_use]
    pub fn at(mut self, instance: impl Into<String>) -> Self {
        self.instance = Some(instance.into());
        self
    }

    /// A problem of HTTP itself that has no type of its own: 405, 406, 415 and the like (RFC 7807 §4.2).
    #[must_use]
    pub fn http(status: u16, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank".into(),
            title,
            status,
            detail: detail.into(),
            instance: None,
            faults: Vec::new(),
            retry_after_s: None,
        }
    }
}

/// The exception for an error: the one mapping of OGC API - Processes.
#[must_use]
pub fn problem(error: &Error) -> Problem {
    let (kind, status, title) = kind_of(error);
    Problem {
        kind: kind.map_or_else(|| "about:blank".into(), |name| format!("{OGC_TYPE}{name}")),
        title,
        status,
        detail: error.client_text(),
        instance: None,
        faults: match error {
            Error::Invalid(faults) => faults.iter().map(problem_fault).collect(),
            _ => Vec::new(),
        },
        retry_after_s: error.retry_after_s(),
    }
}

/// The exception for an error in a query string: it has a type of its own, which the next edition of the standard defines.
#[must_use]
pub fn query_problem(error: &Error) -> Problem {
    let problem = problem(error);
    match error {
        Error::Invalid(_) => Problem { kind: format!("{OGC_TYPE}invalid-query-parameter-value"), ..problem },
        _ => problem,
    }
}

/// The last part of the type's URI, the HTTP status, the title.
fn kind_of(error: &Error) -> (Option<&'static str>, u16, &'static str) {
    match error {
        Error::Invalid(_) => (None, 400, "invalid request"),
        Error::LoginRequired => (None, 401, "login required"),
        Error::NotAllowed => (None, 403, "not allowed"),
        Error::NoSuchProcess(_) => (Some("no-such-process"), 404, "no such process"),
        Error::NoSuchJob(_) => (Some("no-such-job"), 404, "no such job"),
        Error::Gone { .. } => (Some("no-such-job"), 410, "job removed"),
        Error::NoSuchOutput { .. } => (Some("no-such-output"), 404, "no such output"),
        Error::OutputGone { .. } => (Some("no-such-output"), 410, "output removed"),
        Error::ResultNotReady(_) => (Some("result-not-ready"), 404, "result not ready"),
        Error::Dismissed => (None, 410, "job dismissed"),
        Error::NoSuchMode { .. } => (None, 400, "execution mode not supported"),
        Error::TooLarge { .. } => (None, 413, "too large"),
        Error::DataNotAccessible { .. } => (None, 400, "data not accessible"),
        Error::ProcessFailed { .. } => (None, 500, "process failed"),
        Error::TimedOut { .. } => (None, 500, "process timed out"),
        Error::AgentLost { .. } => (None, 500, "agent lost"),
        Error::Interrupted { .. } => (None, 500, "interrupted"),
        Error::Busy { .. } => (None, 503, "busy"),
        Error::OverLimit { limit, .. } => match limit.sort() {
            LimitSort::UserBusy => (None, 429, "limit reached"),
            LimitSort::ServerBusy => (None, 503, "busy"),
            LimitSort::TooLarge => (None, 413, "too large"),
            LimitSort::NoStorage => (None, 507, "not enough storage"),
            LimitSort::TooLong => (None, 500, "took too long"),
        },
        Error::NotEnoughStorage { .. } => (None, 507, "not enough storage"),
        Error::Internal { .. } => (None, 500, "internal error"),
    }
}

fn problem_fault(fault: &Fault) -> ProblemFault {
    let subject = match fault.subject {
        Subject::Input(_) => "input",
        Subject::Output(_) => "output",
        Subject::Parameter(_) => "parameter",
    };
    let code = match fault.kind {
        FaultKind::Missing => "MissingParameterValue",
        FaultKind::TooLarge => "FileSizeExceeded",
        FaultKind::Unknown
        | FaultKind::TooMany
        | FaultKind::Malformed
        | FaultKind::NotAllowed
        | FaultKind::Unsupported => "InvalidParameterValue",
    };
    ProblemFault { subject, name: fault.subject.name().into(), code, detail: fault.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_golden_json, over};
    use anabranch_model::{JobId, LimitKind, LimitOf, Removal, Timestamp};

    #[test]
    fn errors_in_queries_have_a_type_of_their_own() {
        let error = crate::ogcapi::query::Page::parse("limit=x").unwrap_err();
        let problem = query_problem(&error);
        assert_eq!(problem.kind, format!("{OGC_TYPE}invalid-query-parameter-value"));
        assert_eq!((problem.status, problem.faults[0].name.as_str()), (400, "limit"));
        assert_eq!(query_problem(&Error::Dismissed).kind, "about:blank");
    }

    #[test]
    fn every_error_has_its_exception() {
        let job = JobId::from_bytes([7; 16]);
        let text = String::from;
        let errors = [
            Error::Invalid(vec![
                Fault::new(Subject::Input("a".into()), FaultKind::Missing, "is required"),
                Fault::new(Subject::Output("b".into()), FaultKind::Unknown, "is unknown").with_value("x"),
            ]),
            Error::NoSuchProcess("x".into()),
            Error::NoSuchJob("x".into()),
            Error::NoSuchOutput { job, output: text("x") },
            Error::ResultNotReady(job),
            Error::Dismissed,
            Error::TooLarge { what: text("the request body"), bytes_max: 10 },
            Error::DataNotAccessible { input: text("a"), reason: text("can't be read") },
            Error::ProcessFailed { message: text("exit code 1"), detail: text("SECRET") },
            Error::TimedOut { seconds_max: 5 },
            Error::Busy { limit: text("10 jobs are running"), retry_after_s: 7 },
            Error::NotEnoughStorage { detail: text("SECRET") },
            Error::Gone { job, why: Removal::Expired, at: Timestamp::UNIX_EPOCH },
            Error::OutputGone { job, output: text("x"), at: Timestamp::UNIX_EPOCH },
            over(LimitKind::HourlyJobs, LimitOf::Role(text("guest"))),
            over(LimitKind::QueuedJobs, LimitOf::Server),
            over(LimitKind::InputBytes, LimitOf::EachUser),
            over(LimitKind::StoredBytes, LimitOf::EachUser),
            over(LimitKind::QueueSeconds, LimitOf::Process(text("slow"))),
            Error::LoginRequired,
            Error::NotAllowed,
            Error::internal("SECRET"),
        ];
        let problems: Vec<_> = errors.iter().map(problem).collect();
        assert!(!serde_json::to_string(&problems).unwrap().contains("SECRET"));
        check_golden_json("ogcapi/exceptions.json", &problems);
    }
}
