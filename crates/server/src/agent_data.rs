//! How an agent fetches inputs and uploads outputs: by HTTP, from and to the server that named the URL.

use anabranch_egress::{Egress, EgressError, Policy, Request, parse_url};
use anabranch_model::BoxFuture;
use anabranch_remote::{AgentData, DataError};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use url::Url;

/// Servers an agent talks to at once: one, or a few front ends of one site.
const SERVERS_MAX: usize = 16;
/// Longest transfer of one value, in milliseconds: a day, for gigabytes over a field link.
const TRANSFER_MS_MAX: u64 = 24 * 3_600_000;

/// The data plane of an agent. URLs come from the server whose account the agent checked; that server's address is
/// allowed whatever it is (mostly a private one), redirects to others are not.
pub(crate) struct HttpData {
    by_origin: Mutex<HashMap<String, Egress>>,
    /// Authorities to trust besides the built-in ones.
    ca: Option<PathBuf>,
}

impl HttpData {
    pub(crate) fn new(ca: Option<PathBuf>) -> Self {
        Self { by_origin: Mutex::default(), ca }
    }

    fn egress(&self, url: &str) -> Result<(Egress, Url), DataError> {
        let url =
            parse_url(url).map_err(|error| DataError { reason: error.client_text(), transient: false })?;
        let refused = |reason: String| DataError { reason, transient: false };
        let host = url.host_str().ok_or_else(|| refused("the server named a URL without a host".into()))?;
        let port = url
            .port_or_known_default()
            .ok_or_else(|| refused("the server named a URL that is not HTTP".into()))?;
        let origin = format!("{host}:{port}");
        let mut known = self.by_origin.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(egress) = known.get(&origin) {
            return Ok((egress.clone(), url));
        }
        if known.len() >= SERVERS_MAX {
            known.clear();
        }
        let rule = origin.parse().map_err(|error| refused(format!("the server named a bad URL: {error}")))?;
        let policy = Policy {
            allow: vec![rule],
            public_allowed: false,
            redirects_max: 0,
            body_bytes_max: u64::MAX,
            request_body_bytes_max: u64::MAX,
            total_ms_max: TRANSFER_MS_MAX,
            ca_file: self.ca.clone(),
            ..Policy::default()
        };
        let egress = Egress::new(policy);
        known.insert(origin, egress.clone());
        Ok((egress, url))
    }
}

fn data_error(error: &EgressError) -> DataError {
    tracing::warn!(%error, "a transfer failed");
    DataError { reason: error.client_text(), transient: error.is_transient() }
}

impl AgentData for HttpData {
    fn fetch<'a>(&'a self, url: &'a str, to: &'a Path) -> BoxFuture<'a, Result<(), DataError>> {
        Box::pin(async move {
            let (egress, url) = self.egress(url)?;
            let response = egress.fetch(Request::get(url)).await.map_err(|error| data_error(&error))?;
            response.save_to(to).await.map_err(|error| data_error(&error))?;
            Ok(())
        })
    }

    fn upload<'a>(&'a self, url: &'a str, file: &'a Path) -> BoxFuture<'a, Result<(), DataError>> {
        Box::pin(async move {
            let (egress, url) = self.egress(url)?;
            let request = Request::put(url, file.to_owned());
            egress.fetch(request).await.map_err(|error| data_error(&error))?;
            Ok(())
        })
    }
}
