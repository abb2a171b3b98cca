//! JSON Web Tokens (RFC 7519), given the keys and the time: signature and claims. Fetches nothing.

use anabranch_model::Timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Clocks of issuers may differ from ours by so many seconds.
const LEEWAY_S: f64 = 60.0;
/// Longest token, in bytes: heads of requests are limited to more.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// Most keys of an issuer: some have a dozen while they rotate.
const KEYS_MAX: usize = 100;
/// Shortest RSA key, in bits (RFC 7518 §3.3).
const RSA_BITS_MIN: usize = 2048;
/// Longest RSA key, in bits: who has a longer one makes each login cost milliseconds.
const RSA_BITS_MAX: usize = 8192;
/// Bytes of an Ed25519 key (RFC 8032 §5.1.5).
const ED25519_BYTES: usize = 32;

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

/// What a token must be to be taken.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Who must have made it (`iss`).
    pub issuer: String,
    /// Whom it must be for (`aud`).
    pub audience: String,
    /// How it may be signed.
    pub algorithms: Vec<Algorithm>,
}

/// Why a token is not taken. For the log; clients are not told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// The issuer can't be asked.
    #[error("the issuer's keys can't be had: {0}")]
    NoKeys(String),
    /// No key of that name and kind; there may be newer ones.
    #[error("it names no key that its issuer has")]
    UnknownKey,
    /// The key did not sign it; there may be a newer one of the same name.
    #[error("its signature is not by its issuer's key")]
    Signature,
    /// It can't be read, or breaks a rule.
    #[error("{0}")]
    Bad(String),
}

/// The keys of an issuer (RFC 7517).
#[derive(Default)]
pub struct KeySet(Vec<Key>);

/// A key is of one kind of signature, which it says itself: no token can have it used for another.
struct Key {
    name: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// What of a published key counts here.
#[derive(Deserialize)]
struct PublishedKey<'a> {
    kty: &'a str,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<&'a str>,
    alg: Option<&'a str>,
    crv: Option<&'a str>,
    n: Option<&'a str>,
    e: Option<&'a str>,
    x: Option<&'a str>,
    y: Option<&'a str>,
}

impl KeySet {
    /// The keys of a published set that sign in one of our ways; others, and those that are too short or broken, are none of ours.
    ///
    /// # Errors
    /// Where it is no set of keys.
    pub fn read(set: &Value) -> Result<Self, String> {
        let given = set.get("keys").and_then(Value::as_array).ok_or("its set of keys has no keys")?;
        Ok(Self(given.iter().take(KEYS_MAX).filter_map(Key::read).collect()))
    }

    /// Whether one of them may have signed a token that names this key, or none.
    pub(crate) fn has(&self, name: Option<&str>) -> bool {
        self.0.iter().any(|key| key.is_named(name))
    }
}

impl Key {
    fn read(given: &Value) -> Option<Self> {
        let given = PublishedKey::deserialize(given).ok()?;
        // Keys for encryption sign nothing.
        if given.purpose.is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let (algorithm, name, key) = match (given.kty, given.crv) {
            ("RSA", _) => {
                let bits = decoded(given.n?)?.len() * 8;
                if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
                    return None;
                }
                (Algorithm::RS256, "RS256", DecodingKey::from_rsa_components(given.n?, given.e?))
            }
            ("EC", Some("P-256")) => {
                (Algorithm::ES256, "ES256", DecodingKey::from_ec_components(given.x?, given.y?))
            }
            // jsonwebtoken 12 takes the first 32 bytes, whatever there is.
            ("OKP", Some("Ed25519")) if decoded(given.x?)?.len() == ED25519_BYTES => {
                (Algorithm::EdDSA, "EdDSA", DecodingKey::from_ed_components(given.x?))
            }
            _ => return None,
        };
        let fits = given.alg.is_none_or(|said| said == name);
        Some(Self { name: given.kid, algorithm, key: key.ok()? }).filter(|_| fits)
    }

    fn is_named(&self, name: Option<&str>) -> bool {
        name.is_none_or(|name| self.name.as_deref() == Some(name))
    }
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// The name of the key that a token says it is signed by.
///
/// # Errors
/// Where it is no token, or signed in a way that is not among those allowed.
pub(crate) fn key_name(token: &str, rules: &Rules) -> Result<Option<String>, TokenRefused> {
    let header = decode_header(token).map_err(|error| bad(&error))?;
    let is_allowed = rules.algorithms.iter().any(|allowed| header.alg == (*allowed).into());
    if !is_allowed {
        return Err(TokenRefused::Bad(format!("it is signed by {:?}, which is not allowed", header.alg)));
    }
    Ok(header.kid)
}

