//! The time limits of one fetch: idle and total.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::error::{Fault, Wait};

/// Runs from the call to the last byte. Clones share the time of the last activity: the sender of the request
/// body touches it while the caller waits for the answer.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    started: Instant,
    /// Milliseconds from `started` to the last byte in either direction.
    last_activity_ms: Arc<AtomicU64>,
    idle_ms_max: u64,
    total_ms_max: u64,
}

impl Clock {
    pub(crate) fn start(idle_ms_max: u64, total_ms_max: u64) -> Self {
        Self { started: Instant::now(), last_activity_ms: Arc::default(), idle_ms_max, total_ms_max }
    }

    /// A byte moved.
    pub(crate) fn touch(&self) {
        self.last_activity_ms.store(self.elapsed_ms(), Ordering::Relaxed);
    }

    /// Waits for `future` while bytes move and time is left.
    pub(crate) async fn wait<T>(&self, future: impl Future<Output = T>) -> Result<T, Fault> {
        self.touch();
        let mut future = pin!(future);
        loop {
            let (at, wait, ms) = self.next_limit();
            if let Ok(output) = timeout_at(at, &mut future).await {
                self.touch();
                return Ok(output);
            }
            // Activity may have moved the idle limit meanwhile.
            if self.next_limit().0 <= Instant::now() {
                return Err(Fault::TimedOut { wait, ms });
            }
        }
    }

    fn next_limit(&self) -> (Instant, Wait, u64) {
        let idle_ends_ms = self.last_activity_ms.load(Ordering::Relaxed).saturating_add(self.idle_ms_max);
        if idle_ends_ms < self.total_ms_max {
            (self.at(idle_ends_ms), Wait::Idle, self.idle_ms_max)
        } else {
            (self.at(self.total_ms_max), Wait::Total, self.total_ms_max)
        }
    }

    /// A limit beyond the clock's range means "in a year": no fetch lasts longer.
    fn at(&self, ms: u64) -> Instant {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
        self.started + Duration::from_millis(ms).min(YEAR)
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn activity_moves_the_idle_limit_but_not_the_total_limit() {
        let clock = Clock::start(100, 250);
        let sender = clock.clone();
        let steps = async move {
            loop {
                tokio::time::advance(Duration::from_millis(60)).await;
                sender.touch();
                tokio::task::yield_now().await;
            }
        };
        let fault = clock.wait::<()>(steps).await.unwrap_err();
        assert!(matches!(fault, Fault::TimedOut { wait: Wait::Total, ms: 250 }), "{fault}");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_at_the_idle_limit() {
        let fault = Clock::start(100, 250).wait(std::future::pending::<()>()).await.unwrap_err();
        assert!(matches!(fault, Fault::TimedOut { wait: Wait::Idle, ms: 100 }), "{fault}");
    }
}
