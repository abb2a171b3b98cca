//! Limits against guessing: failed logins by address and by user.

use anabranch_model::UserName;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failed logins of one address in [`WINDOW`]: an office behind one address mistypes less often.
const FAILURES_OF_ADDRESS_MAX: u32 = 30;
/// Failed logins as one user in [`WINDOW`], from wherever: 14,400 guesses a day find no password worth the name.
const FAILURES_OF_USER_MAX: u32 = 10;
/// How long failures count, from the first one on.
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses and users remembered at once; beyond that those whose window began first are forgotten.
const KEYS_MAX: usize = 10_000;

/// Who fails. Users are those asked for, whether they exist or not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Address(IpAddr),
    User(UserName),
}

/// The failures of the last minute.
#[derive(Default)]
pub(crate) struct Guesses(Mutex<HashMap<Key, Failures>>);

#[derive(Clone, Copy)]
struct Failures {
    since: Instant,
    count: u32,
}

impl Guesses {
    /// Whether a try is allowed; if not, in how many seconds.
    pub(crate) fn check(&self, address: IpAddr, user: Option<&UserName>, now: Instant) -> Result<(), u32> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys(address, user) {
            let Some(failures) = known.get(&key) else { continue };
            let left = WINDOW.saturating_sub(now.saturating_duration_since(failures.since));
            if failures.count >= key.failures_max() && !left.is_zero() {
                return Err(u32::try_from(left.as_secs()).unwrap_or(u32::MAX).saturating_add(1));
            }
        }
        Ok(())
    }

    /// A try has failed.
    pub(crate) fn failed(&self, address: IpAddr, user: Option<&UserName>, now: Instant) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys(address, user) {
            if known.len() >= KEYS_MAX && !known.contains_key(&key) {
                known.retain(|_, failures| now.saturating_duration_since(failures.since) < WINDOW);
                let oldest =
                    known.iter().min_by_key(|(_, failures)| failures.since).map(|(key, _)| key.clone());
                if let Some(oldest) = oldest.filter(|_| known.len() >= KEYS_MAX) {
                    known.remove(&oldest);
                }
            }
            let failures = known.entry(key).or_insert(Failures { since: now, count: 0 });
            if now.saturating_duration_since(failures.since) >= WINDOW {
                *failures = Failures { since: now, count: 0 };
            }
            failures.count += 1;
        }
    }
}

fn keys(address: IpAddr, user: Option<&UserName>) -> impl Iterator<Item = Key> {
    [Some(Key::Address(network(address))), user.cloned().map(Key::User)].into_iter().flatten()
}

/// Whoever has one address of IPv6 has the 2^64 beside it too.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
        address @ IpAddr::V4(_) => address,
    }
}

impl Key {
    fn failures_max(&self) -> u32 {
        match self {
            Self::Address(_) => FAILURES_OF_ADDRESS_MAX,
            Self::User(_) => FAILURES_OF_USER_MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_ten_failures_a_user_waits_and_others_do_not() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        let name = |text: &str| UserName::new(text).unwrap();
        let address = |last: u8| IpAddr::from([10, 0, 0, last]);
        for n in 0..10 {
            assert_eq!(guesses.check(address(n), Some(&name("anna")), now), Ok(()));
            guesses.failed(address(n), Some(&name("anna")), now);
        }
        assert!(guesses.check(address(99), Some(&name("anna")), now).is_err_and(|s| s > 0 && s <= 61));
        assert_eq!(guesses.check(address(1), Some(&name("ben")), now), Ok(()));
        assert_eq!(guesses.check(address(99), Some(&name("anna")), now + WINDOW), Ok(()));
    }

    #[test]
    fn an_address_is_limited_whomever_it_tries() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        let of = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 1, 2, 3, last]);
        for n in 0..30 {
            guesses.failed(of(n), Some(&UserName::new(format!("user {n}")).unwrap()), now);
        }
        assert!(guesses.check(of(500), None, now).is_err(), "the whole /64 is one");
        assert_eq!(guesses.check(IpAddr::from([10, 0, 0, 1]), None, now), Ok(()));
    }

    #[test]
    fn memory_is_bounded() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        for n in 0..KEYS_MAX as u32 + 10 {
            guesses.failed(IpAddr::from(n.to_be_bytes()), None, now);
        }
        assert!(guesses.0.lock().unwrap().len() <= KEYS_MAX);
    }
}
