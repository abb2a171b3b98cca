//! HTTP clients pinned to vetted addresses, and the TLS configuration behind them.
//!
//! A client that resolves by itself would look the name up a second time, after the check. So each client here
//! knows a fixed list of addresses and returns it for any name. A few are kept, so that polling a playlist
//! reuses its connection; the key holds the addresses, so a name that moves gets a new client.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::OnceCell;

use crate::error::Fault;
use crate::policy::Policy;

/// Clients kept for reuse. A job talks to a handful of hosts; each client costs some ten KiB.
const CLIENTS_MAX: usize = 16;

/// How long an unused connection stays open. Longer than a playlist's polling, shorter than servers' own limits.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Unused connections kept per client.
const KEEP_ALIVE_CONNECTIONS_MAX: usize = 4;

/// Largest `ca_file`, bytes: Debian's complete bundle has 220 KiB.
const CA_FILE_BYTES_MAX: u64 = 4 << 20;

/// Builds nothing until the first request: an idle server or agent shall not hold a root store.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    tls: OnceCell<ClientConfig>,
    /// Most recently used last.
    pinned: Mutex<VecDeque<(Key, reqwest::Client)>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Key {
    host: String,
    /// Sorted: name servers rotate their answers.
    addresses: Vec<SocketAddr>,
}

impl Clients {
    /// A client that connects to `addresses` only, whatever the URL's host.
    pub(crate) async fn pinned_to(
        &self,
        policy: &Policy,
        host: &str,
        addresses: Vec<SocketAddr>,
    ) -> Result<reqwest::Client, Fault> {
        let mut sorted = addresses.clone();
        sorted.sort_unstable();
        let key = Key { host: host.to_owned(), addresses: sorted };
        if let Some(client) = self.take_kept(&key) {
            return Ok(self.keep(key, client));
        }
        let tls = self.tls(policy).await?.clone();
        Ok(self.keep(key, build(policy, tls, addresses)?))
    }

    /// The TLS configuration, built at the first call. A failure is not kept: the file may be there next time.
    pub(crate) async fn tls(&self, policy: &Policy) -> Result<&ClientConfig, Fault> {
        self.tls.get_or_try_init(|| build_tls(policy.ca_file.as_deref())).await
    }

    #[cfg(test)]
    pub(crate) fn is_built(&self) -> bool {
        self.tls.initialized()
    }

    fn take_kept(&self, key: &Key) -> Option<reqwest::Client> {
        let mut pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        let position = pinned.iter().position(|(kept, _)| kept == key)?;
        pinned.remove(position).map(|(_, client)| client)
    }

    fn keep(&self, key: Key, client: reqwest::Client) -> reqwest::Client {
        let mut pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        if pinned.len() >= CLIENTS_MAX {
            pinned.pop_front();
        }
        pinned.push_back((key, client.clone()));
        client
    }
}

fn build(policy: &Policy, tls: ClientConfig, addresses: Vec<SocketAddr>) -> Result<reqwest::Client, Fault> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(Arc::new(Pinned(addresses)))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .no_gzip()
        .no_brotli()
        .no_deflate()
        .no_zstd()
        .retry(reqwest::retry::never())
        .referer(false)
        .http1_only()
        .user_agent(concat!("anabranch/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_millis(policy.connect_ms_max))
        .pool_idle_timeout(KEEP_ALIVE)
        .pool_max_idle_per_host(KEEP_ALIVE_CONNECTIONS_MAX)
        .build()
        .map_err(|error| Fault::Setup(error.to_string()))
}

/// Answers every look-up with the addresses that were vetted.
struct Pinned(Vec<SocketAddr>);

impl Resolve for Pinned {
    fn resolve(&self, _: Name) -> Resolving {
        let addresses: Addrs = Box::new(self.0.clone().into_iter());
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

async fn build_tls(ca_file: Option<&Path>) -> Result<ClientConfig, Fault> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = ca_file {
        add_authorities(&mut roots, path)
            .await
            .map_err(|reason| Fault::Setup(format!("ca_file '{}': {reason}", path.display())))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Fault::Setup(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

async fn add_authorities(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let bytes_max_passed =
        tokio::fs::metadata(path).await.map_err(|e| e.to_string())?.len() > CA_FILE_BYTES_MAX;
    if bytes_max_passed {
        return Err(format!("larger than {CA_FILE_BYTES_MAX} bytes"));
    }
    let pem = tokio::fs::read(path).await.map_err(|e| e.to_string())?;
    let mut added = 0;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|e| format!("not PEM: {e}"))?;
        roots.add(certificate).map_err(|e| format!("certificate {}: {e}", added + 1))?;
        added += 1;
    }
    if added == 0 { Err("holds no certificate".to_owned()) } else { Ok(()) }
}
