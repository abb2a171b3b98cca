use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Timing;
use crate::bus::RoomJoin;
use crate::wire::tls::Trust;

/// Where and as whom to log in.
#[derive(Clone)]
pub struct ClientConfig {
    /// Host name or address to connect to; no DNS records besides addresses are looked up.
    pub host: String,
    pub port: u16,
    /// Domain of the account: what the server calls itself, and the name its certificate must bear.
    pub domain: String,
    pub user: String,
    pub password: String,
    /// Wish for a resource; must differ between sessions of one account.
    pub resource: String,
    pub security: Security,
    pub rooms: Vec<RoomJoin>,
    pub timing: Timing,
    pub limits: ClientLimits,
    /// Longest pause between tries to connect; may be changed while the session lives.
    pub backoff: Backoff,
}

/// What protects the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Security {
    /// TLS on request (RFC 6120 §5), and nothing without it.
    StartTls(Trust),
    /// TLS from the first byte (XEP-0368).
    DirectTls(Trust),
    /// None: for a server on the same host.
    Plaintext,
}

/// Limits of a client session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientLimits {
    /// Bytes of a stanza before login (64 KiB): a server's list of features is longer than what it accepts itself.
    pub stanza_before_login_bytes_max: usize,
    /// Bytes of a stanza after login, received or sent (1 MiB): as in the server.
    pub stanza_bytes_max: usize,
    /// Time from connecting to the bound session (20 s).
    pub connect_timeout: Duration,
    /// How long the server may refuse to take bytes (20 s); then the link counts as dead.
    pub write_timeout: Duration,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            stanza_before_login_bytes_max: 64 * 1024,
            stanza_bytes_max: 1024 * 1024,
            connect_timeout: Duration::from_secs(20),
            write_timeout: Duration::from_secs(20),
        }
    }
}

/// The cap of the exponential pause between tries to connect. Clones share it, so that a program can shorten it while
/// work waits for the link, and lengthen it again.
#[derive(Debug, Clone)]
pub struct Backoff {
    cap_ms: Arc<AtomicU64>,
}

impl Backoff {
    /// Pause after the first failure; it doubles with each further one.
    pub const BASE: Duration = Duration::from_millis(250);

    /// Pauses up to `cap`.
    pub fn new(cap: Duration) -> Self {
        Self { cap_ms: Arc::new(AtomicU64::new(millis(cap))) }
    }

    /// Holds from the next pause on.
    pub fn set_cap(&self, cap: Duration) {
        self.cap_ms.store(millis(cap), Ordering::Relaxed);
    }

    /// Pause after so many failures in a row: between half and all of `BASE · 2ⁿ⁻¹` or the cap, so that many clients
    /// of a server that comes back do not all knock at once.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        let doubled = Self::BASE.saturating_mul(1 << failures.saturating_sub(1).min(16));
        let longest = doubled.min(Duration::from_millis(self.cap_ms.load(Ordering::Relaxed)));
        longest.mul_f64(0.5 + rand::random::<f64>() / 2.0)
    }
}

impl Default for Backoff {
    /// A cap of 30 s: long enough not to bother a server that is down, short enough for an agent to be back soon.
    fn default() -> Self {
        Self::new(Duration::from_secs(30))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_cap_that_can_change() {
        let backoff = Backoff::new(Duration::from_secs(1));
        for (failures, longest_ms) in [(1, 250), (2, 500), (3, 1000), (4, 1000), (u32::MAX, 1000)] {
            let (pause, longest) = (backoff.pause(failures), Duration::from_millis(longest_ms));
            assert!(pause >= longest / 2 && pause <= longest, "{failures}: {pause:?}");
        }
        backoff.clone().set_cap(Duration::from_millis(100));
        assert!(backoff.pause(9) <= Duration::from_millis(100));
    }
}
