//! When a callback is tried again: a decision over numbers, without a clock.

use crate::limits::Limits;
use std::time::Duration;

/// An attempt that failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed {
    /// Attempts so far.
    pub(super) attempts: u32,
    /// Time since the state that is told.
    pub(super) age: Duration,
    /// What the receiver asked for.
    pub(super) retry_after: Option<Duration>,
    /// Spreads the attempts of many jobs for one receiver: 0 for the shortest pause, 255 for the longest.
    pub(super) spread: u8,
}

/// The pause before the next attempt: doubled each time, between half and all of it, never shorter than the receiver asks
/// for, never longer than the limit. `None` gives up.
pub(super) fn pause(failed: Failed, limits: &Limits) -> Option<Duration> {
    if failed.attempts >= limits.callback_attempts_max {
        return None;
    }
    let doublings = failed.attempts.saturating_sub(1).min(32);
    let longest = limits.callback_pause_ms_max;
    let whole_ms = limits.callback_pause_ms_min.saturating_mul(1 << doublings).min(longest);
    let spread_ms = whole_ms / 2 + (whole_ms - whole_ms / 2) * u64::from(failed.spread) / 255;
    let asked = failed.retry_after.unwrap_or_default().min(Duration::from_millis(longest));
    let pause = Duration::from_millis(spread_ms).max(asked);
    (failed.age + pause <= Duration::from_secs(limits.callback_keep_s)).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Failed = Failed { attempts: 1, age: Duration::ZERO, retry_after: None, spread: 255 };

    fn seconds(failed: Failed) -> Option<f64> {
        pause(failed, &Limits::default()).map(|pause| pause.as_secs_f64())
    }

    #[test]
    fn pauses_double_up_to_the_limit() {
        let after = |attempts| seconds(Failed { attempts, ..FIRST });
        assert_eq!([1, 2, 3, 12, 13, 19].map(after), [1.0, 2.0, 4.0, 2048.0, 3600.0, 3600.0].map(Some));
        assert_eq!(after(20), None, "attempts are counted");
    }

    #[test]
    fn pauses_are_spread_between_half_and_all() {
        let spread = |spread| seconds(Failed { spread, ..FIRST });
        assert_eq!((spread(0), spread(255)), (Some(0.5), Some(1.0)));
        assert!((0.5..1.0).contains(&spread(128).unwrap()));
    }

    #[test]
    fn the_receiver_may_ask_for_more_within_the_limit() {
        let asked = |s| seconds(Failed { retry_after: Some(Duration::from_secs(s)), ..FIRST });
        assert_eq!([0, 120, 1_000_000].map(asked), [1.0, 120.0, 3600.0].map(Some));
    }

    #[test]
    fn a_state_that_is_old_is_not_told_any_more() {
        let aged = |hours: u64| seconds(Failed { age: Duration::from_secs(hours * 3600), ..FIRST });
        assert_eq!((aged(23), aged(24)), (Some(1.0), None));
    }

    #[test]
    fn extreme_limits_do_not_overflow() {
        let limits = Limits {
            callback_attempts_max: u32::MAX,
            callback_pause_ms_min: u64::MAX,
            callback_pause_ms_max: u64::MAX / 1000,
            callback_keep_s: u64::MAX,
            ..Limits::default()
        };
        assert!(pause(Failed { attempts: 1_000_000, ..FIRST }, &limits).is_some());
    }
}
