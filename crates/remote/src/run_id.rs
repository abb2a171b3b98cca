//! The name of a run: one attempt at a job.

use std::fmt;
use std::str::FromStr;

use anabranch_model::JobId;
use serde::{Deserialize, Serialize};

/// One attempt at a job, as both ends name it. Shown as `<job>-<attempt>`, which is safe as a folder and in a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId {
    pub job: JobId,
    /// 1 for the first run of the job.
    pub attempt: u32,
}

/// A text that is no [`RunId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a run is named <job>-<attempt>")]
pub struct InvalidRunId;

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.job, self.attempt)
    }
}

impl FromStr for RunId {
    type Err = InvalidRunId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (job, attempt) = text.rsplit_once('-').ok_or(InvalidRunId)?;
        let run = Self {
            job: job.parse().map_err(|_not_a_uuid| InvalidRunId)?,
            attempt: attempt.parse().map_err(|_not_a_number| InvalidRunId)?,
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
        let run = RunId { job: JobId::random(), attempt: 3 };
        assert_eq!(run.to_string().parse(), Ok(run));
        let upper = run.to_string().to_uppercase();
        for bad in ["", "x-1", "../../etc-1", &format!("{}-01", run.job), &format!("{}-+1", run.job)] {
            assert_eq!(bad.parse::<RunId>(), Err(InvalidRunId), "{bad}");
        }
        if upper != run.to_string() {
            assert_eq!(upper.parse::<RunId>(), Err(InvalidRunId));
        }
    }
}
