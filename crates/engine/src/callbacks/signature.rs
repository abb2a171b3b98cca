//! The signature of a callback: who knows the secret can tell that it comes from this server, and when.

use anabranch_model::Timestamp;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// The header that holds the signature.
pub(super) const HEADER: &str = "Anabranch-Signature";

/// `t=<seconds since 1970>,v1=<HMAC-SHA256 of "<seconds>.<body>" in hexadecimal>`. The time is signed too, so that a
/// receiver can refuse what somebody has kept and sends again.
pub(super) fn sign(secret: &[u8], at: Timestamp, body: &[u8]) -> String {
    let seconds = at.as_second();
    // HMAC takes keys of any length, so this can't fail; an empty key would only make signatures that nobody accepts.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret)
        .unwrap_or_else(|_any_length| Hmac::<Sha256>::new(&[0; 64].into()));
    mac.update(seconds.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={seconds},v1={hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_covers_time_and_body() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac secret
        assert_eq!(
            sign(b"secret", at(1_700_000_000), br#"{"a":1}"#),
            "t=1700000000,v1=49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686"
        );
        assert_ne!(sign(b"secret", at(1), b"x"), sign(b"secret", at(2), b"x"));
        assert_ne!(sign(b"secret", at(1), b"x"), sign(b"Secret", at(1), b"x"));
    }
}
