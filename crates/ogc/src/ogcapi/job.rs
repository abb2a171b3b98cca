//! Jobs: status (§7.12) and list (§11).

use super::link::{BaseUrl, Link};
use super::query::{Page, fault, pairs, whole};
use anabranch_model::{Error, Fault, FaultKind, Job, JobState, Outcome, Subject, Timestamp};
use serde::Serialize;
use std::ops::Bound;

/// The status of a job (`statusCode.yaml`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StatusCode {
    /// Written down, not begun.
    Accepted,
    /// Being worked on; also while it is being dismissed.
    Running,
    /// With results.
    Successful,
    /// Without.
    Failed,
    /// By request.
    Dismissed,
}

impl StatusCode {
    /// Of a job.
    #[must_use]
    pub fn of(job: &Job) -> Self {
        match &job.state {
            JobState::Accepted => Self::Accepted,
            JobState::Running { .. } => Self::Running,
            JobState::Finished(Outcome::Succeeded) => Self::Successful,
            JobState::Finished(Outcome::Failed(_)) => Self::Failed,
            JobState::Finished(Outcome::Dismissed(_)) => Self::Dismissed,
        }
    }

    /// By its name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "accepted" => Self::Accepted,
            "running" => Self::Running,
            "successful" => Self::Successful,
            "failed" => Self::Failed,
            "dismissed" => Self::Dismissed,
            _ => return None,
        })
    }
}

/// The status document (`statusInfo.yaml`).
#[derive(Clone, Debug, Serialize)]
pub struct StatusInfo {
    /// Identifier.
    #[serde(rename = "jobID")]
    pub job_id: String,
    /// What it executes.
    #[serde(rename = "processID")]
    pub process_id: String,
    /// Always `process`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Where it stands.
    pub status: StatusCode,
    /// What it does, or why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it was accepted.
    pub created: Timestamp,
    /// When its work began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When it reached its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<Timestamp>,
    /// When anything about it changed last.
    pub updated: Timestamp,
    /// In per cent; absent after an end without success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<u8>,
    /// `self`, `alternate`, and the results, once there are any.
    pub links: Vec<Link>,
}

/// The list of jobs (`jobList.yaml`).
#[derive(Clone, Debug, Serialize)]
pub struct JobList {
    /// One page of them.
    pub jobs: Vec<StatusInfo>,
    /// `self`, `alternate`, `up`, `next`, `prev`.
    pub links: Vec<Link>,
}

/// Where the pages beside a page begin, as far as there are any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// Cursor of the page of older jobs.
    pub next: Option<String>,
    /// Cursor of the page of newer jobs.
    pub previous: Option<String>,
}

/// Most processes named in one query: each is looked up by itself.
pub const PROCESSES_MAX: usize = 50;

/// What a client wants listed (§11.3).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobQuery {
    /// The page.
    pub page: Page,
    /// Of one of these processes; empty for all.
    pub process_ids: Vec<String>,
    /// With one of these statuses; empty for all.
    pub statuses: Vec<StatusCode>,
    /// Jobs of another type than `process` are asked for: there are none.
    pub other_types_only: bool,
    /// Accepted within this time.
    pub created: Option<(Bound<Timestamp>, Bound<Timestamp>)>,
    /// Running, or having run, at least so long, in seconds.
    pub duration_min_s: Option<u64>,
    /// At most so long, in seconds.
    pub duration_max_s: Option<u64>,
    /// The query as it came, without `cursor` and `f`, for links.
    raw: String,
}

impl JobQuery {
    /// From a query string; parameters it does not know are ignored.
    ///
    /// # Errors
    /// Every parameter that is malformed.
    pub fn parse(query: &str) -> Result<Self, Error> {
        let mut parsed = Self::default();
        let mut faults = Vec::new();
        for (name, value) in pairs(query) {
            parsed.take(&name, value, &mut faults);
        }
        if parsed.process_ids.len() > PROCESSES_MAX {
            let rule = format!("must not name more than {PROCESSES_MAX} processes");
            let subject = Subject::Parameter("processID".into());
            faults.push(Fault::new(subject, FaultKind::TooMany, rule));
        }
        let ours = |pair: &str| pair.starts_with("cursor=") || pair.starts_with("f=");
        let kept = query.split('&').filter(|pair| !pair.is_empty() && !ours(pair));
        parsed.raw = kept.collect::<Vec<_>>().join("&");
        if faults.is_empty() { Ok(parsed) } else { Err(Error::Invalid(faults)) }
    }

