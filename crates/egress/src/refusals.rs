//! How many references the policy has refused, by reason.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::address::AddressClass;
use crate::error::Reason;

/// One name for each reason, as monitors like them.
const NAMES: [&str; 16] = [
    "not_a_url",
    "too_long",
    "scheme",
    "user_info",
    "no_host",
    "denied",
    "not_listed",
    "unspecified",
    "loopback",
    "private",
    "shared",
    "link_local",
    "metadata",
    "multicast",
    "embedded",
    "reserved",
];

/// Counts since the start.
#[derive(Debug, Default)]
pub(crate) struct Refusals([AtomicU64; NAMES.len()]);

impl Refusals {
    pub(crate) fn count(&self, reason: &Reason) {
        let name = name(reason);
        if let Some(place) = NAMES.iter().position(|known| *known == name) {
            self.0[place].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> Vec<(&'static str, u64)> {
        NAMES.into_iter().zip(self.0.iter().map(|count| count.load(Ordering::Relaxed))).collect()
    }
}

fn name(reason: &Reason) -> &'static str {
    match reason {
        Reason::NotAUrl => "not_a_url",
        Reason::TooLong => "too_long",
        Reason::Scheme(_) => "scheme",
        Reason::UserInfo => "user_info",
        Reason::NoHost => "no_host",
        Reason::Denied => "denied",
        Reason::NotListed => "not_listed",
        Reason::Address { class, .. } => match class {
            AddressClass::Unspecified => "unspecified",
            AddressClass::Loopback => "loopback",
            AddressClass::Private => "private",
            AddressClass::Shared => "shared",
            AddressClass::LinkLocal => "link_local",
            AddressClass::Metadata => "metadata",
            AddressClass::Multicast => "multicast",
            AddressClass::Embedded => "embedded",
            AddressClass::Public | AddressClass::Documentation | AddressClass::Reserved => "reserved",
        },
    }
}
