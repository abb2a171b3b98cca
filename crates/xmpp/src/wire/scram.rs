//! SCRAM-SHA-1 and SCRAM-SHA-256, both sides (RFC 5802, RFC 7677), and the keys that stand for a password.
//!
//! Accepted: the gs2 headers `n,,` and `y,,` (no channel binding is offered, so `y` is true) with or without an
//! authorization identity equal to the user; names with `=2C` and `=3D`; further attributes after the ones of the RFC.
//! Refused: `p=` (channel binding), the mandatory extension `m=`. Passwords are taken as they are: no SASLprep, which
//! changes nothing for ASCII and for composed Unicode.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;

/// Rounds of PBKDF2 for new keys: above the 4,096 that RFC 7677 §4 asks for, and some milliseconds for a client.
pub(crate) const ITERATIONS: u32 = 10_000;

/// Rounds that a client does for a server. More is an attack on its processor.
pub(crate) const ITERATIONS_MAX: u32 = 1_000_000;

const SALT_BYTES: usize = 16;

/// The hash of a SCRAM mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha1,
    Sha256,
}

/// What a server keeps instead of a password (RFC 5802 §3), for both hashes. The text form (`Display`, `FromStr`) is
/// `scram:1:SALT:ITERATIONS:SHA1-STORED:SHA1-SERVER:SHA256-STORED:SHA256-SERVER`, binary parts in base64.
///
/// It does not give the password away, yet lets its owner pose as the server: keep it as secret as a key.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    salt: Vec<u8>,
    iterations: u32,
    sha1: KeyPair,
    sha256: KeyPair,
}

#[derive(Clone, PartialEq, Eq)]
struct KeyPair {
    stored: Vec<u8>,
    server: Vec<u8>,
}

/// Why a login dialogue failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ScramError {
    #[error("SCRAM message is malformed: {0}")]
    Malformed(&'static str),
    #[error("channel binding is not supported")]
    ChannelBinding,
    #[error("nonce is not the one agreed on")]
    Nonce,
    #[error("wrong password")]
    Proof,
    #[error("the server does not know the password either")]
    ServerSignature,
    #[error("the server wants {0} rounds of PBKDF2, more than {ITERATIONS_MAX}")]
    Iterations(u32),
}

impl Hash {
    /// Name of the SASL mechanism.
    pub(crate) fn mechanism(self) -> &'static str {
        match self {
            Self::Sha1 => "SCRAM-SHA-1",
            Self::Sha256 => "SCRAM-SHA-256",
        }
    }

    pub(crate) fn from_mechanism(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Sha1].into_iter().find(|hash| hash.mechanism() == name)
    }

    fn digest(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => Sha1::digest(data).to_vec(),
            Self::Sha256 => Sha256::digest(data).to_vec(),
        }
    }

    fn hmac(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        // HMAC takes keys of any length (RFC 2104 §2), so making one cannot fail.
        match self {
            Self::Sha1 => {
                let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("any key length");
                mac.update(data);
                mac.finalize().into_bytes().to_vec()
            }
            Self::Sha256 => {
                let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key length");
                mac.update(data);
                mac.finalize().into_bytes().to_vec()
            }
        }
    }

    /// `Hi` of RFC 5802 §2.2. Takes milliseconds: not for an async task.
    fn salted_password(self, password: &str, salt: &[u8], iterations: u32) -> Vec<u8> {
        match self {
            Self::Sha1 => {
                pbkdf2::pbkdf2_hmac_array::<Sha1, 20>(password.as_bytes(), salt, iterations).to_vec()
            }
            Self::Sha256 => {
                pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password.as_bytes(), salt, iterations).to_vec()
            }
        }
    }

    fn key_pair(self, password: &str, salt: &[u8], iterations: u32) -> KeyPair {
        let salted = self.salted_password(password, salt, iterations);
        let client = self.hmac(&salted, b"Client Key");
        KeyPair { stored: self.digest(&client), server: self.hmac(&salted, b"Server Key") }
    }
}

impl ScramKeys {
    /// Keys of a new password, with a fresh salt and 10,000 rounds of PBKDF2. Takes some milliseconds of processor time.
    pub fn derive(password: &str) -> Self {
        Self::derive_with(password, &rand::random::<[u8; SALT_BYTES]>(), ITERATIONS)
    }

    /// Keys with a given salt and number of rounds. A server should use one number for all its accounts, because the
    /// number tells an unknown user from a known one.
    pub fn derive_with(password: &str, salt: &[u8], iterations: u32) -> Self {
        Self {
            salt: salt.to_vec(),
            iterations,
            sha1: Hash::Sha1.key_pair(password, salt, iterations),
            sha256: Hash::Sha256.key_pair(password, salt, iterations),
        }
    }

