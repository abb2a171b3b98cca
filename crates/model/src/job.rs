//! A job: one small state machine, changed by pure transitions.

use crate::error::Error;
use crate::id::{JobId, ProcessId};
use crate::viewer::UserName;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A job as anyone may see it at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Identifier.
    pub id: JobId,
    /// What it executes.
    pub process: ProcessId,
    /// Who submitted it, and may see it besides operators; `None` for nobody in particular.
    #[serde(default)]
    pub owner: Option<UserName>,
    /// Where it stands.
    pub state: JobState,
    /// When it was accepted.
    pub created: Timestamp,
    /// When the present attempt's work began.
    pub started: Option<Timestamp>,
    /// When it reached its end.
    pub finished: Option<Timestamp>,
    /// When anything about it changed last.
    pub updated: Timestamp,
    /// The agent that runs or ran it; `None` for the server itself.
    pub agent: Option<String>,
    /// 1 for the first run.
    pub attempt: u32,
    /// Why it was queued again last, where it was.
    pub requeued: Option<String>,
    /// Why its work has not begun, where that is known; not stored.
    #[serde(default)]
    pub waiting: Option<String>,
}

/// Where a job stands; each variant holds only what is true in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Written down, not yet begun.
    Accepted,
    /// Being worked on.
    Running {
        /// 0 to 100, never falling within an attempt.
        progress: f32,
        /// What it does at present.
        message: Option<String>,
        /// Someone asked for its end, and the work has not yet been seen to end.
        dismissing: Option<DismissedBy>,
    },
    /// At its end, for good.
    Finished(Outcome),
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// With results.
    Succeeded,
    /// Without.
    Failed(Error),
    /// By request; the work is known to have ended.
    Dismissed(DismissedBy),
}

/// Who dismissed a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DismissedBy {
    /// Its owner, or whoever knows the id of a job without one.
    Client,
    /// An operator.
    Operator,
    /// The client of a synchronous request, by going away.
    Disconnect,
}

/// Why a finished job was removed, with its results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Removal {
    /// Its time was over.
    Expired,
    /// Its owner asked for it.
    Dismissed,
    /// Newer jobs needed its place.
    Quota,
    /// An operator asked for it.
    Operator,
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "its results had expired",
            Self::Dismissed => "its owner dismissed it",
            Self::Quota => "newer jobs needed its place",
            Self::Operator => "an operator removed it",
        })
    }
}

/// Something that happened to a job.
#[derive(Clone, Debug, PartialEq)]
pub enum JobEvent {
    /// The work can't begin.
    Waiting {
        /// Why.
        reason: String,
    },
    /// The work began.
    Started {
        /// On which agent.
        agent: Option<String>,
    },
    /// The work got on.
    Progress {
        /// 0 to 100.
        percent: f32,
        /// What it does.
        message: Option<String>,
    },
    /// Someone asked for its end while a run was under way.
    DismissRequested(DismissedBy),
    /// The run was lost and will be repeated.
    Requeued {
        /// Why.
        reason: String,
    },
    /// The run ended, and with it all its work.
    Ended(Result<(), Error>),
}

/// What an event did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The job reached its end.
    Finished,
    /// The state changed in a way that must be written down before it is told.
    Changed,
    /// Progress only: worth telling, not worth waiting for the disk.
    Progressed,
    /// Nothing: too late, or nothing new.
    Ignored,
}

impl Job {
    /// A job that has just been accepted, of nobody in particular.
    #[must_use]
    pub fn new(id: JobId, process: ProcessId, now: Timestamp) -> Self {
        Self {
            id,
            process,
            owner: None,
            state: JobState::Accepted,
            created: now,
            started: None,
            finished: None,
            updated: now,
            agent: None,
            attempt: 1,
            requeued: None,
            waiting: None,
        }
    }

