//! The encrypted upload password of WPS Remote's `remote.config`: base64 of RSA without padding, as its `encryptor` writes it.
//!
//! Without padding the same password gives the same text under the same key, so that a guess can be tried by anybody with the public
//! key. It is read and written for files that exist; a file or variable of the agent's own account keeps a secret better.
//!
//! Keys are those of `openssl genrsa -des3` and `openssl rsa -pubout`: PEM by PKCS#8 or PKCS#1, encrypted or not. Of OpenSSL's old
//! encryption ("Proc-Type: 4,ENCRYPTED") DES-EDE3-CBC is read, which is what `-des3` gives.

use anyhow::{Context as _, anyhow, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt as _, KeyIvInit as _};
use md5::{Digest as _, Md5};
use rsa::pkcs1::{DecodeRsaPrivateKey as _, DecodeRsaPublicKey as _};
use rsa::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _};
use rsa::traits::PublicKeyParts as _;
use rsa::{BoxedUint, PrivateKey, PublicKey, hazmat};

/// Key of DES-EDE3, in bytes.
const TDES_KEY_BYTES: usize = 24;

/// Salt and initial vector of OpenSSL's old encryption, in bytes.
const TDES_IV_BYTES: usize = 8;

/// Encrypts a password for the holder of the private key.
///
/// # Errors
/// Where the text is no public key, or the password does not fit it.
pub(crate) fn encrypt(public_key: &str, password: &str) -> anyhow::Result<String> {
    let key = if public_key.contains("BEGIN RSA PUBLIC KEY") {
        PublicKey::from_pkcs1_pem(public_key).map_err(|error| anyhow!("no RSA public key: {error}"))?
    } else {
        PublicKey::from_public_key_pem(public_key).map_err(|error| anyhow!("no RSA public key: {error}"))?
    };
    ensure!(!password.is_empty(), "the password is empty");
    ensure!(
        password.len() < key.size(),
        "the password has {} bytes, and the key takes {} at most",
        password.len(),
        key.size() - 1
    );
    let number = number(password.as_bytes(), &key)?;
    let encrypted = hazmat::rsa_encrypt(&key, &number).context("the password can't be encrypted")?;
    Ok(STANDARD.encode(significant(&encrypted.to_be_bytes())))
}

/// Decrypts a password.
///
/// # Errors
/// Where key, passphrase or text are wrong; says which.
pub(crate) fn decrypt(private_key: &str, passphrase: &str, encrypted: &str) -> anyhow::Result<String> {
    let key = read_private_key(private_key, passphrase)?;
    let text: String = encrypted.split_whitespace().collect();
    let bytes = STANDARD.decode(text).context("the encrypted password is no base64")?;
    ensure!(bytes.len() <= key.size(), "the encrypted password is longer than its key");
    let number = number(&bytes, &key)?;
    // Without blinding: who could measure it, the agent's own account, has the key.
    let password = hazmat::rsa_decrypt::<rand::rngs::SysRng>(None, &key, &number)
        .context("the encrypted password is not of this key")?;
    String::from_utf8(significant(&password.to_be_bytes()).to_vec())
        .ok()
        .filter(|text| !text.is_empty() && !text.contains(char::is_control))
        .context("the encrypted password is not of this key: what comes out is no text")
}

fn number(bytes: &[u8], key: &impl rsa::traits::PublicKeyParts) -> anyhow::Result<BoxedUint> {
    BoxedUint::from_be_slice(bytes, key.n_bits_precision())
        .map_err(|error| anyhow!("it does not fit the key: {error}"))
}