    /// Keys that no password has, for a user that does not exist: the salt is always the same for the same name, as
    /// it would be for a real account.
    pub(crate) fn decoy(user: &str, secret: &[u8; 32]) -> Self {
        let mut salt = Hash::Sha256.hmac(secret, user.as_bytes());
        salt.truncate(SALT_BYTES);
        let nothing = |hash: Hash| KeyPair {
            stored: hash.digest(&rand::random::<[u8; 32]>()),
            server: hash.digest(&rand::random::<[u8; 32]>()),
        };
        Self { salt, iterations: ITERATIONS, sha1: nothing(Hash::Sha1), sha256: nothing(Hash::Sha256) }
    }

    /// Whether this is the password (SASL PLAIN). Takes some milliseconds of processor time.
    pub fn verify(&self, password: &str) -> bool {
        let pair = Hash::Sha256.key_pair(password, &self.salt, self.iterations);
        pair.stored.ct_eq(&self.sha256.stored).into()
    }

    fn pair(&self, hash: Hash) -> &KeyPair {
        match hash {
            Hash::Sha1 => &self.sha1,
            Hash::Sha256 => &self.sha256,
        }
    }
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramKeys").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

impl fmt::Display for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let b = |bytes: &[u8]| BASE64.encode(bytes);
        write!(f, "scram:1:{}:{}", b(&self.salt), self.iterations)?;
        [&self.sha1, &self.sha256].iter().try_for_each(|p| write!(f, ":{}:{}", b(&p.stored), b(&p.server)))
    }
}

impl FromStr for ScramKeys {
    type Err = ScramError;

    fn from_str(text: &str) -> Result<Self, ScramError> {
        let parts: Vec<&str> = text.trim().split(':').collect();
        let ["scram", "1", salt, iterations, a, b, c, d] = parts.as_slice() else {
            return Err(ScramError::Malformed("keys have eight parts, the first two \"scram:1\""));
        };
        let iterations =
            iterations.parse().map_err(|_| ScramError::Malformed("iterations are not a number"))?;
        let sha1 = KeyPair { stored: decode_len(a, 20)?, server: decode_len(b, 20)? };
        let sha256 = KeyPair { stored: decode_len(c, 32)?, server: decode_len(d, 32)? };
        Ok(Self { salt: decode(salt)?, iterations, sha1, sha256 })
    }
}

/// The client's first message (RFC 5802 §7, `client-first-message`), read by a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientFirst {
    pub(crate) user: String,
    gs2_header: String,
    bare: String,
    client_nonce: String,
}

impl ClientFirst {
    pub(crate) fn parse(message: &[u8]) -> Result<Self, ScramError> {
        let text = std::str::from_utf8(message).map_err(|_| ScramError::Malformed("not UTF-8"))?;
        let (binding, rest) = text.split_once(',').ok_or(ScramError::Malformed("no gs2 header"))?;
        let (authzid, bare) = rest.split_once(',').ok_or(ScramError::Malformed("no gs2 header"))?;
        match binding {
            "n" | "y" => {}
            _ if binding.starts_with("p=") => return Err(ScramError::ChannelBinding),
            _ => return Err(ScramError::Malformed("unknown gs2 header")),
        }
        let mut fields = bare.split(',');
        let user =
            fields.next().and_then(|f| f.strip_prefix("n=")).ok_or(ScramError::Malformed("no user name"))?;
        let nonce =
            fields.next().and_then(|f| f.strip_prefix("r=")).ok_or(ScramError::Malformed("no nonce"))?;
        let user = unescape(user)?;
        if nonce.is_empty() || user.is_empty() {
            return Err(ScramError::Malformed("user name or nonce is empty"));
        }
        if !authzid.is_empty() {
            let authzid = authzid.strip_prefix("a=").ok_or(ScramError::Malformed("unknown gs2 field"))?;
            // RFC 6120 §6.3.8: it is the bare JID; acting for others is not offered.
            if unescape(authzid)?.split('@').next() != Some(&user) {
                return Err(ScramError::Malformed("authorization identity is not the user"));
            }
        }
        let gs2_header = text[..text.len() - bare.len()].to_owned();
        Ok(Self { user, gs2_header, bare: bare.to_owned(), client_nonce: nonce.to_owned() })
    }

    /// The server's challenge; `server_nonce` comes from [`nonce`].
    pub(crate) fn challenge(self, hash: Hash, keys: &ScramKeys, server_nonce: &str) -> (ServerScram, String) {
        let nonce = format!("{}{server_nonce}", self.client_nonce);
        let challenge = format!("r={nonce},s={},i={}", BASE64.encode(&keys.salt), keys.iterations);
        let auth_start = format!("{},{challenge},", self.bare);
        let pair = keys.pair(hash).clone();
        (ServerScram { hash, pair, auth_start, nonce, gs2_header: self.gs2_header }, challenge)
    }
}

