//! Tokens of OpenID Connect issuers: JSON Web Tokens (RFC 7519) signed by keys that the issuer publishes (OpenID Connect Discovery 1.0 §4,
//! RFC 7517).

use crate::jwt::{self, Algorithm, KeySet, Rules, TokenRefused};
use crate::roles::Roles;
use anabranch_egress::{Egress, Request, parse_url};
use anabranch_model::{Timestamp, UserName};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Largest discovery document or set of keys, in bytes.
const DOCUMENT_BYTES_MAX: u64 = 256 << 10;
/// Longest fetch, in milliseconds: a login waits for it.
const FETCH_MS_MAX: u64 = 10_000;
/// Keys are fetched again after that long.
const KEYS_FOR: Duration = Duration::from_secs(3600);
/// A token may be signed by a key that is not known: then the keys are fetched again, but not more often than this, so that nobody can make this
/// server a nuisance.
const PAUSE: Duration = Duration::from_secs(5);

/// An issuer, as configured.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// Its URL, exactly as tokens name it (`iss`).
    pub issuer: String,
    /// What its tokens must be for (`aud`): the client or resource by which it knows this server.
    pub audience: String,
    /// The claim that is the user's name.
    #[serde(default = "sub")]
    pub user_claim: String,
    /// What is put before that name, so that users of several issuers stay apart.
    #[serde(default)]
    pub user_prefix: String,
    /// The claim with the user's roles, a list of texts or one text with spaces; none where it is left out.
    #[serde(default)]
    pub roles_claim: Option<String>,
    /// How tokens may be signed.
    #[serde(default = "algorithms")]
    pub algorithms: Vec<Algorithm>,
}

fn sub() -> String {
    "sub".into()
}

fn algorithms() -> Vec<Algorithm> {
    vec![Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA]
}

impl IssuerConfig {
    /// Reads nothing from the network.
    ///
    /// # Errors
    /// Names the rule.
    pub fn check(&self) -> Result<(), String> {
        let url = parse_url(&self.issuer).map_err(|refused| refused.client_text())?;
        let is_near = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        if url.scheme() != "https" && !is_near {
            return Err(format!("an issuer is reached by https, unlike {:?}", self.issuer));
        }
        if self.audience.is_empty() || self.algorithms.is_empty() || self.user_claim.is_empty() {
            return Err("an issuer needs audience, user_claim and at least one of algorithms".into());
        }
        Ok(())
    }
}

/// A moment, by both clocks: that of the wall for what tokens say, and one that never goes back for our own waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) time: Timestamp,
    pub(crate) at: Instant,
}

impl Now {
    pub(crate) fn read() -> Self {
        Self { time: Timestamp::now(), at: Instant::now() }
    }
}

/// An issuer, and the keys that it signs with.
pub(crate) struct Issuer {
    config: IssuerConfig,
    rules: Rules,
    egress: Egress,
    /// Held while keys are fetched: who needs them meanwhile waits, and is served with them.
    keys: Mutex<Keys>,
}

#[derive(Default)]
struct Keys {
    tried: Option<Instant>,
    fetched: Option<Instant>,
    known: Arc<KeySet>,
}

/// Who a token is of.
#[derive(Debug)]
pub(crate) struct Bearer {
    pub(crate) user: UserName,
    pub(crate) roles: Roles,
}

impl Issuer {
    pub(crate) fn new(config: IssuerConfig, egress: Egress) -> Self {
        let rules = Rules {
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            algorithms: config.algorithms.clone(),
        };
        Self { config, rules, egress, keys: Mutex::default() }
    }

    pub(crate) fn is(&self, issuer: &str) -> bool {
        self.config.issuer == issuer
    }

