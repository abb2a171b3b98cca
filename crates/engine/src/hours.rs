//! How many jobs came within the last hour, by the minute.

use anabranch_model::Timestamp;
use std::collections::VecDeque;

const MINUTES: i64 = 60;

/// Counts of the minutes of the last hour. At most 61 of them: an hour back from the middle of a minute.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hours {
    minutes: VecDeque<(i64, u64)>,
    sum: u64,
}

fn minute(at: Timestamp) -> i64 {
    at.as_second().div_euclid(60)
}

impl Hours {
    /// So many came then. What came before what is counted already is counted with that.
    pub(crate) fn add(&mut self, at: Timestamp, count: u64) {
        self.forget(at);
        self.sum += count;
        let minute = minute(at);
        match self.minutes.back_mut() {
            Some((last, counted)) if *last >= minute => *counted += count,
            _ => self.minutes.push_back((minute, count)),
        }
    }

    /// How many came within the last hour.
    pub(crate) fn count(&mut self, now: Timestamp) -> u64 {
        self.forget(now);
        self.sum
    }

    /// Seconds until there are fewer than `max`, if none comes meanwhile; an hour where there never will be.
    pub(crate) fn below_in_s(&mut self, max: u64, now: Timestamp) -> u32 {
        self.forget(now);
        let mut left = self.sum;
        for (minute, count) in &self.minutes {
            left -= count;
            if left < max {
                let free = (minute + MINUTES + 1) * 60 - now.as_second();
                return u32::try_from(free.max(1)).unwrap_or(1);
            }
        }
        3600
    }

    fn forget(&mut self, now: Timestamp) {
        let oldest = minute(now) - MINUTES;
        while let Some((minute, count)) = self.minutes.front()
            && *minute < oldest
        {
            self.sum -= count;
            self.minutes.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    #[test]
    fn an_hour_is_an_hour() {
        let mut hours = Hours::default();
        hours.add(at(0), 3);
        hours.add(at(30), 1);
        hours.add(at(600), 2);
        assert_eq!(hours.count(at(601)), 6);
        assert_eq!(hours.below_in_s(3, at(1800)), 1860, "when the first minute is over for good");
        assert_eq!(hours.below_in_s(2, at(1800)), 2460);
        assert_eq!(hours.below_in_s(0, at(1800)), 3600);
        assert_eq!(hours.count(at(3659)), 6);
        assert_eq!(hours.count(at(3660)), 2);
        assert_eq!(hours.count(at(9999)), 0);
        hours.add(at(9999), 1);
        hours.add(at(20), 1);
        assert_eq!((hours.count(at(10_000)), hours.minutes.len()), (2, 1), "clocks may step back");
    }
}