/// A server that waits for the client's proof.
pub(crate) struct ServerScram {
    hash: Hash,
    pair: KeyPair,
    auth_start: String,
    nonce: String,
    gs2_header: String,
}

impl ServerScram {
    /// Checks the client's final message; gives the server's (RFC 5802 §5, §7).
    pub(crate) fn finish(&self, message: &[u8]) -> Result<String, ScramError> {
        let text = std::str::from_utf8(message).map_err(|_| ScramError::Malformed("not UTF-8"))?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(ScramError::Malformed("no proof"))?;
        let mut fields = without_proof.split(',');
        let binding =
            fields.next().and_then(|f| f.strip_prefix("c=")).ok_or(ScramError::Malformed("no binding"))?;
        let nonce =
            fields.next().and_then(|f| f.strip_prefix("r=")).ok_or(ScramError::Malformed("no nonce"))?;
        if decode(binding)? != self.gs2_header.as_bytes() {
            return Err(ScramError::Malformed("binding is not the gs2 header"));
        }
        if nonce != self.nonce {
            return Err(ScramError::Nonce);
        }
        let auth_message = format!("{}{without_proof}", self.auth_start);
        let signature = self.hash.hmac(&self.pair.stored, auth_message.as_bytes());
        let proof = decode_len(proof, signature.len())?;
        let client_key: Vec<u8> = proof.iter().zip(&signature).map(|(p, s)| p ^ s).collect();
        if !bool::from(self.hash.digest(&client_key).ct_eq(&self.pair.stored)) {
            return Err(ScramError::Proof);
        }
        Ok(format!("v={}", BASE64.encode(self.hash.hmac(&self.pair.server, auth_message.as_bytes()))))
    }
}

/// The client's side of a login.
pub(crate) struct ClientScram {
    hash: Hash,
    password: String,
    bare: String,
    nonce: String,
    server_signature: Option<Vec<u8>>,
}

impl ClientScram {
    /// `nonce` comes from [`nonce`].
    pub(crate) fn new(hash: Hash, user: &str, password: &str, nonce: &str) -> Self {
        let bare = format!("n={},r={nonce}", escape(user));
        Self { hash, password: password.to_owned(), bare, nonce: nonce.to_owned(), server_signature: None }
    }

    pub(crate) fn first(&self) -> String {
        format!("n,,{}", self.bare)
    }

    /// Answer to the challenge. Takes milliseconds to (if the server asks for it) a second of processor time.
    pub(crate) fn respond(&mut self, challenge: &[u8]) -> Result<String, ScramError> {
        let text = std::str::from_utf8(challenge).map_err(|_| ScramError::Malformed("not UTF-8"))?;
        let mut fields = text.split(',');
        let mut field = |prefix| fields.next().and_then(|f| f.strip_prefix(prefix));
        let nonce = field("r=").ok_or(ScramError::Malformed("no nonce"))?;
        let salt = decode(field("s=").ok_or(ScramError::Malformed("no salt"))?)?;
        let iterations =
            field("i=").and_then(|i| i.parse().ok()).ok_or(ScramError::Malformed("no iterations"))?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(ScramError::Nonce);
        }
        if iterations == 0 || iterations > ITERATIONS_MAX {
            return Err(ScramError::Iterations(iterations));
        }
        let salted = self.hash.salted_password(&self.password, &salt, iterations);
        let client_key = self.hash.hmac(&salted, b"Client Key");
        let without_proof = format!("c={},r={nonce}", BASE64.encode("n,,"));
        let auth_message = format!("{},{text},{without_proof}", self.bare);
        let signature = self.hash.hmac(&self.hash.digest(&client_key), auth_message.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(k, s)| k ^ s).collect();
        let server_key = self.hash.hmac(&salted, b"Server Key");
        self.server_signature = Some(self.hash.hmac(&server_key, auth_message.as_bytes()));
        Ok(format!("{without_proof},p={}", BASE64.encode(proof)))
    }

    /// Checks that the server knows the password too.
    pub(crate) fn verify(&self, last: &[u8]) -> Result<(), ScramError> {
        let text = std::str::from_utf8(last).map_err(|_| ScramError::Malformed("not UTF-8"))?;
        let given = text.split(',').next().and_then(|f| f.strip_prefix("v="));
        let given = decode(given.ok_or(ScramError::ServerSignature)?)?;
        match &self.server_signature {
            Some(expected) if bool::from(expected.ct_eq(&given)) => Ok(()),
            _ => Err(ScramError::ServerSignature),
        }
    }
}

/// A fresh nonce: 144 random bits as printable text without commas.
pub(crate) fn nonce() -> String {
    BASE64.encode(rand::random::<[u8; 18]>())
}