    /// It has reached its end.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        matches!(self.state, JobState::Finished(_))
    }

    /// 0 to 100 while running, 100 after success, else 0.
    #[must_use]
    pub fn percent(&self) -> f32 {
        match &self.state {
            JobState::Running { progress, .. } => *progress,
            JobState::Finished(Outcome::Succeeded) => 100.0,
            JobState::Accepted | JobState::Finished(_) => 0.0,
        }
    }

    /// Applies an event. Pure: nothing but `self` changes, and nothing ever changes after the end.
    pub fn apply(&mut self, event: JobEvent, now: Timestamp) -> Applied {
        // Clocks may step back; times of one job may not.
        let now = now.max(self.updated);
        let applied = match (&mut self.state, event) {
            (JobState::Finished(_), _) => return Applied::Ignored,
            (JobState::Accepted, JobEvent::Waiting { reason }) => {
                if self.waiting.as_ref() == Some(&reason) {
                    return Applied::Ignored;
                }
                self.waiting = Some(reason);
                Applied::Progressed
            }
            (JobState::Running { .. }, JobEvent::Waiting { .. }) => return Applied::Ignored,
            (JobState::Accepted, JobEvent::Started { agent }) => {
                self.started = Some(now);
                self.agent = agent;
                self.state = JobState::Running { progress: 0.0, message: None, dismissing: None };
                Applied::Changed
            }
            (JobState::Running { .. }, JobEvent::Started { agent }) => {
                let changed = self.agent != agent || self.started.is_none();
                self.started.get_or_insert(now);
                self.agent = agent;
                if changed { Applied::Changed } else { Applied::Ignored }
            }
            (JobState::Accepted, JobEvent::Progress { percent, message }) => {
                self.started = Some(now);
                self.state = JobState::Running { progress: clean(percent, 0.0), message, dismissing: None };
                Applied::Changed
            }
            (JobState::Running { progress, message: said, .. }, JobEvent::Progress { percent, message }) => {
                let percent = clean(percent, *progress);
                if percent <= *progress && (message.is_none() || message == *said) {
                    return Applied::Ignored;
                }
                *progress = percent;
                if message.is_some() {
                    *said = message;
                }
                Applied::Progressed
            }
            (JobState::Accepted, JobEvent::DismissRequested(by)) => {
                self.state = JobState::Running { progress: 0.0, message: None, dismissing: Some(by) };
                Applied::Changed
            }
            (JobState::Running { dismissing, .. }, JobEvent::DismissRequested(by)) => {
                if dismissing.is_some() {
                    return Applied::Ignored;
                }
                *dismissing = Some(by);
                Applied::Changed
            }
            (
                JobState::Running { dismissing: Some(by), .. },
                JobEvent::Requeued { .. } | JobEvent::Ended(_),
            ) => {
                // Whoever asked for the end gets it, even where the work was quicker.
                let by = *by;
                self.finish(Outcome::Dismissed(by), now)
            }
            (_, JobEvent::Requeued { reason }) => {
                self.state = JobState::Accepted;
                self.started = None;
                self.agent = None;
                self.attempt += 1;
                self.requeued = Some(reason);
                Applied::Changed
            }
            (_, JobEvent::Ended(Ok(()))) => self.finish(Outcome::Succeeded, now),
            (_, JobEvent::Ended(Err(error))) => self.finish(Outcome::Failed(error), now),
        };
        if !matches!(self.state, JobState::Accepted) || applied == Applied::Changed {
            self.waiting = None;
        }
        self.updated = now;
        applied
    }

    fn finish(&mut self, outcome: Outcome, now: Timestamp) -> Applied {
        self.started.get_or_insert(now);
        self.finished = Some(now);
        self.state = JobState::Finished(outcome);
        Applied::Finished
    }
}

