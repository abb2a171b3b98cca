//! What may leave, where to, and how much of it: the `[egress]` table of the configuration.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, de::Error as _};
use thiserror::Error;

use crate::rule::{Rule, parse_host};

/// The policy of all outbound requests. Every field has a default; unknown keys are errors.
///
/// An address is reachable where no [`deny`](Self::deny) rule matches, and it is public (while
/// [`public_allowed`](Self::public_allowed)) or an [`allow`](Self::allow) rule opens it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Schemes a reference may have. Default: both.
    pub schemes: Vec<Scheme>,
    /// True (default): any public address may be reached. False: only what `allow` lists.
    pub public_allowed: bool,
    /// Opens addresses that are refused by default, and the only ones open without `public_allowed`. A rule by
    /// host opens the private, loopback and shared addresses of that host; link-local, reserved and
    /// IPv4-in-IPv6 addresses need a rule by address or network; a metadata service needs its very address.
    pub allow: Vec<Rule>,
    /// Wins over `allow`. A rule by host refuses that name only, not its addresses.
    pub deny: Vec<Rule>,
    /// Host name -> address, instead of a look-up (split DNS). The address is still judged.
    pub hosts: BTreeMap<HostName, IpAddr>,
    /// PEM file with certificate authorities to trust besides the built-in ones.
    pub ca_file: Option<PathBuf>,
    /// Largest response body, bytes, as it came and unpacked. Default 2 GiB: a large scene passes, a disk doesn't fill.
    pub body_bytes_max: u64,
    /// Most bytes that one byte of a gzip body may unpack to, on the whole; the first MiB is free. Default 100: features as
    /// XML or JSON reach 10 to 50, bombs 1000.
    pub unpacked_ratio_max: u64,
    /// Largest request body, bytes. Default 16 GiB: an agent's output may be larger than any input.
    pub request_body_bytes_max: u64,
    /// Longest look-up, and longest connection with its TLS handshake, milliseconds each. Default 10 s.
    #[serde(deserialize_with = "at_least_one")]
    pub connect_ms_max: u64,
    /// Longest wait without a byte in either direction, milliseconds. Default 60 s: slow services compute
    /// before they answer.
    #[serde(deserialize_with = "at_least_one")]
    pub idle_ms_max: u64,
    /// Longest fetch from the call to the last byte, redirects included, milliseconds. Default 1 h: 2 GiB at
    /// 5 Mbit/s.
    #[serde(deserialize_with = "at_least_one")]
    pub total_ms_max: u64,
    /// Most redirects of one fetch. Default 5.
    pub redirects_max: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            schemes: vec![Scheme::Http, Scheme::Https],
            public_allowed: true,
            allow: Vec::new(),
            deny: Vec::new(),
            hosts: BTreeMap::new(),
            ca_file: None,
            body_bytes_max: 2 << 30,
            unpacked_ratio_max: 100,
            request_body_bytes_max: 16 << 30,
            connect_ms_max: 10_000,
            idle_ms_max: 60_000,
            total_ms_max: 3_600_000,
            redirects_max: 5,
        }
    }
}

/// A scheme that can be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// A host name as a URL shows it: lower case, punycode, no trailing dot. Never an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct HostName(String);

/// Why a key of [`Policy::hosts`] is not a host name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("host '{name}': {reason}")]
pub struct HostNameError {
    /// The name as written.
    pub name: String,
    /// The rule it breaks.
    pub reason: &'static str,
}

impl TryFrom<String> for HostName {
    type Error = HostNameError;

    fn try_from(name: String) -> Result<Self, HostNameError> {
        match parse_host(&name) {
            Ok(parsed) => Ok(Self(parsed)),
            Err(reason) => Err(HostNameError { name, reason }),
        }
    }
}

impl std::borrow::Borrow<str> for HostName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A time limit of nought would refuse everything, after a confusing time-out.
fn at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match u64::deserialize(deserializer)? {
        0 => Err(D::Error::custom("a time limit must be at least 1 millisecond")),
        ms => Ok(ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_table_reads() {
        let policy: Policy = toml::from_str(
            r#"
            schemes = ["https"]
            public_allowed = false
            allow = ["127.0.0.1:8099", "10.1.0.0/16", "data.example.org:443"]
            deny = ["10.1.9.0/24"]
            hosts = { "Data.Example.org" = "10.1.0.7" }
            ca_file = "/etc/anabranch/ca.pem"
            body_bytes_max = 1
            unpacked_ratio_max = 10
            request_body_bytes_max = 2
            connect_ms_max = 3
            idle_ms_max = 4
            total_ms_max = 5
            redirects_max = 0
            "#,
        )
        .unwrap();
        assert_eq!(policy.allow.len(), 3);
        assert_eq!(policy.hosts.get("data.example.org"), Some(&"10.1.0.7".parse().unwrap()));
        assert_eq!(toml::from_str::<Policy>("").unwrap(), Policy::default());
    }

    #[test]
    fn faults_are_named() {
        for (table, expected) in [
            ("allowed = []", "unknown field `allowed`"),
            ("allow = ['10.1.2.3/16']", "rule '10.1.2.3/16': has address bits beyond"),
            ("schemes = ['ftp']", "unknown variant `ftp`"),
            ("hosts = { '10.0.0.1' = '10.0.0.2' }", "host '10.0.0.1': is an address"),
            ("idle_ms_max = 0", "at least 1 millisecond"),
        ] {
            let error = toml::from_str::<Policy>(table).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