    /// Checks signature, issuer, audience and times.
    pub(crate) async fn verify(&self, token: &str, now: Now) -> Result<Bearer, TokenRefused> {
        let name = jwt::key_name(token, &self.rules)?;
        let keys = self.keys(name.as_deref(), false, now).await?;
        let claims = match jwt::verify(token, &keys, &self.rules, now.time) {
            // Its key may be newer than ours.
            Err(TokenRefused::UnknownKey | TokenRefused::Signature) => {
                let keys = self.keys(name.as_deref(), true, now).await?;
                jwt::verify(token, &keys, &self.rules, now.time)
            }
            verified => verified,
        };
        self.bearer(&claims?)
    }

    fn bearer(&self, claims: &Map<String, Value>) -> Result<Bearer, TokenRefused> {
        let claim = &self.config.user_claim;
        let name = claims.get(claim).and_then(Value::as_str);
        let name = name.ok_or_else(|| TokenRefused::Bad(format!("it has no text as claim '{claim}'")))?;
        let user = UserName::new(format!("{}{name}", self.config.user_prefix));
        let user = user.map_err(|error| TokenRefused::Bad(format!("claim '{claim}': {error}")))?;
        let roles = self.config.roles_claim.as_ref().and_then(|claim| claims.get(claim));
        Ok(Bearer { user, roles: Roles::of_user(roles.map(texts).unwrap_or_default()) })
    }

    /// The keys that are published, where one of that name is wanted; fetched where they are old, it is unknown, or newer ones are asked for.
    async fn keys(&self, name: Option<&str>, renew: bool, now: Now) -> Result<Arc<KeySet>, TokenRefused> {
        let mut keys = self.keys.lock().await;
        let before = |then: Option<Instant>, pause| {
            then.is_some_and(|then| now.at.saturating_duration_since(then) < pause)
        };
        let has = keys.known.has(name);
        if (before(keys.fetched, KEYS_FOR) && has && !renew) || before(keys.tried, PAUSE) {
            return Ok(Arc::clone(&keys.known));
        }
        keys.tried = Some(now.at);
        match self.fetch_keys().await {
            Ok(known) => {
                keys.known = Arc::new(known);
                keys.fetched = Some(now.at);
            }
            // Old keys are better than none: an issuer that is away for an hour locks nobody out.
            Err(error) if has => {
                let issuer = &self.config.issuer;
                tracing::warn!(issuer, error, "the keys of an issuer can't be fetched: the last ones hold");
            }
            Err(error) => return Err(TokenRefused::NoKeys(error)),
        }
        Ok(Arc::clone(&keys.known))
    }

    async fn fetch_keys(&self) -> Result<KeySet, String> {
        let place = format!("{}/.well-known/openid-configuration", self.config.issuer.trim_end_matches('/'));
        let document = self.fetch(&place).await?;
        if document.get("issuer").and_then(Value::as_str) != Some(self.config.issuer.as_str()) {
            // OpenID Connect Discovery 1.0 §4.3
            return Err("its discovery document is of another issuer".into());
        }
        let place = document
            .get("jwks_uri")
            .and_then(Value::as_str)
            .ok_or("its discovery document has no jwks_uri")?;
        KeySet::read(&self.fetch(place).await?)
    }

    async fn fetch(&self, place: &str) -> Result<Value, String> {
        let url = parse_url(place).map_err(|refused| refused.to_string())?;
        let request = Request::get(url)
            .header("Accept", "application/json")
            .body_bytes_max(DOCUMENT_BYTES_MAX)
            .total_ms_max(FETCH_MS_MAX);
        let response = self.egress.fetch(request).await.map_err(|error| error.to_string())?;
        let body = response.bytes(DOCUMENT_BYTES_MAX).await.map_err(|error| error.to_string())?;
        serde_json::from_slice(&body).map_err(|error| format!("{place}: {error}"))
    }
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => text.split_whitespace().map(str::to_owned).collect(),
        Value::Array(values) => values.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::tests::Pair;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    fn config(issuer: &str) -> IssuerConfig {
        IssuerConfig {
            issuer: issuer.into(),
            audience: "anabranch".into(),
            user_claim: sub(),
            user_prefix: String::new(),
            roles_claim: None,
            algorithms: algorithms(),
        }
    }

