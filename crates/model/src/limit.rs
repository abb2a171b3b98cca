//! Limits as they are told: which one, how much it allows, and whose it is.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A limit that was reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// What is counted.
    pub kind: LimitKind,
    /// How much is allowed, in the unit of its kind.
    pub max: u64,
    /// Whose limit it is.
    pub of: LimitOf,
}

/// What limits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitKind {
    /// Runs under way; what is above waits.
    ParallelJobs,
    /// Jobs that wait for their run.
    QueuedJobs,
    /// Jobs accepted within the last hour.
    HourlyJobs,
    /// Bytes of the inputs of one job.
    InputBytes,
    /// Bytes of the outputs of one job.
    OutputBytes,
    /// Bytes of inputs and outputs of all jobs that are kept.
    StoredBytes,
    /// Seconds from the begin of a run's work to its end.
    RunSeconds,
    /// Seconds from acceptance to the begin of the work.
    QueueSeconds,
    /// Seconds of processor time of one run.
    CpuSeconds,
    /// Bytes that must stay free on the disk: a limit from below.
    FreeBytes,
}

/// Whose limit it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitOf {
    /// The server's, for everyone together.
    Server,
    /// Of each user by itself.
    EachUser,
    /// Of each user who has this role.
    Role(String),
    /// Of a process, for all its users together.
    Process(String),
}

/// What a reached limit means for who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitSort {
    /// Too many jobs of this user: later.
    UserBusy,
    /// Too many jobs of all: later.
    ServerBusy,
    /// The inputs or outputs are too large, now and later.
    TooLarge,
    /// There is no room for what would be kept.
    NoStorage,
    /// The job took too long, and was ended.
    TooLong,
}

impl LimitKind {
    /// Every one, in the order of the configuration.
    pub const ALL: [Self; 10] = [
        Self::ParallelJobs,
        Self::QueuedJobs,
        Self::HourlyJobs,
        Self::InputBytes,
        Self::OutputBytes,
        Self::StoredBytes,
        Self::RunSeconds,
        Self::QueueSeconds,
        Self::CpuSeconds,
        Self::FreeBytes,
    ];

    /// Its key in the configuration.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::ParallelJobs => "parallel_jobs_max",
            Self::QueuedJobs => "queued_jobs_max",
            Self::HourlyJobs => "hourly_jobs_max",
            Self::InputBytes => "input_bytes_max",
            Self::OutputBytes => "output_bytes_max",
            Self::StoredBytes => "stored_bytes_max",
            Self::RunSeconds => "run_s_max",
            Self::QueueSeconds => "queue_s_max",
            Self::CpuSeconds => "cpu_s_max",
            Self::FreeBytes => "free_bytes_min",
        }
    }

    /// What it counts, after a number.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::ParallelJobs => "jobs at once",
            Self::QueuedJobs => "waiting jobs",
            Self::HourlyJobs => "jobs an hour",
            Self::InputBytes => "bytes of inputs",
            Self::OutputBytes => "bytes of outputs",
            Self::StoredBytes => "stored bytes",
            Self::RunSeconds => "s of run time",
            Self::QueueSeconds => "s of waiting",
            Self::CpuSeconds => "s of processor time",
            Self::FreeBytes => "bytes free on the disk",
        }
    }
}

impl Limit {
    /// What it means for who asked.
    #[must_use]
    pub fn sort(&self) -> LimitSort {
        match (self.kind, &self.of) {
            (
                LimitKind::ParallelJobs | LimitKind::QueuedJobs | LimitKind::HourlyJobs,
                LimitOf::EachUser | LimitOf::Role(_),
            ) => LimitSort::UserBusy,
            (
                LimitKind::ParallelJobs | LimitKind::QueuedJobs | LimitKind::HourlyJobs,
                LimitOf::Server | LimitOf::Process(_),
            ) => LimitSort::ServerBusy,
            (LimitKind::InputBytes | LimitKind::OutputBytes, _) => LimitSort::TooLarge,
            (LimitKind::StoredBytes | LimitKind::FreeBytes, _) => LimitSort::NoStorage,
            (LimitKind::RunSeconds | LimitKind::QueueSeconds | LimitKind::CpuSeconds, _) => {
                LimitSort::TooLong
            }
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let least_or_most = if self.kind == LimitKind::FreeBytes { "at least" } else { "at most" };
        let (max, unit, key) = (self.max, self.kind.unit(), self.kind.key());
        write!(f, "{least_or_most} {max} {unit}, as {key} of {} says", self.of)
    }
}

impl fmt::Display for LimitOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server => f.write_str("the server"),
            Self::EachUser => f.write_str("each user"),
            Self::Role(role) => write!(f, "role '{role}'"),
            Self::Process(process) => write!(f, "process '{process}'"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_says_which_how_much_and_whose() {
        let limit = Limit { kind: LimitKind::QueuedJobs, max: 5, of: LimitOf::Role("guest".into()) };
        assert_eq!(limit.to_string(), "at most 5 waiting jobs, as queued_jobs_max of role 'guest' says");
        assert_eq!(limit.sort(), LimitSort::UserBusy);
        let free = Limit { kind: LimitKind::FreeBytes, max: 7, of: LimitOf::Server };
        assert_eq!(
            free.to_string(),
            "at least 7 bytes free on the disk, as free_bytes_min of the server says"
        );
        assert_eq!(free.sort(), LimitSort::NoStorage);
    }

    #[test]
    fn the_same_number_is_the_users_or_the_servers() {
        let sort = |of| Limit { kind: LimitKind::HourlyJobs, max: 1, of }.sort();
        assert_eq!(sort(LimitOf::EachUser), LimitSort::UserBusy);
        assert_eq!(sort(LimitOf::Process("p".into())), LimitSort::ServerBusy);
    }
}
