//! Requests to a server's OGC API, with its exceptions turned into errors.

use crate::cli::{PASSWORD_VARIABLE, Remote};
use crate::xmpp_session::read_secret;
use anabranch_egress::{Egress, Method, Policy, Request, Response};
use anyhow::{Context as _, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::path::PathBuf;
use url::Url;

/// Largest JSON document read from a server, in bytes.
const DOCUMENT_BYTES_MAX: u64 = 64 << 20;
/// Longest a stream of events may go on, in milliseconds: a week is longer than any job worth watching.
const EVENTS_MS_MAX: u64 = 7 * 24 * 3_600_000;

/// A server.
#[derive(Clone)]
pub(crate) struct Api {
    egress: Egress,
    base: Url,
    /// What is sent to log in with.
    authorization: Option<String>,
}

/// The server said no.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) detail: String,
}

impl Refusal {
    /// For want of a login, or of a right.
    pub(crate) fn is_of_login(&self) -> bool {
        matches!(self.status, 401 | 403)
    }
}

impl Api {
    /// A server; the person named it, so its address is allowed, whatever it is.
    pub(crate) fn new(remote: &Remote) -> anyhow::Result<Self> {
        let base = &remote.server;
        let host = base.host_str().context("--server takes a URL with a host")?;
        let port = base.port_or_known_default().context("--server takes an http or https URL")?;
        let rule = format!("{host}:{port}").parse().map_err(|error| anyhow!("--server: {error}"))?;
        let ca_file = remote.ca.clone();
        let policy = Policy {
            allow: vec![rule],
            total_ms_max: EVENTS_MS_MAX,
            ca_file,
            redirects_max: 0,
            ..Policy::default()
        };
        let mut base = base.clone();
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        Ok(Self { egress: Egress::new(policy), base, authorization: authorization(remote)? })
    }

    /// The address of a resource; every segment is encoded.
    pub(crate) fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    pub(crate) async fn get(&self, url: Url) -> anyhow::Result<Value> {
        let request = Request::get(url).header("Accept", "application/json");
        json(self.send(request).await?).await
    }

    pub(crate) async fn delete(&self, url: Url) -> anyhow::Result<Value> {
        let request = Request::new(Method::Delete, url).header("Accept", "application/json");
        json(self.send(request).await?).await
    }

    /// Posts a JSON document, and reads the one that comes back.
    pub(crate) async fn post(&self, url: Url, body: &Value) -> anyhow::Result<Value> {
        let request = Request::post(url, serde_json::to_vec(body)?)
            .header("Content-Type", "application/json")
            .header("Accept", "application/json");
        json(self.send(request).await?).await
    }

    /// Asks for asynchronous execution and gives the status document.
    pub(crate) async fn execute(&self, process: &str, body: &Value) -> anyhow::Result<Value> {
        let request =
            Request::post(self.url(&["processes", process, "execution"]), serde_json::to_vec(body)?)
                .header("Content-Type", "application/json")
                .header("Accept", "application/json")
                .header("Prefer", "respond-async");
        json(self.send(request).await?).await
    }

    /// Any resource as bytes.
    pub(crate) async fn fetch(&self, url: Url) -> anyhow::Result<Response> {
        self.send(Request::get(url)).await
    }

    /// Server-sent events of a job.
    pub(crate) async fn events(&self, job: &str) -> anyhow::Result<Events> {
        let request = Request::get(self.url(&["jobs", job, "events"])).header("Accept", "text/event-stream");
        Ok(Events { response: self.send(request).await?, pending: Vec::new() })
    }