    #[test]
    fn an_issuer_is_reached_by_tls() {
        assert_eq!(config("https://id.example.org/realms/x").check(), Ok(()));
        assert_eq!(config("http://127.0.0.1:9000").check(), Ok(()));
        assert!(config("http://id.example.org").check().unwrap_err().contains("https"));
        assert!(IssuerConfig { audience: String::new(), ..config("https://h") }.check().is_err());
    }

    #[test]
    fn roles_are_lists_or_words() {
        assert_eq!(texts(&serde_json::json!(["a", 1, "b"])), ["a", "b"]);
        assert_eq!(texts(&serde_json::json!("a b")), ["a", "b"]);
        assert!(texts(&serde_json::json!(5)).is_empty());
    }

    /// Serves a discovery document, and the keys that it holds at the moment; counts how often they are fetched.
    async fn serve(keys: Arc<std::sync::Mutex<Value>>, fetched: Arc<AtomicU32>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let document = serde_json::json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/keys") });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = vec![0; 4096];
                let length = stream.read(&mut head).await.unwrap_or(0);
                let body = if head[..length].starts_with(b"GET /keys") {
                    fetched.fetch_add(1, Ordering::Relaxed);
                    keys.lock().unwrap().to_string()
                } else {
                    document.to_string()
                };
                let head =
                    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
                let _gone = stream.write_all((head + &body).as_bytes()).await;
            }
        });
        issuer
    }

    #[tokio::test]
    async fn new_keys_are_taken_up_when_they_are_met_and_old_ones_end() {
        let (old, new) = (Pair::ed25519("old"), Pair::ed25519("new"));
        let set = |pairs: &[&Pair]| serde_json::json!({ "keys": pairs.iter().map(|pair| &pair.public).collect::<Vec<_>>() });
        let published = Arc::new(std::sync::Mutex::new(set(&[&old])));
        let fetched = Arc::new(AtomicU32::new(0));
        let url = serve(Arc::clone(&published), Arc::clone(&fetched)).await;
        let mut policy = anabranch_egress::Policy::default();
        policy.allow.push(url.trim_start_matches("http://").parse().unwrap());
        let issuer = Issuer::new(config(&url), Egress::new(policy));
        let start = Now::read();
        let end = start.time.as_second() + 100_000;
        let claims = serde_json::json!({ "iss": url, "aud": "anabranch", "sub": "anna", "exp": end });
        let after = |s: u64| Now { at: start.at + Duration::from_secs(s), ..start };
        let (by_old, by_new) = (old.sign(&claims), new.sign(&claims));

        assert_eq!(issuer.verify(&by_old, after(0)).await.unwrap().user.as_str(), "anna");
        *published.lock().unwrap() = set(&[&old, &new]);
        // Within the pause nobody has the keys fetched again, however often they try.
        for _ in 0..3 {
            assert_eq!(issuer.verify(&by_new, after(4)).await.unwrap_err(), TokenRefused::UnknownKey);
        }
        assert_eq!(fetched.load(Ordering::Relaxed), 1);
        issuer.verify(&by_new, after(5)).await.unwrap();
        issuer.verify(&by_old, after(6)).await.unwrap();
        assert_eq!(fetched.load(Ordering::Relaxed), 2);
        // A key that was withdrawn counts until the keys are old.
        *published.lock().unwrap() = set(&[&new]);
        issuer.verify(&by_old, after(60)).await.unwrap();
        assert_eq!(issuer.verify(&by_old, after(3700)).await.unwrap_err(), TokenRefused::UnknownKey);
        // An issuer that answers nonsense locks nobody out.
        *published.lock().unwrap() = serde_json::json!("nonsense");
        issuer.verify(&by_new, after(9000)).await.unwrap();
    }
}
