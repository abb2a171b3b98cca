//! The name of a run: one attempt at a job.

use std::fmt;
use std::str::FromStr;

use anabranch_model::JobId;
use serde::{Deserialize, Serialize};

/// One attempt at a job, or one of the runs that an attempt consists of, as both ends name it. Shown as `<job>-<attempt>` or
/// `<job>-<attempt>.<part>`, which is safe as a folder and in a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId {
    pub job: JobId,
    /// 1 for the first run of the job.
    pub attempt: u32,
    /// Where the attempt consists of several runs.
    pub part: Option<u32>,
}

impl RunId {
    /// The run of an execution.
    #[must_use]
    pub fn of(execution: &anabranch_model::Execution) -> Self {
        Self { job: execution.job, attempt: execution.attempt, part: execution.part }
    }

    /// The only run of an attempt.
    #[must_use]
    pub fn whole(job: JobId, attempt: u32) -> Self {
        Self { job, attempt, part: None }
    }
}

/// A text that is no [`RunId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a run is named <job>-<attempt> or <job>-<attempt>.<part>")]
pub struct InvalidRunId;

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.job, self.attempt)?;
        self.part.map_or(Ok(()), |part| write!(f, ".{part}"))
    }
}

impl FromStr for RunId {
    type Err = InvalidRunId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (job, attempt) = text.rsplit_once('-').ok_or(InvalidRunId)?;
        let (attempt, part) =
            attempt.split_once('.').map_or((attempt, None), |(attempt, part)| (attempt, Some(part)));
        let number = |text: &str| text.parse().map_err(|_not_a_number| InvalidRunId);
        let run = Self {
            job: job.parse().map_err(|_not_a_uuid| InvalidRunId)?,
            attempt: number(attempt)?,
            part: part.map(number).transpose()?,
        };
        // One spelling only: other forms of a UUID, `+1` and `01` would be second names of the same run.
        if run.to_string() == text { Ok(run) } else { Err(InvalidRunId) }
    }
}

impl TryFrom<String> for RunId {
    type Error = InvalidRunId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(run: RunId) -> Self {
        run.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_one_spelling() {
        let run = RunId::whole(JobId::random(), 3);
        for run in [run, RunId { part: Some(17), ..run }] {
            assert_eq!(run.to_string().parse(), Ok(run));
        }
        let upper = run.to_string().to_uppercase();
        for bad in [
            "",
            "x-1",
            "../../etc-1",
            &format!("{}-01", run.job),
            &format!("{}-+1", run.job),
            &format!("{}-1.", run.job),
            &format!("{}-1.02", run.job),
        ] {
            assert_eq!(bad.parse::<RunId>(), Err(InvalidRunId), "{bad}");
        }
        if upper != run.to_string() {
            assert_eq!(upper.parse::<RunId>(), Err(InvalidRunId));
        }
    }
}
