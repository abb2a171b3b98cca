//! Listing jobs: filters, pages, cursors.

use crate::view::JobView;
use anabranch_model::{ProcessId, Timestamp, UserName};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Most jobs on one page: what one answer can reasonably hold.
pub const PAGE_JOBS_MAX: usize = 10_000;

/// Jobs on a page where the filter asks for none in particular.
pub const PAGE_JOBS_DEFAULT: usize = 100;

/// Which jobs are wanted; everything left out allows all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFilter {
    /// Submitted by this user; `None` allows all that the viewer may see.
    pub owner: Option<UserName>,
    /// Of these processes; empty allows all.
    pub processes: Vec<ProcessId>,
    /// In these states; empty allows all.
    pub states: Vec<StateName>,
    /// Accepted at or after this moment.
    pub created_from: Option<Timestamp>,
    /// Accepted at or before this moment.
    pub created_to: Option<Timestamp>,
    /// From start to end, or to now while running: at least this long. Jobs not begun have no duration.
    pub duration_min: Option<Duration>,
    /// At most this long.
    pub duration_max: Option<Duration>,
    /// Jobs on a page, at most [`PAGE_JOBS_MAX`].
    pub limit: usize,
    /// Which page: [`JobPage::next`] or [`JobPage::previous`] of another; `None` for the first.
    pub page: Option<Cursor>,
}

impl JobFilter {
    /// All jobs, [`PAGE_JOBS_DEFAULT`] a page.
    #[must_use]
    pub fn all() -> Self {
        Self {
            owner: None,
            processes: Vec::new(),
            states: Vec::new(),
            created_from: None,
            created_to: None,
            duration_min: None,
            duration_max: None,
            limit: PAGE_JOBS_DEFAULT,
            page: None,
        }
    }

    /// Whither the page goes from its cursor.
    pub(crate) fn direction(&self) -> Direction {
        self.page.map_or(Direction::Older, |cursor| cursor.direction)
    }
}

/// The states that filters tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StateName {
    /// Written down, not begun.
    Accepted,
    /// Being worked on, or being dismissed.
    Running,
    /// Ended with results.
    Succeeded,
    /// Ended without.
    Failed,
    /// Ended by request.
    Dismissed,
}

impl StateName {
    /// Every one.
    pub(crate) const ALL: [Self; 5] =
        [Self::Accepted, Self::Running, Self::Succeeded, Self::Failed, Self::Dismissed];
}

/// Some jobs, newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<Arc<JobView>>,
    /// The page of older jobs; `None` on the last one.
    pub next: Option<Cursor>,
    /// The page of newer jobs; `None` on the first one.
    pub previous: Option<Cursor>,
}

/// Whither a page goes from its cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// On, as the list does.
    Older,
    /// Back.
    Newer,
}

/// A place in the list. Opaque to clients: print and parse it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Microseconds since 1970 of the job beside the page.
    pub(crate) created_us: i64,
    /// Its sequence number.
    pub(crate) sequence: i64,
    /// On which side of it the page lies.
    pub(crate) direction: Direction,
}

/// A text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of this list")]
pub struct InvalidCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = match self.direction {
            Direction::Older => "",
            Direction::Newer => "-",
        };
        write!(f, "{direction}{:x}.{:x}", self.created_us, self.sequence)
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;
    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let (direction, text) = match text.strip_prefix('-') {
            Some(text) => (Direction::Newer, text),
            None => (Direction::Older, text),
        };
        let (created, sequence) = text.split_once('.').ok_or(InvalidCursor)?;
        let number = |text: &str| {
            let plain = text.bytes().all(|byte| byte.is_ascii_hexdigit());
            let number = plain.then(|| u64::from_str_radix(text, 16).ok()).flatten();
            number.ok_or(InvalidCursor)
        };
        let (created_us, sequence) = (number(created)?.cast_signed(), number(sequence)?.cast_signed());
        Ok(Self { created_us, sequence, direction })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_round_trip() {
        for cursor in [
            Cursor { created_us: 1_700_000_000_000_000, sequence: 7, direction: Direction::Older },
            Cursor { created_us: -5, sequence: i64::MAX, direction: Direction::Newer },
        ] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for bad in ["", ".", "1", "1.", "x.1", "1.2.3", "--1.2", "+1.2"] {
            assert_eq!(bad.parse::<Cursor>(), Err(InvalidCursor), "{bad:?}");
        }
    }
}