    async fn send(&self, mut request: Request) -> anyhow::Result<Response> {
        if let Some(authorization) =
            self.authorization.as_ref().filter(|_| request.url.origin() == self.base.origin())
        {
            request = request.header("Authorization", authorization.clone());
        }
        let response =
            self.egress.fetch_any_status(request).await.with_context(|| Unreachable(self.base.clone()))?;
        if (200..300).contains(&response.status) {
            return Ok(response);
        }
        let status = response.status;
        let body = response.bytes(DOCUMENT_BYTES_MAX).await.unwrap_or_default();
        let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = |name: &str| problem.get(name).and_then(Value::as_str).map(str::to_owned);
        let detail = text("detail")
            .or_else(|| text("title"))
            .unwrap_or_else(|| format!("the server answered {status}"));
        Err(Refusal { status, detail }.into())
    }
}

/// What a person logs in with: a token, or a password; never from the command line, which every account can read.
fn authorization(remote: &Remote) -> anyhow::Result<Option<String>> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(user) = &remote.user {
        let file = variable("ANABRANCH_PASSWORD_FILE").map(PathBuf::from);
        let password = match (variable(PASSWORD_VARIABLE), file) {
            (Some(password), _) => password,
            (None, Some(file)) => read_secret(&file)?,
            (None, None) => bail!("--user needs a password: {PASSWORD_VARIABLE} or ANABRANCH_PASSWORD_FILE"),
        };
        return Ok(Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))));
    }
    let token = match (&remote.token_file, variable("ANABRANCH_TOKEN")) {
        (Some(file), _) => Some(read_secret(file)?),
        (None, token) => token,
    };
    Ok(token.map(|token| format!("Bearer {token}")))
}

/// Nobody answers there.
#[derive(Debug, thiserror::Error)]
#[error("can't reach the server at {0}")]
pub(crate) struct Unreachable(Url);

async fn json(response: Response) -> anyhow::Result<Value> {
    let body = response.bytes(DOCUMENT_BYTES_MAX).await?;
    serde_json::from_slice(&body).context("the server's answer is no JSON")
}

/// One server-sent event.
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) data: Value,
}

/// A stream of server-sent events (WHATWG HTML §9.2), as far as this server writes them.
pub(crate) struct Events {
    response: Response,
    pending: Vec<u8>,
}

impl Events {
    /// The next event; `None` when the server has closed the stream.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<Event>> {
        loop {
            if let Some(end) = self.pending.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.pending.drain(..end + 2).collect();
                if let Some(event) = parse_event(&String::from_utf8_lossy(&block))? {
                    return Ok(Some(event));
                }
                continue;
            }
            if self.pending.len() as u64 > DOCUMENT_BYTES_MAX {
                bail!("the server sent an event of more than {DOCUMENT_BYTES_MAX} bytes");
            }
            match self.response.chunk().await? {
                Some(bytes) => self.pending.extend_from_slice(&bytes),
                None => return Ok(None),
            }
        }
    }
}

fn parse_event(block: &str) -> anyhow::Result<Option<Event>> {
    let (mut name, mut data) = (String::from("message"), String::new());
    for line in block.lines() {
        if let Some(value) = line.strip_prefix("event:") {
            value.trim().clone_into(&mut name);
        } else if let Some(value) = line.strip_prefix("data:") {
            data.push_str(value.trim_start());
        }
    }
    if data.is_empty() {
        return Ok(None); // a comment, sent to keep the connection alive
    }
    Ok(Some(Event { name, data: serde_json::from_str(&data).context("an event of the server is no JSON")? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_names_and_comments_have_none() {
        let event = parse_event("event: status\nid: 1\ndata: {\"progress\": 5}\n\n").unwrap().unwrap();
        assert_eq!((event.name.as_str(), &event.data["progress"]), ("status", &Value::from(5)));
        assert!(parse_event(": keep-alive\n\n").unwrap().is_none());
    }

    #[test]
    fn segments_are_encoded() {
        let server = "http://127.0.0.1:8080".parse().unwrap();
        let remote = Remote { server, user: None, token_file: None, ca: None };
        let api = Api::new(&remote).unwrap();
        assert_eq!(
            api.url(&["processes", "default:A/b"]).as_str(),
            "http://127.0.0.1:8080/processes/default:A%2Fb"
        );
    }
}
