//! GetStatus and its answer (WPS 2.0, `StatusInfo` of wpsCommon.xsd), which Execute and Dismiss give too.

use super::NAMESPACE;
use crate::ows::{Exception, ExceptionReport};
use crate::wps::unexpected;
use crate::xml::{Reader, to_vec};
use anabranch_model::{Job, JobState, Outcome, Timestamp};
use std::time::Duration;

/// Shortest time until the next poll, in seconds: what ends sooner than that is hardly worth asking for more often.
const POLL_S_MIN: u64 = 1;
/// Longest time until the next poll, in seconds: a job of a day is not kept waiting for its client.
const POLL_S_MAX: u64 = 60;
/// A client that waits this part of a job's age learns of its end at most 10 % late.
const POLL_PART: u64 = 10;

/// Least progress that says anything about the rest, in percent: below it an estimate would leap with every step.
const ESTIMATE_PERCENT_MIN: f32 = 1.0;

/// What a status document is made of.
#[derive(Clone, Copy, Debug)]
pub struct StatusInfo<'a> {
    /// The job, at one moment.
    pub job: &'a Job,
    /// When it will be removed with its results, if that is known.
    pub expires: Option<Timestamp>,
    /// That moment.
    pub now: Timestamp,
}

/// Reads the `JobID` of GetStatus, GetResult and Dismiss.
pub(super) fn parse_job(reader: &mut Reader<'_>) -> Result<String, ExceptionReport> {
    let mut id = String::new();
    while let Some(child) = reader.child()? {
        if child.is(NAMESPACE, "JobID") {
            id = reader.text()?.trim().to_owned();
        } else if child.is(NAMESPACE, "Extension") {
            reader.skip()?;
        } else {
            return Err(unexpected(&child, "the request"));
        }
    }
    if id.is_empty() { Err(Exception::missing("JobID").into()) } else { Ok(id) }
}

/// Writes the document.
#[must_use]
pub fn write(status: &StatusInfo<'_>) -> Vec<u8> {
    let job = status.job;
    to_vec(|xml| {
        xml.start("wps:StatusInfo")?;
        xml.attribute("xmlns:wps", NAMESPACE)?;
        xml.leaf("wps:JobID", &job.id.to_string())?;
        xml.leaf("wps:Status", state_name(&job.state))?;
        if let Some(expires) = status.expires {
            xml.leaf("wps:ExpirationDate", &expires.to_string())?;
        }
        if let Some(at) = estimated_completion(job, status.now) {
            xml.leaf("wps:EstimatedCompletion", &at.to_string())?;
        }
        if let Some(at) = next_poll(job, status.now) {
            xml.leaf("wps:NextPoll", &at.to_string())?;
        }
        match &job.state {
            // 100 is said of what has ended only.
            JobState::Running { progress, .. } => {
                xml.leaf("wps:PercentCompleted", &format!("{:.0}", progress.floor().clamp(0.0, 99.0)))
            }
            JobState::Finished(Outcome::Succeeded) => xml.leaf("wps:PercentCompleted", "100"),
            JobState::Accepted | JobState::Finished(_) => Ok(()),
        }
    })
}

/// The words of the schema; `Dismissed` comes with the extension of that name.
fn state_name(state: &JobState) -> &'static str {
    match state {
        JobState::Accepted => "Accepted",
        JobState::Running { .. } => "Running",
        JobState::Finished(Outcome::Succeeded) => "Succeeded",
        JobState::Finished(Outcome::Failed(_)) => "Failed",
        JobState::Finished(Outcome::Dismissed(_)) => "Dismissed",
    }
}

/// A part of the job's age from now on; `None` where nothing will change any more.
fn next_poll(job: &Job, now: Timestamp) -> Option<Timestamp> {
    if job.is_finished() {
        return None;
    }
    let age_s = u64::try_from(now.duration_since(job.created).as_secs()).unwrap_or(0);
    let wait = Duration::from_secs((age_s / POLL_PART).clamp(POLL_S_MIN, POLL_S_MAX));
    now.checked_add(wait).ok().and_then(in_milliseconds)
}

/// As if the work went on as it did until the last step; `None` where there is nothing to go by, or time has proved the guess wrong.
fn estimated_completion(job: &Job, now: Timestamp) -> Option<Timestamp> {
    let JobState::Running { progress, dismissing: None, .. } = job.state else { return None };
    let started = job.started.filter(|_| progress >= ESTIMATE_PERCENT_MIN)?;
    let so_far = Duration::try_from(job.updated.duration_since(started)).ok()?;
    let whole = so_far.mul_f32(100.0 / progress);
    started.checked_add(whole).ok().filter(|at| *at > now).and_then(in_milliseconds)
}

/// Clocks give nanoseconds, which not every client can read.
fn in_milliseconds(at: Timestamp) -> Option<Timestamp> {
    Timestamp::from_millisecond(at.as_millisecond()).ok()
}
