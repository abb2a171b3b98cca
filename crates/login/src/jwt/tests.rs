use super::*;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;

/// Of no use elsewhere: made for these tests.
const RSA: &[u8] = include_bytes!("../../testdata/rsa.der");
/// Its modulus.
const RSA_N: &str = "tSyGILomUvr5G8YwTkglBjvbfWGn771Gn1UToVHkjKd5cw5z-uA09WqmL3lvRTOZslzrFC_fazYqvlskcA_eFcKbQKCKzNp7hEWokEg1k5V3LaByXQ69FVoBSI9t6UgouYxPXXj52U3cQupwn3vz8znysQXlpD9Ru8WzIlq_KpjisvyvfoLzfPux4tVU0cB5k35zxETWxb2Ehh0rvrLZ1tf8J70LF4_rmMNfbqtceTKjHoQ7byKJSKCZNzvAEQpa06BB5cyZczlIsoM0qCIqnajfftKFlztG-9U_FlwOMIfS2ndLnYxDvlO5ri0_ctLXQ9Md5IN9bHrlSXBv_eQf-Q";
const ISSUER: &str = "https://id.example.org";
/// When the tests take place.
const NOW: i64 = 1_700_000_000;

/// A key of an issuer, both halves.
pub(crate) struct Pair {
    algorithm: Algorithm,
    secret: EncodingKey,
    pub(crate) public: Value,
}

impl Pair {
    fn rsa() -> Self {
        let public = json!({ "kty": "RSA", "kid": "rsa", "n": RSA_N, "e": "AQAB" });
        Self { algorithm: Algorithm::RS256, secret: EncodingKey::from_rsa_der(RSA), public }
    }

    fn p256() -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let point = pair.public_key_raw();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        let public = json!({ "kty": "EC", "crv": "P-256", "kid": "p256", "use": "sig", "x": x, "y": y });
        Self { algorithm: Algorithm::ES256, secret: EncodingKey::from_ec_der(&pair.serialize_der()), public }
    }

    pub(crate) fn ed25519(name: &str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let x = URL_SAFE_NO_PAD.encode(pair.public_key_raw());
        let public = json!({ "kty": "OKP", "crv": "Ed25519", "kid": name, "alg": "EdDSA", "x": x });
        Self { algorithm: Algorithm::EdDSA, secret: EncodingKey::from_ed_der(&pair.serialize_der()), public }
    }

    /// A token with these claims, signed by it.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm.into());
        header.kid = self.public["kid"].as_str().map(str::to_owned);
        encode(&header, claims, &self.secret).unwrap()
    }
}

fn keys(of: &[&Pair]) -> KeySet {
    KeySet::read(&json!({ "keys": of.iter().map(|pair| &pair.public).collect::<Vec<_>>() })).unwrap()
}

fn rules(algorithms: &[Algorithm]) -> Rules {
    Rules { issuer: ISSUER.into(), audience: "anabranch".into(), algorithms: algorithms.to_vec() }
}

fn all() -> Rules {
    rules(&[Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA])
}

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

/// Claims that are taken, but for what is changed.
fn claims(changed: &Value) -> Value {
    let mut claims = json!({ "iss": ISSUER, "aud": "anabranch", "sub": "anna", "exp": NOW + 300 });
    for (name, value) in changed.as_object().unwrap() {
        let members = claims.as_object_mut().unwrap();
        if value.is_null() {
            members.remove(name)
        } else {
            members.insert(name.clone(), value.clone())
        };
    }
    claims
}

