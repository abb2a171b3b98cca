use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Addresses remembered at most; beyond, the ones whose window is over go. A stranger with that many addresses is not
/// stopped by counting them anyway.
const ADDRESSES_MAX: usize = 10_000;

/// Counts failed logins per address in fixed windows.
#[derive(Debug)]
pub(super) struct FailedLogins {
    failures_max: usize,
    window: Duration,
    /// Beginning of the window and failures in it.
    by_address: Mutex<HashMap<IpAddr, (Instant, usize)>>,
}

impl FailedLogins {
    pub(super) fn new(failures_max: usize, window: Duration) -> Self {
        Self { failures_max, window, by_address: Mutex::new(HashMap::new()) }
    }

    /// Whether logins from there have to wait.
    pub(super) fn is_blocked(&self, address: IpAddr, now: Instant) -> bool {
        let counts = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(&address).is_some_and(|(since, failures)| {
            *failures >= self.failures_max && now.duration_since(*since) < self.window
        })
    }

    pub(super) fn record(&self, address: IpAddr, now: Instant) {
        let mut counts = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= ADDRESSES_MAX && !counts.contains_key(&address) {
            counts.retain(|_, (since, _)| now.duration_since(*since) < self.window);
            if counts.len() >= ADDRESSES_MAX {
                return;
            }
        }
        let (since, failures) = counts.entry(address).or_insert((now, 0));
        if now.duration_since(*since) >= self.window {
            (*since, *failures) = (now, 0);
        }
        *failures += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_blocked_for_the_rest_of_its_window() {
        let (here, there): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let (start, window) = (Instant::now(), Duration::from_secs(60));
        let failed = FailedLogins::new(2, window);
        failed.record(here, start);
        assert!(!failed.is_blocked(here, start));
        failed.record(here, start);
        assert!(failed.is_blocked(here, start) && !failed.is_blocked(there, start));
        assert!(!failed.is_blocked(here, start + window));
        failed.record(here, start + window);
        assert!(!failed.is_blocked(here, start + window));
    }
}
