//! One entry of an allow or deny list.
//!
//! ```text
//! rule   = target [ ":" port ]
//! target = host | "*." host | address | network     an IPv6 address or network before a port stands in [ ]
//! ```
//!
//! `*.example.org` means every name below `example.org`, not `example.org` itself. Without a port a rule
//! holds for all ports.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::Deserialize;
use thiserror::Error;

use crate::address::AddressClass;

/// One entry of [`Policy::allow`](crate::Policy::allow) or [`Policy::deny`](crate::Policy::deny), for example
/// `data.example.org:443`, `*.example.org`, `10.1.0.0/16`, `127.0.0.1:8099`, `[fd00::/8]:8080`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Rule {
    target: Target,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Host(String),
    /// With the leading dot, so that `evilexample.org` doesn't end with it.
    Suffix(String),
    Net(IpNet),
}

/// Why an entry is not a rule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("rule '{entry}': {reason}")]
pub struct RuleError {
    /// The entry as written.
    pub entry: String,
    /// The rule of the syntax that it breaks.
    pub reason: &'static str,
}

impl Rule {
    /// True where the rule speaks of `host` (lower case, no trailing dot) at `port`.
    pub(crate) fn names(&self, host: &str, port: u16) -> bool {
        let same = match &self.target {
            Target::Host(name) => name == host,
            Target::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
            Target::Net(_) => false,
        };
        same && self.port.is_none_or(|p| p == port)
    }

    /// True where the rule speaks of the address `ip` at `port`.
    pub(crate) fn covers(&self, ip: IpAddr, port: u16) -> bool {
        matches!(&self.target, Target::Net(net) if net.contains(&ip)) && self.port.is_none_or(|p| p == port)
    }

    /// True where the rule, in an allow list, opens an address of this class.
    ///
    /// A metadata service opens only by its very address: `0.0.0.0/0` is written in haste, and would hand out
    /// the machine's cloud credentials.
    pub(crate) fn opens(&self, host: Option<&str>, ip: IpAddr, port: u16, class: AddressClass) -> bool {
        if self.covers(ip, port) {
            return class != AddressClass::Metadata || self.is_single_address();
        }
        class.may_open_by_name() && host.is_some_and(|host| self.names(host, port))
    }

    fn is_single_address(&self) -> bool {
        matches!(&self.target, Target::Net(net) if net.prefix_len() == net.max_prefix_len())
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(entry: &str) -> Result<Self, RuleError> {
        parse(entry.trim()).map_err(|reason| RuleError { entry: entry.to_owned(), reason })
    }
}

impl TryFrom<String> for Rule {
    type Error = RuleError;

    fn try_from(entry: String) -> Result<Self, RuleError> {
        entry.parse()
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.target, self.port) {
            (Target::Net(net @ IpNet::V6(_)), Some(port)) => return write!(f, "[{net}]:{port}"),
            (Target::Host(name), _) => f.write_str(name)?,
            (Target::Suffix(suffix), _) => write!(f, "*{suffix}")?,
            (Target::Net(net), _) => write!(f, "{net}")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

fn parse(entry: &str) -> Result<Rule, &'static str> {
    if entry.is_empty() {
        return Err("is empty; write a host, an address or a network");
    }
    if entry.contains("://") {
        return Err("carries a scheme; write only host and port, such as data.example.org:443");
    }
    let (target, port) = split_port(entry)?;
    Ok(Rule { target: parse_target(target)?, port: port.map(parse_port).transpose()? })
}

fn split_port(entry: &str) -> Result<(&str, Option<&str>), &'static str> {
    if let Some(rest) = entry.strip_prefix('[') {
        let (target, rest) = rest.split_once(']').ok_or("opens '[' and never closes it")?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((target, Some(port))),
            None if rest.is_empty() => Ok((target, None)),
            None => Err("has text after ']' that is no port; a prefix length stands inside: [fd00::/8]:443"),
        };
    }
    match entry.split_once(':') {
        // More than one colon: an IPv6 address without a port.
        Some((_, rest)) if rest.contains(':') => Ok((entry, None)),
        Some((target, port)) => Ok((target, Some(port))),
        None => Ok((entry, None)),
    }
}

fn parse_port(text: &str) -> Result<u16, &'static str> {
    match text.parse() {
        Ok(port) if port > 0 && !text.starts_with('+') => Ok(port),
        _ => Err(
            "has a port that is not a number from 1 to 65535; a network's prefix length stands before the port: 10.0.0.0/8:443",
        ),
    }
}