/// Progress as shown: within 0 to 100, never below what was shown.
fn clean(percent: f32, floor: f32) -> f32 {
    if percent.is_nan() { floor } else { percent.clamp(0.0, 100.0).max(floor) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        Job::new(JobId::random(), ProcessId::new("echo").unwrap(), Timestamp::UNIX_EPOCH)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn why_it_waits_is_said_until_it_is_under_way() {
        let mut job = job();
        let waiting = |reason: &str| JobEvent::Waiting { reason: reason.into() };
        assert_eq!(job.apply(waiting("all draining"), at(1)), Applied::Progressed);
        assert_eq!(job.apply(waiting("all draining"), at(2)), Applied::Ignored);
        assert_eq!(job.apply(waiting("none there"), at(3)), Applied::Progressed);
        assert_eq!((&job.state, job.waiting.as_deref()), (&JobState::Accepted, Some("none there")));
        assert_eq!(job.apply(JobEvent::Started { agent: None }, at(4)), Applied::Changed);
        assert_eq!(job.waiting, None);
        assert_eq!(job.apply(waiting("all draining"), at(5)), Applied::Ignored);
        assert_eq!(job.waiting, None);
    }

    #[test]
    fn a_happy_life() {
        let mut job = job();
        assert_eq!(job.apply(JobEvent::Started { agent: Some("a1".into()) }, at(1)), Applied::Changed);
        assert_eq!(
            job.apply(JobEvent::Progress { percent: 40.0, message: None }, at(2)),
            Applied::Progressed
        );
        assert_eq!(job.apply(JobEvent::Progress { percent: 30.0, message: None }, at(3)), Applied::Ignored);
        assert_eq!(
            job.apply(JobEvent::Progress { percent: f32::NAN, message: Some("x".into()) }, at(3)),
            Applied::Progressed
        );
        assert!((job.percent() - 40.0).abs() < f32::EPSILON);
        assert_eq!(job.apply(JobEvent::Ended(Ok(())), at(4)), Applied::Finished);
        assert_eq!((job.started, job.finished), (Some(at(1)), Some(at(4))));
    }

    #[test]
    fn nothing_changes_after_the_end() {
        let mut job = job();
        job.apply(JobEvent::Ended(Err(Error::TimedOut { seconds_max: 1 })), at(1));
        let end = job.clone();
        for event in [
            JobEvent::Started { agent: None },
            JobEvent::Progress { percent: 50.0, message: None },
            JobEvent::DismissRequested(DismissedBy::Client),
            JobEvent::Requeued { reason: "x".into() },
            JobEvent::Ended(Ok(())),
        ] {
            assert_eq!(job.apply(event, at(9)), Applied::Ignored);
        }
        assert_eq!(job, end);
    }

    #[test]
    fn dismissing_is_shown_until_the_work_has_ended() {
        let mut job = job();
        job.apply(JobEvent::Started { agent: None }, at(1));
        assert_eq!(job.apply(JobEvent::DismissRequested(DismissedBy::Client), at(2)), Applied::Changed);
        assert!(!job.is_finished());
        job.apply(JobEvent::Ended(Ok(())), at(3));
        assert_eq!(job.state, JobState::Finished(Outcome::Dismissed(DismissedBy::Client)));
    }

    #[test]
    fn a_lost_run_is_queued_again_unless_it_is_being_dismissed() {
        let mut lost = job();
        lost.apply(JobEvent::Started { agent: Some("a1".into()) }, at(1));
        lost.apply(JobEvent::Requeued { reason: "agent a1 was lost".into() }, at(2));
        assert_eq!((lost.attempt, &lost.state, lost.agent.as_deref()), (2, &JobState::Accepted, None));
        let mut dismissing = job();
        dismissing.apply(JobEvent::DismissRequested(DismissedBy::Operator), at(1));
        dismissing.apply(JobEvent::Requeued { reason: "x".into() }, at(2));
        assert!(dismissing.is_finished());
    }

    #[test]
    fn times_never_run_backwards() {
        let mut job = job();
        job.apply(JobEvent::Started { agent: None }, at(100));
        job.apply(JobEvent::Ended(Ok(())), at(50));
        assert_eq!(job.finished, Some(at(100)));
    }
}
