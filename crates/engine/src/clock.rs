//! The one place where the engine reads the clock.

use anabranch_model::Timestamp;
use std::time::Duration;

/// Now, to the microsecond: the store keeps no finer times, and a job must look the same from memory and from disk.
pub(crate) fn now() -> Timestamp {
    #[cfg(test)]
    let now = crate::tests::simulation::now().unwrap_or_else(Timestamp::now);
    #[cfg(not(test))]
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

/// `seconds` after `at`; the end of time where that is beyond it.
pub(crate) fn seconds_after(at: Timestamp, seconds: u64) -> Timestamp {
    at.checked_add(Duration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

/// `seconds` before `at`; the begin of time where that is before it.
pub(crate) fn seconds_before(at: Timestamp, seconds: u64) -> Timestamp {
    at.checked_sub(Duration::from_secs(seconds)).unwrap_or(Timestamp::MIN)
}

/// From now until then; nothing where that has passed.
pub(crate) fn until(then: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now())).unwrap_or(Duration::ZERO)
}