/// `saslname` of RFC 5802 §5.1.
fn escape(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

fn unescape(name: &str) -> Result<String, ScramError> {
    let mut parts = name.split('=');
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (sign, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            (None, None) => return Err(ScramError::Malformed("\"=\" in a user name is neither =2C nor =3D")),
        };
        result.push(sign);
        result.push_str(rest);
    }
    Ok(result)
}

fn decode(text: &str) -> Result<Vec<u8>, ScramError> {
    BASE64.decode(text).map_err(|_| ScramError::Malformed("not base64"))
}

fn decode_len(text: &str, length: usize) -> Result<Vec<u8>, ScramError> {
    let bytes = decode(text)?;
    if bytes.len() == length { Ok(bytes) } else { Err(ScramError::Malformed("value has the wrong length")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The dialogue of an RFC: client first, server's part of the nonce, salt, client final, server final.
    fn dialogue(hash: Hash, first: &str, server_nonce: &str, salt: &str, last: &str, server_last: &str) {
        let keys = ScramKeys::derive_with("pencil", &BASE64.decode(salt).unwrap(), 4096);
        let parsed = ClientFirst::parse(first.as_bytes()).unwrap();
        assert_eq!(parsed.user, "user");
        let client_nonce = parsed.client_nonce.clone();
        let (server, challenge) = parsed.challenge(hash, &keys, server_nonce);
        assert_eq!(server.finish(last.as_bytes()).unwrap(), server_last);

        let mut client = ClientScram::new(hash, "user", "pencil", &client_nonce);
        assert_eq!(client.first(), first);
        assert_eq!(client.respond(challenge.as_bytes()).unwrap(), last);
        client.verify(server_last.as_bytes()).unwrap();
        assert_eq!(client.verify(b"v=AAAA"), Err(ScramError::ServerSignature));
    }

    #[test]
    fn rfc_5802_section_5() {
        dialogue(
            Hash::Sha1,
            "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
            "3rfcNHYJY1ZVvWVs7j",
            "QSXCR+Q6sek8bf92",
            "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        );
    }

    #[test]
    fn rfc_7677_section_3() {
        dialogue(
            Hash::Sha256,
            "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
            "W22ZaJ0SNY7soEsUEjb6gQ==",
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        );
    }

    #[test]
    fn a_wrong_password_or_nonce_is_refused() {
        let keys = ScramKeys::derive_with("right", b"salt", 4096);
        let mut client = ClientScram::new(Hash::Sha256, "a=b,c", "wrong", "abc");
        let first = ClientFirst::parse(client.first().as_bytes()).unwrap();
        assert_eq!(first.user, "a=b,c");
        let (server, challenge) = first.challenge(Hash::Sha256, &keys, "def");
        let last = client.respond(challenge.as_bytes()).unwrap();
        assert_eq!(server.finish(last.as_bytes()), Err(ScramError::Proof));
        assert_eq!(server.finish(last.replace("abcdef", "abcxyz").as_bytes()), Err(ScramError::Nonce));
        let other = client.respond(b"r=abd123,s=AAAA,i=4096");
        assert_eq!(other, Err(ScramError::Nonce));
        let endless = client.respond(b"r=abcd,s=AAAA,i=4000000000");
        assert_eq!(endless, Err(ScramError::Iterations(4_000_000_000)));
    }

    #[test]
    fn headers_with_and_without_binding_support() {
        for header in ["n,,", "y,,", "n,a=user,", "n,a=user@host,"] {
            let parsed = ClientFirst::parse(format!("{header}n=user,r=abc").as_bytes()).unwrap();
            assert_eq!((parsed.user.as_str(), parsed.gs2_header.as_str()), ("user", header));
        }
        assert_eq!(ClientFirst::parse(b"p=tls-exporter,,n=user,r=abc"), Err(ScramError::ChannelBinding));
        for bad in ["", "n,,", "n,,n=user", "n,,m=x,n=user,r=abc", "n,a=root,n=user,r=abc", "n,,n=a=b,r=abc"]
        {
            assert!(matches!(ClientFirst::parse(bad.as_bytes()), Err(ScramError::Malformed(_))), "{bad}");
        }
    }

    #[test]
    fn keys_survive_as_text() {
        let keys = ScramKeys::derive("secret");
        let again: ScramKeys = keys.to_string().parse().unwrap();
        assert_eq!(keys, again);
        assert!(again.verify("secret") && !again.verify("Secret"));
        assert!("scram:1:AAAA:x:::".parse::<ScramKeys>().is_err());
        assert!(!format!("{keys:?}").contains(&BASE64.encode(&keys.sha256.stored)));
    }

    #[test]
    fn a_decoy_keeps_its_salt() {
        let secret = [7; 32];
        let salt = |user| ScramKeys::decoy(user, &secret).salt;
        assert_eq!(salt("nobody"), salt("nobody"));
        assert_ne!(salt("nobody"), salt("no-one"));
    }
}