/// Without zeros in front: the original keeps numbers, not bytes.
fn significant(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

fn read_private_key(pem: &str, passphrase: &str) -> anyhow::Result<PrivateKey> {
    let failed =
        |error: &dyn std::fmt::Display| anyhow!("no RSA private key, or a wrong passphrase: {error}");
    if pem.contains("BEGIN ENCRYPTED PRIVATE KEY") {
        return PrivateKey::from_pkcs8_encrypted_pem(pem, passphrase).map_err(|error| failed(&error));
    }
    if pem.contains("BEGIN PRIVATE KEY") {
        return PrivateKey::from_pkcs8_pem(pem).map_err(|error| failed(&error));
    }
    if pem.contains("Proc-Type: 4,ENCRYPTED") {
        let der = decrypt_old_pem(pem, passphrase)?;
        return PrivateKey::from_pkcs1_der(&der).map_err(|error| failed(&error));
    }
    PrivateKey::from_pkcs1_pem(pem).map_err(|error| failed(&error))
}

/// OpenSSL's encryption of PEM files before PKCS#8 (`PEM_BytesToKey` with MD5).
fn decrypt_old_pem(pem: &str, passphrase: &str) -> anyhow::Result<Vec<u8>> {
    let info =
        pem.lines().find_map(|line| line.strip_prefix("DEK-Info:")).context("the key has no DEK-Info")?;
    let Some(iv) = info.trim().strip_prefix("DES-EDE3-CBC,") else {
        bail!("the key is encrypted by {}, of which only DES-EDE3-CBC is read", info.trim());
    };
    let iv = unhex(iv.trim())
        .filter(|iv| iv.len() == TDES_IV_BYTES)
        .context("the key's DEK-Info is no 8 bytes")?;
    let is_body = |line: &&str| !line.starts_with("-----") && !line.contains(':');
    let body: String = pem.lines().map(str::trim).filter(is_body).collect();
    let bytes = STANDARD.decode(body).context("the key is no base64")?;
    let mut key = Vec::new();
    while key.len() < TDES_KEY_BYTES {
        let mut digest = Md5::new();
        let last = key.len().saturating_sub(16);
        digest.update(&key[last..]);
        digest.update(passphrase);
        digest.update(&iv);
        key.extend_from_slice(&digest.finalize());
    }
    let cipher = cbc::Decryptor::<des::TdesEde3>::new_from_slices(&key[..TDES_KEY_BYTES], &iv)
        .map_err(|error| anyhow!("the key can't be decrypted: {error}"))?;
    cipher.decrypt_padded_vec::<Pkcs7>(&bytes).map_err(|_wrong| anyhow!("the passphrase is wrong"))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text.chars().map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    digits.chunks(2).map(|pair| u8::try_from(pair.first()? * 16 + pair.get(1)?).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = include_str!("../testdata/upload-key/old.pem");
    const PKCS8: &str = include_str!("../testdata/upload-key/pkcs8.pem");
    const PUBLIC: &str = include_str!("../testdata/upload-key/public.pem");
    /// "s3cret päss" as the original's `encryptor` writes it: `pow(m, e, n)` in Python, in base64.
    const ENCRYPTED: &str = include_str!("../testdata/upload-key/encrypted.txt");

    #[test]
    fn passwords_of_the_original_are_read_with_both_forms_of_key() {
        for key in [OLD, PKCS8] {
            assert_eq!(decrypt(key, "f00bar", ENCRYPTED).unwrap(), "s3cret päss");
        }
    }

    #[test]
    fn passwords_are_written_as_the_original_does() {
        assert_eq!(encrypt(PUBLIC, "s3cret päss").unwrap(), ENCRYPTED.trim());
        assert!(encrypt(PUBLIC, "").is_err());
        let long = encrypt(PUBLIC, &"x".repeat(256)).unwrap_err().to_string();
        assert_eq!(long, "the password has 256 bytes, and the key takes 255 at most");
    }

    #[test]
    fn what_is_wrong_is_told() {
        let fault =
            |key: &str, passphrase: &str, text: &str| decrypt(key, passphrase, text).unwrap_err().to_string();
        assert!(fault(OLD, "wrong", ENCRYPTED).contains("passphrase"));
        assert!(fault(PKCS8, "wrong", ENCRYPTED).contains("passphrase"));
        assert_eq!(fault(OLD, "f00bar", "?"), "the encrypted password is no base64");
        assert!(fault(OLD, "f00bar", "AAAA").contains("is not of this key"));
        assert!(fault(PUBLIC, "", ENCRYPTED).contains("no RSA private key"));
        let aes = OLD.replace("DES-EDE3-CBC", "RC2-40-CBC");
        assert!(fault(&aes, "f00bar", ENCRYPTED).contains("only DES-EDE3-CBC is read"));
    }
}