    fn take(&mut self, name: &str, value: String, faults: &mut Vec<Fault>) {
        let words = || value.split(',').map(str::trim).filter(|word| !word.is_empty());
        let mut seconds = |value: &str| {
            let seconds = whole(value);
            if seconds.is_none() {
                faults.push(fault(name, "must be a whole number of seconds", value));
            }
            seconds
        };
        match name {
            "processID" => self.process_ids.extend(words().map(str::to_owned)),
            "type" => self.other_types_only = !words().any(|word| word == "process"),
            "minDuration" => self.duration_min_s = seconds(&value),
            "maxDuration" => self.duration_max_s = seconds(&value),
            "status" => {
                for word in words() {
                    match StatusCode::from_name(word) {
                        Some(status) => self.statuses.push(status),
                        None => faults.push(
                            Fault::new(
                                Subject::Parameter("status".into()),
                                FaultKind::NotAllowed,
                                "must be accepted, running, successful, failed or dismissed",
                            )
                            .with_value(word),
                        ),
                    }
                }
            }
            "datetime" => match interval(&value) {
                Some(created) => self.created = Some(created),
                None => faults.push(fault("datetime", "must be an RFC 3339 time or interval", &value)),
            },
            _ => self.page.take(name, value, faults),
        }
    }

    /// A job is wanted, as far as the query says.
    #[must_use]
    pub fn matches(&self, job: &Job, now: Timestamp) -> bool {
        let duration_s = job.started.map(|started| {
            let end = job.finished.unwrap_or(now);
            u64::try_from(end.duration_since(started).as_secs()).unwrap_or(0)
        });
        !self.other_types_only
            && (self.process_ids.is_empty() || self.process_ids.iter().any(|id| id == job.process.as_str()))
            && (self.statuses.is_empty() || self.statuses.contains(&StatusCode::of(job)))
            && self.created.is_none_or(|created| std::ops::RangeBounds::contains(&created, &job.created))
            && self.duration_min_s.is_none_or(|min| duration_s.is_some_and(|duration| duration >= min))
            && self.duration_max_s.is_none_or(|max| duration_s.is_some_and(|duration| duration <= max))
    }
}

/// `time`, `time/time`, `../time` or `time/..` (§11.3.4).
fn interval(text: &str) -> Option<(Bound<Timestamp>, Bound<Timestamp>)> {
    let bound = |text: &str| match text {
        "" | ".." => Some(Bound::Unbounded),
        time => time.parse().ok().map(Bound::Included),
    };
    match text.split_once('/') {
        Some((from, to)) => Some((bound(from)?, bound(to)?)),
        None => {
            let time: Timestamp = text.parse().ok()?;
            Some((Bound::Included(time), Bound::Included(time)))
        }
    }
}

/// Describes where a job stands.
#[must_use]
pub fn status_info(job: &Job, base: &BaseUrl) -> StatusInfo {
    let mut links = base.own_links(&format!("/jobs/{}", job.id), "");
    links.push(Link::new("up", super::MEDIA_TYPE, base.at("/jobs")).titled("the jobs"));
    let status = StatusCode::of(job);
    if status == StatusCode::Successful {
        links.push(Link::ogc("results", super::MEDIA_TYPE, base.results(&job.id)).titled("the results"));
    }
    let unsuccessful = matches!(status, StatusCode::Failed | StatusCode::Dismissed);
    StatusInfo {
        job_id: job.id.to_string(),
        process_id: job.process.to_string(),
        kind: "process",
        status,
        message: message(job),
        created: job.created,
        started: job.started,
        finished: job.finished,
        updated: job.updated,
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 to 100 by `Job::percent`
        progress: (!unsuccessful).then(|| job.percent() as u8),
        links,
    }
}

fn message(job: &Job) -> Option<String> {
    match &job.state {
        JobState::Accepted => job.waiting.clone().or_else(|| job.requeued.clone()),
        JobState::Running { dismissing: Some(_), .. } => Some("the job is being dismissed".into()),
        JobState::Running { message, .. } => message.clone(),
        JobState::Finished(Outcome::Succeeded) => None,
        JobState::Finished(Outcome::Failed(error)) => Some(error.client_text()),
        JobState::Finished(Outcome::Dismissed(by)) => Some(crate::output::dismissed_text(*by).into()),
    }
}

