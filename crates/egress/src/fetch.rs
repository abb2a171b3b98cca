//! One fetch: check, resolve, connect to what passed, follow redirects through the same gate.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RANGE,
};
use tokio::net::lookup_host;
use tokio::time::timeout;
use url::Url;

use crate::address::AddressClass;
use crate::client::Clients;
use crate::clock::Clock;
use crate::error::{EgressError, Fault, Reason, Refused, Wait};
use crate::guard::Destination;
use crate::headers;
use crate::policy::Policy;
use crate::reference::{URL_BYTES_MAX, shown};
use crate::refusals::Refusals;
use crate::request::{Body, Method, Request};
use crate::response::{Caps, Response};

/// Most addresses of one name that are tried. Large services publish eight.
const ADDRESSES_MAX: usize = 16;

/// The way out. Cheap to clone; clones share connections. Nothing is built until the first request.
#[derive(Debug, Clone)]
pub struct Egress {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Replaced whole: a fetch under way goes on under the policy it began with.
    way: RwLock<Arc<Way>>,
    refusals: Refusals,
}

/// A policy, and the clients built under it.
#[derive(Debug)]
struct Way {
    policy: Policy,
    clients: Clients,
}

impl Way {
    fn new(policy: Policy) -> RwLock<Arc<Self>> {
        RwLock::new(Arc::new(Self { policy, clients: Clients::default() }))
    }
}

impl Egress {
    /// The way out under `policy`.
    pub fn new(policy: Policy) -> Self {
        Self { shared: Arc::new(Shared { way: Way::new(policy), refusals: Refusals::default() }) }
    }

    /// Puts another policy in force, for all clones: certificates are read anew, kept connections are left.
    pub fn replace_policy(&self, policy: Policy) {
        let new = Arc::new(Way { policy, clients: Clients::default() });
        *self.shared.way.write().unwrap_or_else(PoisonError::into_inner) = new;
    }

    /// References refused by the policy since the start, by reason: a name without spaces, and how many.
    pub fn refusals(&self) -> Vec<(&'static str, u64)> {
        self.shared.refusals.read()
    }

