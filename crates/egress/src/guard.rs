//! The decisions: may this URL, and may this address, be reached? Pure functions over the policy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use url::{Host, Url};

use crate::address::{AddressClass, embedded_v4};
use crate::error::Reason;
use crate::policy::Policy;
use crate::rule::without_dot;

/// Where a URL leads, before any look-up.
pub(crate) enum Destination {
    /// An address that was typed, or that `hosts` gives; already judged.
    Address(SocketAddr),
    /// A name whose answers are still to be judged.
    Name { host: String, port: u16 },
}

impl Policy {
    /// Judges everything that can be judged without a look-up.
    pub(crate) fn check(&self, url: &Url) -> Result<Destination, Reason> {
        if !self.schemes.iter().any(|scheme| scheme.as_str() == url.scheme()) {
            return Err(Reason::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Reason::UserInfo);
        }
        let port = url.port_or_known_default().filter(|port| *port != 0).ok_or(Reason::NoHost)?;
        // `Url` has normalised decimal, octal, hexadecimal and short forms of IPv4 by now.
        match url.host().ok_or(Reason::NoHost)? {
            Host::Ipv4(ip) => self.typed(None, ip.into(), port),
            Host::Ipv6(ip) => self.typed(None, ip.into(), port),
            Host::Domain(name) => self.check_name(without_dot(name), port),
        }
    }

    fn typed(&self, host: Option<&str>, ip: IpAddr, port: u16) -> Result<Destination, Reason> {
        self.judge(host, ip, port)?;
        Ok(Destination::Address(SocketAddr::new(ip, port)))
    }

    fn check_name(&self, host: &str, port: u16) -> Result<Destination, Reason> {
        if self.deny.iter().any(|rule| rule.names(host, port)) {
            return Err(Reason::Denied);
        }
        if let Some(ip) = self.hosts.get(host) {
            return self.typed(Some(host), *ip, port);
        }
        if is_localhost(host) {
            // RFC 6761 §6.3: no look-up is needed to know where it leads.
            let v4 = self.judge(Some(host), Ipv4Addr::LOCALHOST.into(), port);
            v4.or_else(|_| self.judge(Some(host), Ipv6Addr::LOCALHOST.into(), port))?;
        }
        Ok(Destination::Name { host: host.to_owned(), port })
    }

    /// Judges an address, typed or resolved. `host` is the name that led to it, where one did.
    pub(crate) fn judge(&self, host: Option<&str>, ip: IpAddr, port: u16) -> Result<(), Reason> {
        let denied = |rule: &crate::Rule| rule.covers(ip, port) || host.is_some_and(|h| rule.names(h, port));
        if self.deny.iter().any(denied) {
            return Err(Reason::Denied);
        }
        let class = AddressClass::of(ip);
        let opened = self.allow.iter().any(|rule| rule.opens(host, ip, port, class));
        match class {
            AddressClass::Public if opened || self.public_allowed => {}
            AddressClass::Public => return Err(Reason::NotListed),
            _ if opened => {}
            _ => return Err(Reason::Address { ip, class }),
        }
        // A network of carriers (NAT64) that was opened must not open what it can carry.
        match ip {
            IpAddr::V6(v6) if class == AddressClass::Embedded => {
                embedded_v4(v6).map_or(Ok(()), |v4| self.judge(host, v4.into(), port))
            }
            _ => Ok(()),
        }
    }
}