/// What is said to good claims that are changed so.
fn said(changed: &Value) -> String {
    let pair = Pair::ed25519("a");
    match verify(&pair.sign(&claims(changed)), &keys(&[&pair]), &all(), now()) {
        Ok(_claims) => "taken".into(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn each_algorithm_is_taken_where_it_is_allowed_and_refused_where_not() {
    let pairs = [Pair::rsa(), Pair::p256(), Pair::ed25519("ed")];
    let keys = keys(&pairs.iter().collect::<Vec<_>>());
    for pair in &pairs {
        let token = pair.sign(&claims(&json!({})));
        for allowed in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
            let verified = verify(&token, &keys, &rules(&[allowed]), now());
            if allowed == pair.algorithm {
                assert_eq!(verified.unwrap()["sub"], "anna");
            } else {
                assert!(verified.unwrap_err().to_string().contains("not allowed"), "{:?}", pair.algorithm);
            }
        }
    }
}

#[test]
fn a_token_that_nobody_signed_is_refused() {
    let pair = Pair::rsa();
    let (keys, claims) = (keys(&[&pair]), claims(&json!({})));
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    for alg in ["none", "None", "NONE", ""] {
        let head = part(&json!({ "alg": alg, "kid": "rsa" }));
        for signature in ["", "AAAA"] {
            let token = format!("{head}.{}.{signature}", part(&claims));
            assert!(matches!(verify(&token, &keys, &all(), now()), Err(TokenRefused::Bad(_))), "{alg}");
        }
    }
    let token = pair.sign(&claims);
    let parts: Vec<&str> = token.split('.').collect();
    let boss = claims.to_string().replace("anna", "boss");
    let forged = format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(boss), parts[2]);
    assert_eq!(verify(&forged, &keys, &all(), now()), Err(TokenRefused::Signature));
    assert_eq!(verify(&token, &KeySet::default(), &all(), now()), Err(TokenRefused::UnknownKey));
}

#[test]
fn a_public_key_is_no_shared_secret() {
    let pair = Pair::rsa();
    let modulus = decoded(RSA_N).unwrap();
    // The ways to write the public key of which each has once been a hole in some library.
    for secret in [modulus.as_slice(), RSA_N.as_bytes(), pair.public.to_string().as_bytes()] {
        let mut header = Header::new(jsonwebtoken::Algorithm::HS256);
        header.kid = Some("rsa".into());
        let secret = EncodingKey::from_secret(secret).unwrap();
        let token = encode(&header, &claims(&json!({})), &secret).unwrap();
        let refused = verify(&token, &keys(&[&pair]), &all(), now()).unwrap_err();
        assert!(refused.to_string().contains("HS256, which is not allowed"), "{refused}");
    }
}

#[test]
fn a_key_signs_in_its_own_way_only() {
    let (rsa, ed) = (Pair::rsa(), Pair::ed25519("rsa"));
    // A token says EdDSA and names the RSA key.
    let refused = verify(&ed.sign(&claims(&json!({}))), &keys(&[&rsa]), &all(), now()).unwrap_err();
    assert_eq!(refused, TokenRefused::UnknownKey);
}

#[test]
fn a_token_with_demands_that_nobody_here_knows_is_refused() {
    let pair = Pair::ed25519("a");
    let mut header = Header::new(jsonwebtoken::Algorithm::EdDSA);
    header.crit = Some(vec!["exp2".into()]);
    let token = encode(&header, &claims(&json!({})), &pair.secret).unwrap();
    assert!(verify(&token, &keys(&[&pair]), &all(), now()).is_err());
}

#[test]
fn exp_is_the_end() {
    assert_eq!(said(&json!({ "exp": NOW - 59 })), "taken", "clocks differ");
    assert_eq!(said(&json!({ "exp": NOW as f64 + 0.5 })), "taken");
    for over in [NOW - 60, 0, -5] {
        assert_eq!(said(&json!({ "exp": over })), "its time is over ('exp')");
    }
    assert_eq!(said(&json!({ "exp": null })), "it has no end ('exp')");
    assert_eq!(said(&json!({ "exp": (NOW + 300).to_string() })), "'exp' is no number");
}

#[test]
fn nbf_is_the_begin() {
    assert_eq!(said(&json!({ "nbf": NOW + 60 })), "taken", "clocks differ");
    assert_eq!(said(&json!({ "nbf": NOW + 61 })), "its time has not come ('nbf')");
    assert_eq!(said(&json!({ "nbf": "0" })), "'nbf' is no number");
}

#[test]
fn aud_is_us() {
    assert_eq!(said(&json!({ "aud": ["other", "anabranch"] })), "taken");
    for other in [json!("other"), json!([]), json!(["other"]), json!(5), json!("anabranch2"), json!(null)] {
        assert_eq!(said(&json!({ "aud": other })), "it is for somebody else ('aud')");
    }
}

#[test]
fn iss_is_the_issuer_to_the_letter() {
    for other in
        [json!("https://id.example.org/"), json!([ISSUER]), json!("https://evil.example"), json!(null)]
    {
        assert_eq!(said(&json!({ "iss": other })), "it is of another issuer ('iss')");
    }
}

#[test]
fn keys_that_are_weak_broken_or_for_something_else_are_none() {
    let (rsa, ec, ed) = (Pair::rsa().public, Pair::p256().public, Pair::ed25519("a").public);
    let changed = |key: &Value, name: &str, value: Value| {
        let mut key = key.clone();
        key[name] = value;
        key
    };
    let x57 = URL_SAFE_NO_PAD.encode([1; 57]);
    for bad in [
        changed(&rsa, "n", json!(&RSA_N[..100])),
        changed(&rsa, "n", json!("A".repeat(3000))),
        changed(&rsa, "use", json!("enc")),
        changed(&rsa, "alg", json!("RS512")),
        changed(&ec, "crv", json!("P-384")),
        changed(&ed, "x", json!("AAAA")),
        changed(&ed, "x", json!(x57)),
        changed(&ed, "crv", json!("X25519")),
        json!({ "kty": "oct", "k": "c2VjcmV0", "alg": "HS256" }),
        json!(5),
    ] {
        assert!(!KeySet::read(&json!({ "keys": [bad] })).unwrap().has(None), "{bad}");
    }
    assert!(KeySet::read(&json!({ "keys": [rsa, ec, ed] })).unwrap().has(Some("p256")));
    assert!(KeySet::read(&json!([])).is_err());
}

#[test]
fn only_a_token_of_three_parts_names_an_issuer() {
    let claims = URL_SAFE_NO_PAD.encode(r#"{"iss":"https://h"}"#);
    assert_eq!(issuer_of(&format!("x.{claims}.y")).as_deref(), Some("https://h"));
    for bad in ["", "..", "x.y.z", &format!("x.{claims}"), &format!("x.{claims}.y.z"), &"x".repeat(99_999)] {
        assert_eq!(issuer_of(bad), None);
    }
}
