//! Whom to call back, and when.

use crate::job::{JobState, Outcome};
use serde::{Deserialize, Serialize};

/// Addresses to which a job's states are sent (OGC API - Processes §12, `subscriber.yaml`). As written: what may be called
/// is decided before the job is accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Subscriber {
    /// Is sent the results.
    pub succeeded: Option<String>,
    /// Is sent the status once the job runs.
    pub in_progress: Option<String>,
    /// Is sent the status once the job has failed or was dismissed.
    pub failed: Option<String>,
}

/// A state of which a subscriber is told, at most once each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallbackEvent {
    /// The job runs.
    InProgress,
    /// It has succeeded.
    Succeeded,
    /// It has failed, or was dismissed.
    Failed,
}

impl CallbackEvent {
    /// All of them, in the order in which a job meets them.
    pub const ALL: [Self; 3] = [Self::InProgress, Self::Succeeded, Self::Failed];

    /// What a job in this state is called back for.
    #[must_use]
    pub fn of(state: &JobState) -> Option<Self> {
        match state {
            JobState::Accepted => None,
            JobState::Running { .. } => Some(Self::InProgress),
            JobState::Finished(Outcome::Succeeded) => Some(Self::Succeeded),
            JobState::Finished(Outcome::Failed(_) | Outcome::Dismissed(_)) => Some(Self::Failed),
        }
    }

    /// The member of the request that holds its address.
    #[must_use]
    pub fn member(self) -> &'static str {
        match self {
            Self::InProgress => "subscriber.inProgressUri",
            Self::Succeeded => "subscriber.successUri",
            Self::Failed => "subscriber.failedUri",
        }
    }
}

impl Subscriber {
    /// The address that is told of `event`.
    #[must_use]
    pub fn address(&self, event: CallbackEvent) -> Option<&str> {
        match event {
            CallbackEvent::InProgress => self.in_progress.as_deref(),
            CallbackEvent::Succeeded => self.succeeded.as_deref(),
            CallbackEvent::Failed => self.failed.as_deref(),
        }
    }

    /// The events that are told, with their addresses.
    pub fn addresses(&self) -> impl Iterator<Item = (CallbackEvent, &str)> {
        CallbackEvent::ALL.into_iter().filter_map(|event| Some((event, self.address(event)?)))
    }
}