fn is_localhost(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(table: &str) -> Policy {
        toml::from_str(table).unwrap()
    }

    fn reason(policy: &Policy, url: &str) -> Option<Reason> {
        policy.check(&Url::parse(url).unwrap()).err()
    }

    #[test]
    fn the_default_refuses_every_spelling_of_an_inner_address() {
        let policy = Policy::default();
        for url in [
            "http://127.0.0.1",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://017700000001/",
            "http://127.1",
            "http://127.0.0.1.",
            "http://①②⑦.0.0.1/",
            "http://%31%32%37.0.0.1/",
            "http://[::1]",
            "http://[::]/",
            "http://0/",
            "http://[::ffff:127.0.0.1]",
            "http://[::ffff:8.8.8.8]",
            "http://[64:ff9b::7f00:1]/",
            "http://[2002:7f00:1::]/",
            "http://localhost",
            "http://LOCALHOST.:8080",
            "http://a.localhost",
            "http://169.254.169.254/latest/meta-data/",
            "http://10.0.0.1/",
            "http://100.64.0.1/",
            "http://192.0.2.1/",
            "http://255.255.255.255/",
            "http://[fe80::1]/",
            "http://[fd00:ec2::254]/",
        ] {
            assert!(matches!(reason(&policy, url), Some(Reason::Address { .. })), "{url}");
        }
        for url in ["http://example.org", "https://1.1.1.1:8443/x?y", "http://[2606:4700::1111]/"] {
            assert_eq!(reason(&policy, url), None, "{url}");
        }
    }

    #[test]
    fn schemes_and_user_names_are_refused() {
        let policy = Policy::default();
        for url in
            ["file:///etc/passwd", "ftp://example.org/", "gopher://example.org/", "data:,x", "jar:file:///x"]
        {
            assert!(matches!(reason(&policy, url), Some(Reason::Scheme(_))), "{url}");
        }
        assert_eq!(reason(&policy, "http://user:pw@example.org"), Some(Reason::UserInfo));
        assert_eq!(reason(&policy, "http://user@example.org"), Some(Reason::UserInfo));
        assert_eq!(reason(&policy, "http://example.org:0"), Some(Reason::NoHost));
        let strict = self::policy("schemes = ['https']");
        assert_eq!(reason(&strict, "http://example.org"), Some(Reason::Scheme("http".to_owned())));
    }

    #[test]
    fn allow_rules_open_by_network_port_and_name() {
        let policy =
            policy("allow = ['127.0.0.1:8099', '10.1.0.0/16', 'intra.example.org:443', '*.lab.example.org']");
        let open = |host: Option<&str>, ip: &str, port| policy.judge(host, ip.parse().unwrap(), port).is_ok();
        assert!(
            open(None, "127.0.0.1", 8099) && !open(None, "127.0.0.1", 8098) && !open(None, "127.0.0.2", 8099)
        );
        assert!(open(None, "10.1.255.1", 1) && !open(None, "10.2.0.1", 1));
        assert!(
            open(Some("intra.example.org"), "192.168.0.1", 443)
                && !open(Some("intra.example.org"), "192.168.0.1", 80)
        );
        assert!(
            open(Some("a.lab.example.org"), "127.0.0.1", 1)
                && !open(Some("a.lab.example.org"), "169.254.1.1", 1)
        );
        assert!(!open(None, "::ffff:127.0.0.1", 8099));
        assert_eq!(reason(&policy, "http://localhost:8099/"), None);
        assert!(reason(&policy, "http://localhost:8098/").is_some());
    }

    #[test]
    fn deny_wins_and_public_addresses_can_be_closed() {
        let policy = policy(
            "public_allowed = false\nallow = ['10.0.0.0/8', '*.example.org', '1.1.1.1']\ndeny = ['10.9.0.0/16', 'own.example.org']",
        );
        let judge = |host: Option<&str>, ip: &str| policy.judge(host, ip.parse().unwrap(), 443);
        assert_eq!(judge(None, "10.9.0.1"), Err(Reason::Denied));
        assert_eq!(judge(Some("own.example.org"), "10.1.0.1"), Err(Reason::Denied));
        assert_eq!(reason(&policy, "https://own.example.org./"), Some(Reason::Denied));
        assert_eq!(judge(None, "8.8.8.8"), Err(Reason::NotListed));
        assert_eq!(judge(Some("evil.test"), "8.8.8.8"), Err(Reason::NotListed));
        assert_eq!(judge(Some("data.example.org"), "8.8.8.8"), Ok(()));
        assert_eq!(judge(None, "1.1.1.1"), Ok(()));
    }

    #[test]
    fn an_opened_nat64_network_opens_nothing_inside() {
        let policy = policy("allow = ['64:ff9b::/96']\ndeny = ['9.9.9.9']");
        let judge = |ip: &str| policy.judge(None, ip.parse().unwrap(), 80);
        assert_eq!(judge("64:ff9b::808:808"), Ok(()));
        assert!(judge("64:ff9b::7f00:1").is_err() && judge("64:ff9b::a9fe:a9fe").is_err());
        assert_eq!(judge("64:ff9b::909:909"), Err(Reason::Denied));
    }

    #[test]
    fn overrides_are_judged_too() {
        let policy = policy("hosts = { 'a.example.org' = '10.0.0.1', 'b.example.org' = '8.8.8.8' }");
        assert!(matches!(reason(&policy, "http://A.example.org./"), Some(Reason::Address { .. })));
        assert_eq!(reason(&policy, "http://b.example.org/"), None);
    }
}