/// Makes one page of the list of jobs.
#[must_use]
pub fn list<'a>(
    jobs: impl IntoIterator<Item = &'a Job>,
    query: &JobQuery,
    beside: &Beside,
    base: &BaseUrl,
) -> JobList {
    let with = |cursor: Option<&str>| {
        let cursor = cursor.map(|cursor| format!("cursor={}", super::link::segment(cursor)));
        let parts: Vec<_> =
            [Some(query.raw.clone()), cursor].into_iter().flatten().filter(|part| !part.is_empty()).collect();
        if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) }
    };
    let json = super::MEDIA_TYPE;
    let mut links = base.own_links("/jobs", &with(query.page.cursor.as_deref()));
    links.push(Link::new("up", json, base.landing()).titled("the landing page"));
    for (rel, cursor) in [("next", &beside.next), ("prev", &beside.previous)] {
        if cursor.is_some() {
            links.push(Link::new(rel, json, base.at(&format!("/jobs{}", with(cursor.as_deref())))));
        }
    }
    JobList { jobs: jobs.into_iter().map(|job| status_info(job, base)).collect(), links }
}

/// For fuzzing: any query may be refused, none may panic.
#[doc(hidden)]
pub fn fuzz_query(query: &str) {
    let _refused = JobQuery::parse(query);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_golden_json, faults, job};
    use anabranch_model::JobEvent;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn every_state_has_its_document() {
        let base = BaseUrl::new("http://localhost:8080");
        let mut job = job();
        let mut states = vec![status_info(&job, &base)];
        let now = job.created;
        job.apply(JobEvent::Started { agent: None }, now);
        job.apply(JobEvent::Progress { percent: 42.9, message: Some("buffering".into()) }, now);
        states.push(status_info(&job, &base));
        for end in [Ok(()), Err(Error::internal("/var/lib/secret"))] {
            let mut job = job.clone();
            job.apply(JobEvent::Ended(end), now);
            states.push(status_info(&job, &base));
        }
        job.apply(JobEvent::DismissRequested(anabranch_model::DismissedBy::Client), now);
        job.apply(JobEvent::Ended(Ok(())), now);
        states.push(status_info(&job, &base));
        check_golden_json("ogcapi/jobs.json", &states);
    }

    #[test]
    fn queries_pick_jobs() {
        let mut job = job();
        let now = job.created;
        job.apply(JobEvent::Started { agent: None }, now);
        let later = now + std::time::Duration::from_secs(10);
        for (query, expected) in [
            ("", true),
            ("type=process", true),
            ("type=coverage", false),
            ("processID=a,test:buffer", true),
            ("processID=a", false),
            ("status=accepted,running", true),
            ("status=failed", false),
            ("minDuration=10", true),
            ("minDuration=11", false),
            ("maxDuration=10&minDuration=1", true),
            ("maxDuration=9", false),
            ("datetime=2026-01-01T00:00:00Z/..", true),
            ("datetime=../2026-01-01T00:00:00Z", false),
            ("datetime=2026-01-02T03:04:05.678Z", true),
        ] {
            assert_eq!(JobQuery::parse(query).unwrap().matches(&job, later), expected, "{query}");
        }
        assert!(!JobQuery::parse("minDuration=0").unwrap().matches(&crate::testing::job(), at(0)));
    }

    #[test]
    fn malformed_queries_name_every_parameter() {
        let error = JobQuery::parse("status=lost&datetime=yesterday&minDuration=x&limit=0").unwrap_err();
        let names: Vec<_> = faults(&error).into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["status", "datetime", "minDuration", "limit"]);
    }

    #[test]
    fn the_pages_beside_keep_the_query() {
        let query = JobQuery::parse("status=running&f=html&cursor=a&limit=1").unwrap();
        let job = job();
        let beside = Beside { next: Some("b c".into()), previous: Some("-d".into()) };
        let list = list([&job], &query, &beside, &BaseUrl::new("http://x"));
        let href = |rel| list.links.iter().find(|link| link.rel == rel).unwrap().href.as_str();
        assert_eq!(href("next"), "http://x/jobs?status=running&limit=1&cursor=b%20c");
        assert_eq!(href("prev"), "http://x/jobs?status=running&limit=1&cursor=-d");
    }
}
