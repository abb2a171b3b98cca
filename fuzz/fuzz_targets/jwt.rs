//! Tokens of issuers and their sets of keys: a token in the first line and keys in the rest; and claims that a good key has signed.
#![no_main]

use anabranch_login::Algorithm;
use anabranch_login::jwt::{KeySet, Rules, issuer_of, verify};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Map, Value, json};

/// The example of RFC 8037, appendix A: a secret key in the form of PKCS #8, and the public one.
const SECRET: &[u8; 48] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20\
    \x9d\x61\xb1\x9d\xef\xfd\x5a\x60\xba\x84\x4a\xf4\x92\xec\x2c\xc4\x44\x49\xc5\x69\x7b\x32\x69\x19\x70\x3b\xac\x03\x1c\xae\x7f\x60";
const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let now = "2026-11-29T00:00:00Z".parse().expect("a time");
    let rules = Rules {
        issuer: "https://id.example.org".into(),
        audience: "anabranch".into(),
        algorithms: vec![Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA],
    };
    let own = KeySet::read(&json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": PUBLIC }] })).expect("keys");

    let (token, set) = text.split_once('\n').unwrap_or((text, ""));
    let _named = issuer_of(token);
    assert!(verify(token, &own, &rules, now).is_err(), "nobody has signed that");
    if let Ok(keys) = serde_json::from_str(set).map_err(drop).and_then(|set| KeySet::read(&set).map_err(drop)) {
        let _verified = verify(token, &keys, &rules, now);
    }

    let Ok(claims) = serde_json::from_str::<Map<String, Value>>(text) else { return };
    let header = Header::new(jsonwebtoken::Algorithm::EdDSA);
    let token = encode(&header, &claims, &EncodingKey::from_ed_der(SECRET)).expect("claims can be signed");
    if let Ok(verified) = verify(&token, &own, &rules, now) {
        assert_eq!(verified["iss"], "https://id.example.org");
        assert!(verified["exp"].as_f64().is_some_and(|end| end > 1.7e9) && verified.contains_key("aud"));
    }
});
