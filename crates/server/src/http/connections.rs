//! Places for clients: how many connections there are, and how many one address may have.

use super::listen::Peer;
use super::metrics::counter;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use ipnet::IpNet;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where proxies say whom they ask for (the common form; RFC 7239's `Forwarded` is spoken by few).
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What a client beyond its places is told, seconds.
const RETRY_AFTER_S: u32 = 5;

/// Whose connections are counted, and how many there may be.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// Most connections of one address, or of one IPv6 network of 64 bits, which is what one host gets.
    pub(crate) per_address_max: usize,
    /// Not counted.
    pub(crate) exempt: Vec<IpNet>,
    /// Not counted either: of what they pass on, requests under way are counted, by the address they name.
    pub(crate) proxies: Vec<IpNet>,
}

impl Rules {
    /// Nobody is counted.
    pub(crate) fn none() -> Self {
        Self { per_address_max: usize::MAX, exempt: Vec::new(), proxies: Vec::new() }
    }
}

/// The connections there are.
pub(crate) struct Connections {
    rules: Rules,
    counted: Mutex<HashMap<IpAddr, usize>>,
    open: AtomicU64,
    refused: AtomicU64,
}

/// A place that is given back when dropped.
pub(crate) struct Place {
    connections: Arc<Connections>,
    counted: Option<IpAddr>,
    is_connection: bool,
}

impl Connections {
    pub(crate) fn new(rules: Rules) -> Arc<Self> {
        Arc::new(Self {
            rules,
            counted: Mutex::default(),
            open: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    fn counted(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection; `None` where its address has all it may have.
    pub(crate) fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let free =
            self.rules.exempt.iter().chain(&self.rules.proxies).any(|net| net.contains(&peer.to_canonical()));
        let counted = if free { None } else { Some(self.take(peer)?) };
        self.open.fetch_add(1, Ordering::Relaxed);
        Some(Place { connections: Arc::clone(self), counted, is_connection: true })
    }

    /// A place for a request that a proxy passes on; `Ok(None)` where it needs none.
    fn admit_passed_on(
        self: &Arc<Self>,
        peer: IpAddr,
        headers: &HeaderMap,
    ) -> Result<Option<Place>, Refused> {
        let Some(client) = self.client_behind(peer, headers) else { return Ok(None) };
        let counted = Some(self.take(client).ok_or(Refused)?);
        Ok(Some(Place { connections: Arc::clone(self), counted, is_connection: false }))
    }

    /// Where a request comes from: the peer, or the client that a trusted proxy passes it on for.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        self.client_behind(peer, headers).unwrap_or(peer)
    }

    /// The address that a trusted proxy names: the last one that is no trusted proxy itself, as those before it are the client's word.
    fn client_behind(&self, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
        let is_proxy = |address: &IpAddr| self.rules.proxies.iter().any(|net| net.contains(address));
        if !is_proxy(&peer.to_canonical()) {
            return None;
        }
        let named = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let addresses: Vec<&str> = named.flat_map(|value| value.split(',')).map(str::trim).collect();
        let parsed = addresses.iter().rev().map_while(|text| text.parse::<IpAddr>().ok());
        parsed.map(|address| address.to_canonical()).find(|address| !is_proxy(address))
    }

    fn take(&self, address: IpAddr) -> Option<IpAddr> {
        let address = host(address);
        let mut counted = self.counted();
        let count = counted.entry(address).or_default();
        if *count >= self.rules.per_address_max {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        *count += 1;
        Some(address)
    }

    fn give_back(&self, address: IpAddr) {
        let mut counted = self.counted();
        if let Some(count) = counted.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                counted.remove(&address);
            }
        }
    }

    /// How many are open.
    pub(crate) fn open(&self) -> usize {
        usize::try_from(self.open.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        let open = i64::try_from(self.open.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        registry.register("http_connections", "Connections open", ConstGauge::new(open));
        let help =
            "Connections, and requests behind proxies, refused because their address had all it may have";
        let refused = counter(self.refused.load(Ordering::Relaxed));
        registry.register("http_connections_refused", help, refused);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_connection {
            self.connections.open.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(address) = self.counted {
            self.connections.give_back(address);
        }
    }
}

/// An address has all it may have.
struct Refused;

/// Whom an address belongs to: IPv6 hosts get networks of 64 bits.
fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

/// Layer of the router: requests that trusted proxies pass on are counted by the address they name, until they are answered.
pub(crate) async fn count_passed_on(
    State(connections): State<Arc<Connections>>,
    request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<Peer>().map(|peer| peer.address);
    let place = peer.map_or(Ok(None), |peer| connections.admit_passed_on(peer, request.headers()));
    match place {
        Ok(_held) => next.run(request).await,
        Err(Refused) => {
            let wait = [(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S))];
            (StatusCode::TOO_MANY_REQUESTS, wait, "too many requests of this address at once\n")
                .into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(exempt: &[&str], proxies: &[&str]) -> Arc<Connections> {
        let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Connections::new(Rules { per_address_max: 2, exempt: nets(exempt), proxies: nets(proxies) })
    }

    #[test]
    fn one_address_gets_its_places_and_the_others_theirs() {
        let all = connections(&["127.0.0.0/8"], &[]);
        let admit = |text: &str| all.admit(text.parse().unwrap());
        let (first, second) = (admit("192.0.2.1").unwrap(), admit("::ffff:192.0.2.1").unwrap());
        assert!(admit("192.0.2.1").is_none() && admit("192.0.2.2").is_some());
        let _one_host = (admit("2001:db8::1").unwrap(), admit("2001:db8::2:3").unwrap());
        assert!(admit("2001:db8::ffff").is_none() && admit("2001:db8:0:1::1").is_some());
        let _many: Vec<_> = (0..10).map(|_| admit("127.0.0.1").unwrap()).collect();
        drop(first);
        assert!(admit("192.0.2.1").is_some());
        drop(second);
        assert!(!all.counted().contains_key(&"192.0.2.1".parse::<IpAddr>().unwrap()));
    }

    #[test]
    fn an_address_is_believed_of_trusted_proxies_only() {
        let all = connections(&[], &["10.0.0.0/24"]);
        let behind = |peer: &str, named: &str| {
            let headers = HeaderMap::from_iter([(FORWARDED_FOR, named.parse().unwrap())]);
            all.client_behind(peer.parse().unwrap(), &headers).map(|address| address.to_string())
        };
        assert_eq!(behind("192.0.2.1", "198.51.100.7"), None);
        assert_eq!(behind("10.0.0.1", "1.1.1.1, 198.51.100.7, 10.0.0.2").as_deref(), Some("198.51.100.7"));
        assert_eq!(behind("10.0.0.1", "1.1.1.1, nonsense"), None);
        assert_eq!(behind("10.0.0.1", ""), None);
    }
}
