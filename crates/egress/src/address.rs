//! Classes of IP addresses, after the IANA special-purpose registries (RFC 6890 and its updates).
//!
//! `std` has no stable equivalent, and its `is_*` functions leave out the addresses that matter here:
//! metadata services and IPv6 forms that carry an IPv4 address inside.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// What kind of place an address is. Only [`AddressClass::Public`] is reachable without an allow rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressClass {
    /// Globally reachable unicast.
    Public,
    /// "This host": `0.0.0.0/8`, `::`. Connecting to it reaches loopback on Linux.
    Unspecified,
    /// This machine.
    Loopback,
    /// Private networks: RFC 1918, unique local IPv6, and the old site-local IPv6.
    Private,
    /// Carrier-grade NAT, `100.64.0.0/10`.
    Shared,
    /// One link only: `169.254.0.0/16`, `fe80::/10`.
    LinkLocal,
    /// A cloud's metadata or host service, which hands out credentials.
    Metadata,
    /// Multicast and broadcast.
    Multicast,
    /// Documentation and benchmark networks: no one is there.
    Documentation,
    /// An IPv6 form that carries an IPv4 address: mapped, compatible, translated, 6to4, Teredo, NAT64, ISATAP.
    Embedded,
    /// Everything else that is not global unicast.
    Reserved,
}

impl AddressClass {
    /// The class of `ip`. An IPv4-mapped IPv6 address is [`AddressClass::Embedded`], whatever it carries.
    pub fn of(ip: IpAddr) -> Self {
        if METADATA.contains(&ip) {
            return Self::Metadata;
        }
        match ip {
            IpAddr::V4(v4) => first_match(V4, |net: &Ipv4Net| net.contains(&v4)).unwrap_or(Self::Public),
            IpAddr::V6(v6) if is_isatap(v6) => Self::Embedded,
            // Only 2000::/3 is allocated as global unicast; the rest is reserved unless the table knows it.
            IpAddr::V6(v6) => first_match(V6, |net: &Ipv6Net| net.contains(&v6))
                .unwrap_or_else(|| if v6.segments()[0] >> 13 == 1 { Self::Public } else { Self::Reserved }),
        }
    }

    /// True where a rule that names a host, not an address, may open this class.
    ///
    /// Whoever runs the name's DNS zone chooses its addresses; a rule by name trusts that zone with the site's
    /// own networks, but never with link-local and metadata addresses or with forms nobody publishes.
    pub(crate) fn may_open_by_name(self) -> bool {
        match self {
            Self::Public | Self::Loopback | Self::Private | Self::Shared => true,
            Self::Unspecified
            | Self::LinkLocal
            | Self::Metadata
            | Self::Multicast
            | Self::Documentation
            | Self::Embedded
            | Self::Reserved => false,
        }
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Unspecified => "unspecified",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::Shared => "shared (carrier-grade NAT)",
            Self::LinkLocal => "link-local",
            Self::Metadata => "metadata service",
            Self::Multicast => "multicast",
            Self::Documentation => "documentation or benchmark",
            Self::Embedded => "IPv4 inside IPv6",
            Self::Reserved => "reserved",
        })
    }
}

/// The IPv4 address carried by `v6`, where its position is fixed by a standard and it can be judged by itself.
pub(crate) fn embedded_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = v6.segments();
    let from = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match s {
        // RFC 4291 §2.5.5: compatible and mapped; RFC 2765: translated; RFC 6052: NAT64.
        [0, 0, 0, 0, 0, 0, high, low] | [0, 0, 0, 0, 0, 0xffff, high, low] => Some(from(high, low)),
        [0, 0, 0, 0, 0xffff, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(from(high, low)),
        [0x2002, high, low, ..] => Some(from(high, low)), // RFC 3056: 6to4
        [.., high, low] if is_isatap(v6) => Some(from(high, low)),
        _ => None,
    }
}

