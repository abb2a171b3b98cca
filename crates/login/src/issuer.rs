//! Tokens of OpenID Connect issuers: JSON Web Tokens (RFC 7519) signed by keys that the issuer publishes (OpenID Connect Discovery 1.0 §4,
//! RFC 7517).

use crate::roles::Roles;
use anabranch_egress::{Egress, Request, parse_url};
use anabranch_model::UserName;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Clocks of issuers may differ from ours by so many seconds.
const LEEWAY_S: u64 = 60;
/// Longest token, in bytes: heads of requests are limited to more.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// Largest discovery document or set of keys, in bytes.
const DOCUMENT_BYTES_MAX: u64 = 256 << 10;
/// Most keys of an issuer: some have a dozen while they rotate.
const KEYS_MAX: usize = 100;
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

/// Signatures by public keys. Shared secrets and `none` are not among them, whatever a token says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Algorithm {
    /// RSA with SHA-256.
    RS256,
    /// ECDSA with P-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

impl From<Algorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::RS256 => Self::RS256,
            Algorithm::ES256 => Self::ES256,
            Algorithm::EdDSA => Self::EdDSA,
        }
    }
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

/// Why a token is not taken. For the log; clients are not told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenRefused {
    #[error("the issuer's keys can't be had: {0}")]
    NoKeys(String),
    #[error("{0}")]
    Bad(String),
}

/// An issuer, and the keys that it signs with.
pub(crate) struct Issuer {
    config: IssuerConfig,
    egress: Egress,
    /// Held while keys are fetched: who needs them meanwhile waits, and is served with them.
    keys: Mutex<Keys>,
}

#[derive(Default)]
struct Keys {
    tried: Option<Instant>,
    fetched: Option<Instant>,
    known: Arc<Vec<Jwk>>,
}

/// Who a token is of.
#[derive(Debug)]
pub(crate) struct Bearer {
    pub(crate) user: UserName,
    pub(crate) roles: Roles,
}

impl Issuer {
    pub(crate) fn new(config: IssuerConfig, egress: Egress) -> Self {
        Self { config, egress, keys: Mutex::default() }
    }

    pub(crate) fn is(&self, issuer: &str) -> bool {
        self.config.issuer == issuer
    }

    /// Checks signature, issuer, audience and times.
    pub(crate) async fn verify(&self, token: &str) -> Result<Bearer, TokenRefused> {
        let bad = |error: jsonwebtoken::errors::Error| TokenRefused::Bad(format!("{:?}", error.kind()));
        let header = decode_header(token).map_err(bad)?;
        let allowed: Vec<jsonwebtoken::Algorithm> =
            self.config.algorithms.iter().map(|algorithm| (*algorithm).into()).collect();
        if !allowed.contains(&header.alg) {
            return Err(TokenRefused::Bad(format!("it is signed by {:?}, which is not allowed", header.alg)));
        }
        let mut validation = Validation::new(header.alg);
        validation.leeway = LEEWAY_S;
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.config.issuer]);
        validation.set_audience(&[&self.config.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        let claims = match verified(token, &self.keys(header.kid.as_deref(), false).await?, &validation) {
            // Its key may be newer than ours.
            Err(error) if error.as_ref().is_none_or(|error| *error.kind() == ErrorKind::InvalidSignature) => {
                verified(token, &self.keys(header.kid.as_deref(), true).await?, &validation)
            }
            verified => verified,
        };
        let unknown = || TokenRefused::Bad("it names no key that its issuer has".into());
        self.bearer(&claims.map_err(|error| error.map_or_else(unknown, bad))?)
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

    /// The keys that may have signed: the one of that name, or all where the token names none.
    async fn keys(&self, kid: Option<&str>, renew: bool) -> Result<Vec<Jwk>, TokenRefused> {
        let mut keys = self.keys.lock().await;
        let fits = |key: &&Jwk| kid.is_none_or(|kid| key.common.key_id.as_deref() == Some(kid));
        let found = |keys: &Keys| keys.known.iter().filter(fits).cloned().collect::<Vec<_>>();
        let is_fresh = keys.fetched.is_some_and(|at| at.elapsed() < KEYS_FOR);
        let (now, rests) = (found(&keys), keys.tried.is_some_and(|at| at.elapsed() < PAUSE));
        if (is_fresh && !now.is_empty() && !renew) || rests {
            return Ok(now);
        }
        keys.tried = Some(Instant::now());
        match self.fetch_keys().await {
            Ok(known) => {
                keys.known = Arc::new(known);
                keys.fetched = Some(Instant::now());
                Ok(found(&keys))
            }
            // Old keys are better than none: an issuer that is away for an hour locks nobody out.
            Err(error) if !now.is_empty() => {
                tracing::warn!(
                    issuer = self.config.issuer,
                    error,
                    "the keys of an issuer can't be fetched: the last ones hold"
                );
                Ok(now)
            }
            Err(error) => Err(TokenRefused::NoKeys(error)),
        }
    }

    async fn fetch_keys(&self) -> Result<Vec<Jwk>, String> {
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
        let set = self.fetch(place).await?;
        let given = set.get("keys").and_then(Value::as_array).ok_or("its set of keys has no keys")?;
        // Keys of other kinds are none of ours; keys for encryption sign nothing.
        let signs =
            |key: &&Value| key.get("use").and_then(Value::as_str).is_none_or(|purpose| purpose == "sig");
        let read = given.iter().take(KEYS_MAX).filter(signs);
        Ok(read.filter_map(|key| serde_json::from_value(key.clone()).ok()).collect())
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

/// The claims of a token that one of the keys has signed; no error where there is no key.
fn verified(
    token: &str,
    keys: &[Jwk],
    validation: &Validation,
) -> Result<Map<String, Value>, Option<jsonwebtoken::errors::Error>> {
    let mut last = None;
    for key in keys.iter().filter_map(|key| DecodingKey::from_jwk(key).ok()) {
        match decode::<Map<String, Value>>(token, &key, validation) {
            Ok(token) => return Ok(token.claims),
            Err(error) => last = Some(error),
        }
    }
    Err(last)
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => text.split_whitespace().map(str::to_owned).collect(),
        Value::Array(values) => values.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// Which issuer a token says that it is of; nothing of it has been checked.
pub(crate) fn issuer_of(token: &str) -> Option<String> {
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    if token.len() > TOKEN_BYTES_MAX || parts.next().is_some() {
        return None;
    }
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    claims.get("iss")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn only_a_token_of_three_parts_names_an_issuer() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"iss":"https://h"}"#);
        assert_eq!(issuer_of(&format!("x.{claims}.y")).as_deref(), Some("https://h"));
        for bad in
            ["", "..", "x.y.z", &format!("x.{claims}"), &format!("x.{claims}.y.z"), &"x".repeat(99_999)]
        {
            assert_eq!(issuer_of(bad), None);
        }
    }

    #[test]
    fn roles_are_lists_or_words() {
        assert_eq!(texts(&serde_json::json!(["a", 1, "b"])), ["a", "b"]);
        assert_eq!(texts(&serde_json::json!("a b")), ["a", "b"]);
        assert!(texts(&serde_json::json!(5)).is_empty());
    }
}