    fn way(&self) -> Arc<Way> {
        Arc::clone(&self.shared.way.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Judges what was typed, without a look-up: scheme, user name, host, port, addresses in any spelling.
    /// For an early answer; [`Egress::fetch`] judges again, and every resolved address too.
    ///
    /// # Errors
    ///
    /// The reason, with a text for the client and one for the log.
    pub fn check(&self, url: &Url) -> Result<(), Refused> {
        match self.way().policy.check(url) {
            Ok(_) => Ok(()),
            Err(reason) => {
                self.shared.refusals.count(&reason);
                Err(Refused { reference: shown(url), reason })
            }
        }
    }

    /// Builds the TLS configuration now, to report an unusable `ca_file` at start or in a configuration check.
    ///
    /// # Errors
    ///
    /// [`Fault::Setup`], as text.
    pub async fn check_tls(&self) -> Result<(), Fault> {
        let way = self.way();
        way.clients.tls(&way.policy).await.map(|_| ())
    }

    /// Sends the request, follows redirects, and returns a response of success (2xx), or 304 to a conditional
    /// request, whose body is still to be read. Dropping the future or the response ends the exchange.
    ///
    /// # Errors
    ///
    /// Any [`Fault`]; [`Fault::Status`] for other statuses.
    pub async fn fetch(&self, request: Request) -> Result<Response, EgressError> {
        self.fetch_any_status(request).await?.require_success()
    }

    /// Like [`Egress::fetch`], for callers that read the body of an error answer, such as an exception report.
    ///
    /// # Errors
    ///
    /// Any [`Fault`] but [`Fault::Status`].
    pub async fn fetch_any_status(&self, request: Request) -> Result<Response, EgressError> {
        let reference = shown(&request.url);
        let mut inside = false;
        match self.exchange(request, &reference, &mut inside).await {
            Ok(response) => Ok(response),
            Err(fault) => {
                if let Fault::Refused { reason, .. } | Fault::NoAddress(reason) = &fault {
                    self.shared.refusals.count(reason);
                }
                Err(EgressError { reference, fault, inside })
            }
        }
    }

    /// `inside` says whether the last address asked was one that only an allow rule opened.
    async fn exchange(
        &self,
        request: Request,
        reference: &str,
        inside: &mut bool,
    ) -> Result<Response, Fault> {
        let way = self.way();
        let policy = &way.policy;
        let total_ms_max = request.total_ms_max.map_or(policy.total_ms_max, |ms| ms.min(policy.total_ms_max));
        let body_bytes_max =
            request.body_bytes_max.map_or(policy.body_bytes_max, |bytes| bytes.min(policy.body_bytes_max));
        let redirects_max =
            request.redirects_max.map_or(policy.redirects_max, |n| n.min(policy.redirects_max));
        let clock = Clock::start(policy.idle_ms_max, total_ms_max);
        let mut hop = Hop::first(request)?;
        for redirects in 0..=redirects_max {
            let answer = match way.send(&hop, &clock, inside).await {
                Err(Fault::Refused { reason, .. }) => return Err(Fault::Refused { reason, redirects }),
                other => other?,
            };
            let Some(target) = redirect_target(&answer, &hop.url)? else {
                return Response::open(
                    answer,
                    hop.method,
                    hop.url,
                    reference,
                    clock,
                    Caps::of(policy, body_bytes_max),
                );
            };
            hop.follow(answer.status().as_u16(), target);
        }
        Err(Fault::Redirects { max: redirects_max })
    }
}

impl Way {
    async fn send(&self, hop: &Hop, clock: &Clock, inside: &mut bool) -> Result<reqwest::Response, Fault> {
        let policy = &self.policy;
        let addresses = self.vet(&hop.url, clock).await?;
        *inside = addresses.iter().any(|address| AddressClass::of(address.ip()) != AddressClass::Public);
        let host = hop.url.host_str().unwrap_or_default();
        let client = self.clients.pinned_to(policy, host, addresses).await?;
        let mut request = client.request(hop.method.to_http(), hop.url.clone()).headers(hop.headers.clone());
        request = match hop.body.open(policy.request_body_bytes_max, clock).await? {
            Some(body) => request.header(CONTENT_LENGTH, body.bytes).body(body.content),
            // RFC 9110 §8.6: without it, some servers answer 411.
            None if matches!(hop.method, Method::Post | Method::Put) => request.header(CONTENT_LENGTH, 0),
            None => request,
        };
        clock.wait(request.send()).await?.map_err(|e| Fault::from_transport(e, policy.connect_ms_max))
    }

    /// The addresses that may be connected to, in the order of the resolver. Never empty.
    async fn vet(&self, url: &Url, clock: &Clock) -> Result<Vec<SocketAddr>, Fault> {
        let policy = &self.policy;
        let (host, port) = match policy.check(url).map_err(refused)? {
            Destination::Address(address) => return Ok(vec![address]),
            Destination::Name { host, port } => (host, port),
        };
        let answers = look_up(&host, port, policy.connect_ms_max, clock).await?;
        passing(answers, |ip| policy.judge(Some(&host), ip, port))
    }
}

/// The answers that pass. An answer that doesn't is left out rather than failing the whole: nothing connects to
/// it either way, and networks with DNS64 mix their own addresses among the public ones.
fn passing(
    answers: impl IntoIterator<Item = SocketAddr>,
    judge: impl Fn(IpAddr) -> Result<(), Reason>,
) -> Result<Vec<SocketAddr>, Fault> {
    let mut passed = Vec::new();
    let mut first_refusal = None;
    for answer in answers {
        match judge(answer.ip()) {
            Ok(()) => passed.push(answer),
            Err(reason) => first_refusal = first_refusal.or(Some(reason)),
        }
    }
    passed.truncate(ADDRESSES_MAX);
    match first_refusal {
        Some(reason) if passed.is_empty() => Err(Fault::NoAddress(reason)),
        None if passed.is_empty() => Err(Fault::Lookup(std::io::ErrorKind::NotFound.into())),
        _ => Ok(passed),
    }
}

async fn look_up(
    host: &str,
    port: u16,
    connect_ms_max: u64,
    clock: &Clock,
) -> Result<impl Iterator<Item = SocketAddr>, Fault> {
    let looking = timeout(Duration::from_millis(connect_ms_max), lookup_host((host.to_owned(), port)));
    match clock.wait(looking).await? {
        Ok(answers) => answers.map_err(Fault::Lookup),
        Err(_) => Err(Fault::TimedOut { wait: Wait::Connect, ms: connect_ms_max }),
    }
}

fn refused(reason: Reason) -> Fault {
    Fault::Refused { reason, redirects: 0 }
}

/// What is sent next: the request itself, then what its redirects make of it.
struct Hop {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Body,
}

impl Hop {
    fn first(request: Request) -> Result<Self, Fault> {
        let mut headers = headers::checked(&request.headers).map_err(Fault::Header)?;
        headers.insert(ACCEPT_ENCODING, accept_encoding(&headers));
        Ok(Self { method: request.method, url: request.url, headers, body: request.body })
    }

    /// RFC 9110 §15.4: 303, and by custom 301 and 302 to a POST, ask for a GET; 307 and 308 for the same again.
    fn follow(&mut self, status: u16, target: Url) {
        let becomes_get = match status {
            303 => self.method != Method::Head,
            301 | 302 => self.method == Method::Post,
            _ => false,
        };
        if becomes_get {
            self.method = Method::Get;
            self.body = Body::Empty;
            self.headers.remove(CONTENT_TYPE);
        }
        if self.url.origin() != target.origin() {
            headers::strip_for_other_origin(&mut self.headers);
        }
        self.url = target;
        self.headers.insert(ACCEPT_ENCODING, accept_encoding(&self.headers));
    }
}

/// Part of a body that was packed can't be unpacked.
fn accept_encoding(headers: &HeaderMap) -> HeaderValue {
    HeaderValue::from_static(if headers.contains_key(RANGE) { "identity" } else { "gzip" })
}

/// Where the answer redirects to, if it does.
fn redirect_target(answer: &reqwest::Response, url: &Url) -> Result<Option<Url>, Fault> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let location = location.filter(|text| text.len() <= URL_BYTES_MAX).ok_or(Fault::RedirectLocation)?;
    url.join(location).map(Some).map_err(|_| Fault::RedirectLocation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_built_before_something_is_sent() {
        let egress = Egress::new(Policy::default());
        let url = Url::parse("http://127.0.0.1/").unwrap();
        assert!(egress.check(&url).is_err());
        assert!(egress.fetch(Request::get(url)).await.is_err());
        assert!(!egress.way().clients.is_built());
        egress.check_tls().await.unwrap();
        assert!(egress.way().clients.is_built());
    }

    #[tokio::test]
    async fn a_policy_is_replaced_for_all_clones_and_refusals_are_counted() {
        let egress = Egress::new(Policy::default());
        let clone = egress.clone();
        let url = Url::parse("http://127.0.0.1:1/").unwrap();
        assert!(clone.check(&url).is_err());
        egress.replace_policy(Policy { allow: vec!["127.0.0.1:1".parse().unwrap()], ..Policy::default() });
        assert!(clone.check(&url).is_ok());
        egress.replace_policy(Policy::default());
        assert!(clone.fetch(Request::get(url)).await.is_err());
        assert_eq!(egress.refusals().iter().find(|(name, _)| *name == "loopback"), Some(&("loopback", 2)));
    }

    #[test]
    fn only_the_answers_that_pass_are_connected_to() {
        let policy = Policy::default();
        let pass = |answers: &[&str]| {
            let answers: Vec<SocketAddr> = answers.iter().map(|text| text.parse().unwrap()).collect();
            passing(answers, |ip| policy.judge(Some("example.org"), ip, 80))
        };
        let mixed = pass(&["10.0.0.1:80", "8.8.8.8:80", "[::1]:80", "[2606:4700::1111]:80"]).unwrap();
        assert_eq!(mixed, ["8.8.8.8:80".parse().unwrap(), "[2606:4700::1111]:80".parse().unwrap()]);
        assert!(matches!(pass(&["10.0.0.1:80", "169.254.169.254:80"]), Err(Fault::NoAddress(_))));
        assert!(matches!(pass(&[]), Err(Fault::Lookup(_))));
        assert_eq!(pass(&["8.8.8.8:80"; 50]).unwrap().len(), ADDRESSES_MAX);
    }
}
