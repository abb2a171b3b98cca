//! Times, memory, chance.

use crate::simulation::{Random, thread_ns};

/// Processor times of many things of one kind, in nanoseconds: on a machine that does other things too, what is on the clock
/// tells of those.
#[derive(Default)]
pub(crate) struct Times(Vec<u64>);

impl Times {
    pub(crate) fn of(ns: Vec<u64>) -> Self {
        Self(ns)
    }

    pub(crate) fn take<T>(&mut self, what: impl FnOnce() -> T) -> T {
        let before = thread_ns();
        let result = what();
        self.0.push(thread_ns() - before);
        result
    }

    /// Of `share` of them no one took longer, microseconds.
    fn quantile_us(&mut self, share: f64) -> f64 {
        self.0.sort_unstable();
        let at = (self.0.len() as f64 * share) as usize;
        self.0[at.min(self.0.len() - 1)] as f64 / 1000.0
    }

    pub(crate) fn row(&mut self, what: &str) -> String {
        let mean = self.0.iter().sum::<u64>() as f64 / self.0.len() as f64 / 1000.0;
        let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| self.quantile_us(share));
        format!(
            "{what:<58} {:>7} times  mean {mean:>7.2}  p50 {p50:>7.2}  p99 {p99:>7.2}  max {max:>8.1} us",
            self.0.len()
        )
    }
}

/// Resident memory of this process, MiB.
pub(crate) fn rss_mib() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    pages * 4096.0 / f64::from(1 << 20)
}

/// The most memory that this process had resident so far, MiB.
pub(crate) fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|kib| kib.parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}

/// The limit: what a look at memory costs that no cache holds, in ns.
pub(crate) fn machine() -> String {
    let len: usize = 1 << 24;
    let mut next: Vec<u32> = (0..len as u32).collect();
    let mut random = Random::new(1);
    // A single cycle through all (Sattolo).
    for i in (1..len).rev() {
        next.swap(i, random.below(i as u64) as usize);
    }
    let (before, looks, mut at) = (thread_ns(), 2_000_000, 0_u32);
    for _ in 0..looks {
        at = next[at as usize];
    }
    let ns = (thread_ns() - before) / looks;
    format!("limit of the machine: a look at memory out of cache takes {ns} ns (ended at {at})")
}