fn parse_target(text: &str) -> Result<Target, &'static str> {
    if text.contains('/') {
        return parse_network(text);
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(Target::Net(IpNet::from(ip)));
    }
    match text.strip_prefix("*.") {
        Some(parent) => Ok(Target::Suffix(format!(".{}", parse_host(parent)?))),
        None => Ok(Target::Host(parse_host(text)?)),
    }
}

fn parse_network(text: &str) -> Result<Target, &'static str> {
    let net: IpNet = text.parse().map_err(|_| "is not a network in CIDR form, such as 10.1.0.0/16")?;
    if net != net.trunc() {
        return Err("has address bits beyond its prefix length; write the network's first address");
    }
    Ok(Target::Net(net))
}

/// A host name in the form in which [`url::Url`] shows it: lower case, punycode, without the trailing dot.
pub(crate) fn parse_host(text: &str) -> Result<String, &'static str> {
    if text.contains('*') {
        return Err(
            "may carry '*' only as its first label, such as *.example.org; every address is 0.0.0.0/0 and ::/0",
        );
    }
    match url::Host::parse(text) {
        Ok(url::Host::Domain(name)) if !name.trim_end_matches('.').is_empty() => {
            Ok(without_dot(&name).to_owned())
        }
        Ok(url::Host::Ipv4(_) | url::Host::Ipv6(_)) => {
            Err("is an address in an unusual form; write it plainly, such as 127.0.0.1")
        }
        Ok(url::Host::Domain(_)) | Err(_) => Err("is neither a host name, an address nor a network"),
    }
}

/// `example.org.` and `example.org` are the same name.
pub(crate) fn without_dot(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        text.parse().unwrap()
    }

    #[test]
    fn every_form_reads_and_shows() {
        for (text, shown) in [
            ("127.0.0.1:8099", "127.0.0.1/32:8099"),
            ("10.1.0.0/16", "10.1.0.0/16"),
            ("10.1.0.0/16:443", "10.1.0.0/16:443"),
            ("Data.Example.org:443", "data.example.org:443"),
            ("example.org.", "example.org"),
            ("*.example.org", "*.example.org"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("::1", "::1/128"),
            ("[::1]", "::1/128"),
            ("[::1]:8080", "[::1/128]:8080"),
            ("[fd00::/8]:443", "[fd00::/8]:443"),
            ("fd00::/8", "fd00::/8"),
            (" localhost ", "localhost"),
        ] {
            assert_eq!(rule(text).to_string(), shown, "{text}");
            assert_eq!(rule(shown), rule(text), "{text}");
        }
    }

    #[test]
    fn faults_name_the_entry_and_the_rule() {
        for (text, reason) in [
            ("", "is empty"),
            ("https://example.org", "carries a scheme"),
            ("example.org:0", "not a number from 1 to 65535"),
            ("example.org:+80", "not a number from 1 to 65535"),
            ("example.org:65536", "not a number from 1 to 65535"),
            ("10.0.0.0:443/8", "not a number from 1 to 65535"),
            ("10.0.0.0/33", "not a network"),
            ("10.1.2.3/16", "bits beyond its prefix"),
            ("[::1", "never closes"),
            ("[fd00::]/8", "after ']'"),
            ("*", "first label"),
            ("data.*.org", "first label"),
            ("0x7f.1", "unusual form"),
            ("exa mple.org", "neither a host name"),
            ("example.org/path", "not a network"),
        ] {
            let error = text.parse::<Rule>().unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(&format!("'{text}'")), "{error}");
        }
    }

    #[test]
    fn hosts_match_whole_labels_and_ports() {
        assert!(rule("example.org").names("example.org", 80));
        assert!(!rule("example.org").names("www.example.org", 80));
        assert!(rule("*.example.org").names("a.b.example.org", 80));
        assert!(!rule("*.example.org").names("example.org", 80));
        assert!(!rule("*.example.org").names("evilexample.org", 80));
        assert!(!rule("example.org:443").names("example.org", 80));
    }

    #[test]
    fn metadata_opens_only_by_its_very_address() {
        let ip: IpAddr = "169.254.169.254".parse().unwrap();
        let opens = |text| rule(text).opens(Some("meta.example.org"), ip, 80, AddressClass::of(ip));
        assert!(!opens("0.0.0.0/0") && !opens("169.254.0.0/16") && !opens("meta.example.org"));
        assert!(opens("169.254.169.254"));
    }
}