/// RFC 5214 §6.1: interface identifier `[02]00:5efe` before the IPv4 address, under any prefix.
fn is_isatap(v6: Ipv6Addr) -> bool {
    let s = v6.segments();
    matches!(s[4], 0 | 0x200) && s[5] == 0x5efe
}

fn first_match<N>(table: &[(N, AddressClass)], contains: impl Fn(&N) -> bool) -> Option<AddressClass> {
    table.iter().find(|(net, _)| contains(net)).map(|(_, class)| *class)
}

/// Addresses that hand out credentials to whoever asks from the right machine.
const METADATA: &[IpAddr] = &[
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), // AWS, GCP, Azure, OpenStack and most others
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),   // AWS ECS task credentials
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),  // AWS EKS pod identity
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)), // Alibaba Cloud
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),   // Azure host agent, a public-looking address
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),     // Oracle Cloud (classic)
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)), // AWS
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)), // AWS EKS pod identity
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)), // GCP
];

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(head: [u16; 4], tail: [u16; 4], prefix: u8) -> Ipv6Net {
    let [a, b, c, d] = head;
    let [e, f, g, h] = tail;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

/// First match wins.
const V4: &[(Ipv4Net, AddressClass)] = &[
    (v4(0, 0, 0, 0, 8), AddressClass::Unspecified),
    (v4(10, 0, 0, 0, 8), AddressClass::Private),
    (v4(100, 64, 0, 0, 10), AddressClass::Shared),
    (v4(127, 0, 0, 0, 8), AddressClass::Loopback),
    (v4(169, 254, 0, 0, 16), AddressClass::LinkLocal),
    (v4(172, 16, 0, 0, 12), AddressClass::Private),
    (v4(192, 0, 0, 0, 24), AddressClass::Reserved),
    (v4(192, 0, 2, 0, 24), AddressClass::Documentation),
    (v4(192, 88, 99, 0, 24), AddressClass::Reserved), // 6to4 relays, RFC 7526
    (v4(192, 168, 0, 0, 16), AddressClass::Private),
    (v4(198, 18, 0, 0, 15), AddressClass::Documentation),
    (v4(198, 51, 100, 0, 24), AddressClass::Documentation),
    (v4(203, 0, 113, 0, 24), AddressClass::Documentation),
    (v4(224, 0, 0, 0, 4), AddressClass::Multicast),
    (v4(255, 255, 255, 255, 32), AddressClass::Multicast),
    (v4(240, 0, 0, 0, 4), AddressClass::Reserved),
];

/// First match wins: `::` and `::1` stand before the compatible form that contains them.
const V6: &[(Ipv6Net, AddressClass)] = &[
    (v6([0; 4], [0; 4], 128), AddressClass::Unspecified),
    (v6([0; 4], [0, 0, 0, 1], 128), AddressClass::Loopback),
    (v6([0; 4], [0; 4], 96), AddressClass::Embedded), // compatible
    (v6([0; 4], [0, 0xffff, 0, 0], 96), AddressClass::Embedded), // mapped
    (v6([0; 4], [0xffff, 0, 0, 0], 96), AddressClass::Embedded), // translated
    (v6([0x64, 0xff9b, 0, 0], [0; 4], 96), AddressClass::Embedded), // NAT64
    (v6([0x64, 0xff9b, 1, 0], [0; 4], 48), AddressClass::Embedded), // NAT64, local
    (v6([0x2002, 0, 0, 0], [0; 4], 16), AddressClass::Embedded), // 6to4
    (v6([0x2001, 0, 0, 0], [0; 4], 32), AddressClass::Embedded), // Teredo
    (v6([0x2001, 0xdb8, 0, 0], [0; 4], 32), AddressClass::Documentation),
    (v6([0x3fff, 0, 0, 0], [0; 4], 20), AddressClass::Documentation),
    (v6([0x2001, 2, 0, 0], [0; 4], 48), AddressClass::Documentation), // benchmarks
    (v6([0x2001, 0, 0, 0], [0; 4], 23), AddressClass::Reserved),      // IETF protocol assignments
    (v6([0xfc00, 0, 0, 0], [0; 4], 7), AddressClass::Private),
    (v6([0xfe80, 0, 0, 0], [0; 4], 10), AddressClass::LinkLocal),
    (v6([0xfec0, 0, 0, 0], [0; 4], 10), AddressClass::Private), // site-local, RFC 3879
    (v6([0xff00, 0, 0, 0], [0; 4], 8), AddressClass::Multicast),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(class: AddressClass, addresses: &[&str]) {
        for text in addresses {
            assert_eq!(AddressClass::of(text.parse().unwrap()), class, "{text}");
        }
    }

    #[test]
    fn each_class_by_its_first_last_and_neighbouring_addresses() {
        use AddressClass::*;
        check(Public, &["1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0"]);
        check(Public, &["126.255.255.255", "128.0.0.0", "172.15.255.255", "172.32.0.0", "223.255.255.255"]);
        check(Public, &["2606:4700::1111", "2000::", "3ffe::1", "2001:200::1", "2003::1"]);
        check(Unspecified, &["0.0.0.0", "0.255.255.255", "::"]);
        check(Loopback, &["127.0.0.0", "127.0.0.1", "127.255.255.255", "::1"]);
        check(Private, &["10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.1"]);
        check(Private, &["fc00::", "fdff:ffff::1", "fec0::1", "feff::1"]);
        check(Shared, &["100.64.0.0", "100.127.255.255"]);
        check(LinkLocal, &["169.254.0.0", "169.254.255.255", "fe80::1", "febf::1"]);
        check(Metadata, &["169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16"]);
        check(Metadata, &["192.0.0.192", "fd00:ec2::254", "fd20:ce::254"]);
        check(Multicast, &["224.0.0.1", "239.255.255.255", "255.255.255.255", "ff02::1"]);
        check(Documentation, &["192.0.2.1", "198.51.100.7", "203.0.113.9", "198.18.0.1", "198.19.255.255"]);
        check(Documentation, &["2001:db8::1", "3fff::1", "2001:2::1"]);
        check(Embedded, &["::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "::2", "::ffff:0:7f00:1"]);
        check(Embedded, &["64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2002:7f00:1::", "2001:0:1::1"]);
        check(Embedded, &["2606:4700::5efe:7f00:1", "2606:4700::200:5efe:a00:1"]);
        check(Reserved, &["192.0.0.1", "192.88.99.1", "240.0.0.1", "255.255.255.254", "2001:100::1"]);
        check(Reserved, &["100::1", "5f00::1", "4000::1", "1::1", "fe00::1"]);
    }

    #[test]
    fn no_ipv6_form_of_an_ipv4_address_is_public_and_all_show_what_they_carry() {
        // 65,537 addresses over the whole space, a stride that is prime to every prefix length.
        for n in (0..=u32::MAX).step_by(65_537) {
            let carried = Ipv4Addr::from(n);
            let [high, low] = [(n >> 16) as u16, n as u16];
            for form in [
                carried.to_ipv6_mapped(),
                carried.to_ipv6_compatible(),
                Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x2606, 0, 0, 0, 0x200, 0x5efe, high, low),
            ] {
                assert_ne!(AddressClass::of(form.into()), AddressClass::Public, "{form}");
                assert_eq!(embedded_v4(form), Some(carried), "{form}");
            }
        }
    }

    #[test]
    fn nothing_that_std_calls_special_is_public() {
        for n in (0..=u32::MAX).step_by(65_521) {
            let ip = Ipv4Addr::from(n);
            let special = ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_broadcast()
                || ip.is_documentation()
                || ip.is_unspecified();
            assert!(!(special && AddressClass::of(ip.into()) == AddressClass::Public), "{ip}");
        }
    }
}