/// The claims of a token, checked: signature, `iss`, `aud`, `exp` and `nbf` at a time.
///
/// # Errors
/// [`TokenRefused`], but for [`TokenRefused::NoKeys`].
pub fn verify(
    token: &str,
    keys: &KeySet,
    rules: &Rules,
    now: Timestamp,
) -> Result<Map<String, Value>, TokenRefused> {
    let name = key_name(token, rules)?;
    let mut refused = TokenRefused::UnknownKey;
    for key in keys.0.iter().filter(|key| key.is_named(name.as_deref())) {
        if !rules.algorithms.contains(&key.algorithm) {
            continue;
        }
        match signed(token, key) {
            Ok(claims) => return check_claims(&claims, rules, now).map(|()| claims),
            // Another key may have signed it, where it names none.
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// The claims of a token, if that key has signed it; nothing of them has been checked.
fn signed(token: &str, key: &Key) -> Result<Map<String, Value>, TokenRefused> {
    let mut signature_only = Validation::new(key.algorithm.into());
    signature_only.required_spec_claims.clear();
    (signature_only.validate_exp, signature_only.validate_nbf) = (false, false);
    signature_only.validate_aud = false;
    decode(token, &key.key, &signature_only).map(|token| token.claims).map_err(|error| match error.kind() {
        ErrorKind::InvalidSignature => TokenRefused::Signature,
        ErrorKind::InvalidAlgorithm => TokenRefused::UnknownKey,
        _ => bad(&error),
    })
}

fn bad(error: &jsonwebtoken::errors::Error) -> TokenRefused {
    TokenRefused::Bad(format!("{:?}", error.kind()))
}

/// What a token says, by the rules of RFC 7519 §4.1; what it must say is `iss`, `aud` and `exp`.
fn check_claims(claims: &Map<String, Value>, rules: &Rules, now: Timestamp) -> Result<(), TokenRefused> {
    let refuse = |text: &str| Err(TokenRefused::Bad(text.to_owned()));
    if claims.get("iss").and_then(Value::as_str) != Some(&rules.issuer) {
        return refuse("it is of another issuer ('iss')");
    }
    let is_ours = |audience: &Value| audience.as_str() == Some(&rules.audience);
    let is_for_us = claims.get("aud").is_some_and(|audience| match audience {
        Value::Array(all) => all.iter().any(is_ours),
        one => is_ours(one),
    });
    if !is_for_us {
        return refuse("it is for somebody else ('aud')");
    }
    let now = now.as_second() as f64;
    match claims.get("exp").map(Value::as_f64) {
        Some(Some(end)) if now < end + LEEWAY_S => {}
        Some(Some(_)) => return refuse("its time is over ('exp')"),
        Some(None) => return refuse("'exp' is no number"),
        None => return refuse("it has no end ('exp')"),
    }
    match claims.get("nbf").map(Value::as_f64) {
        Some(Some(begin)) if now + LEEWAY_S < begin => refuse("its time has not come ('nbf')"),
        Some(None) => refuse("'nbf' is no number"),
        Some(Some(_)) | None => Ok(()),
    }
}

/// Which issuer a token says that it is of; nothing of it has been checked. `None` where it is no token, or longer than 16 KiB.
pub fn issuer_of(token: &str) -> Option<String> {
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    if token.len() > TOKEN_BYTES_MAX || parts.next().is_some() {
        return None;
    }
    let claims: Value = serde_json::from_slice(&decoded(claims)?).ok()?;
    claims.get("iss")?.as_str().map(str::to_owned)
}

#[cfg(test)]
pub(crate) mod tests;
