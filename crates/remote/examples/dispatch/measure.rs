//! Times, memory, chance.

use std::time::Duration;

/// Processor times of many things of one kind, in nanoseconds: on a machine that does other things too, what is on the clock
/// tells of those.
#[derive(Default)]
pub(crate) struct Times(Vec<u64>);

fn thread_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).unwrap_or_default()
}

impl Times {
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

/// Processor time of this process so far, all threads.
pub(crate) fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
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

/// A small generator: xorshift64* (Vigna 2016).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % end
    }
}
