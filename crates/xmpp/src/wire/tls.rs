//! TLS of both sides: the server's own certificate, and the ways a client may trust one.
//!
//! Configurations name the `ring` provider; the process-wide default is neither read nor set, because another library
//! may have set another one.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// How long a generated certificate is valid. Agents pin it, so that changing it is work: longer than most
/// installations live, yet before 2050, where the date format changes and old libraries stumble.
const VALIDITY: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Clocks of clients may be behind by this much.
const CLOCK_SKEW: Duration = Duration::from_secs(24 * 3600);

/// Why TLS could not be set up.
#[derive(Debug, Error)]
pub enum TlsError {
    #[error("cannot read or write \"{path}\": {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("\"{path}\" holds no usable PEM {what}: {reason}")]
    Pem { path: String, what: &'static str, reason: String },
    #[error("cannot generate a certificate for {names:?}: {reason}")]
    Generate { names: Vec<String>, reason: String },
    #[error("certificate and key are refused: {0}")]
    Refused(String),
    #[error("\"{0}\" is not a SHA-256 fingerprint of 64 hexadecimal digits")]
    Fingerprint(String),
    #[error("no trusted certificates found in this system")]
    NoSystemRoots,
}

/// A server's certificate chain and key, both as PEM.
#[derive(Clone)]
pub struct Identity {
    pub certificate_pem: String,
    pub key_pem: String,
}

/// How a client decides that a server is the right one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Certificates issued by the authorities that the operating system trusts.
    SystemRoots,
    /// Certificates issued by one of these, or equal to one of these (PEM): a certificate that `openssl req -x509`
    /// made calls itself an authority, and would be refused as a server's own if only issuers counted.
    Pem(String),
    /// Exactly the certificate with this SHA-256 fingerprint, whatever its name and dates.
    Fingerprint(Fingerprint),
    /// Anyone. Encrypts, but does not tell with whom.
    AcceptAny(AcceptAnyCertificateForTests),
}

impl Trust {
    /// A configuration for connections of any protocol to servers that are trusted so.
    ///
    /// # Errors
    /// Where a certificate can't be read, or the system has none.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        client_config(self)
    }
}

/// Has to be written out by whoever wants no protection against an impostor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptAnyCertificateForTests;

/// SHA-256 over the DER form of a certificate, as `openssl x509 -fingerprint -sha256` prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl Identity {
    /// A new self-signed ECDSA P-256 certificate for host names and IP addresses; the first name is its common name.
    pub fn generate(names: &[String]) -> Result<Self, TlsError> {
        let fail = |e: rcgen::Error| TlsError::Generate { names: names.to_vec(), reason: e.to_string() };
        let mut params = rcgen::CertificateParams::new(names.to_vec()).map_err(fail)?;
        let now = SystemTime::now();
        params.not_before = (now - CLOCK_SKEW).into();
        params.not_after = (now + VALIDITY).into();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(name) = names.first() {
            params.distinguished_name.push(rcgen::DnType::CommonName, name.as_str());
        }
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        let key = rcgen::KeyPair::generate().map_err(fail)?;
        let certificate = params.self_signed(&key).map_err(fail)?;
        Ok(Self { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// Reads `cert.pem` and `key.pem` of a folder. If neither exists, makes them, readable for the owner only.
    pub fn load_or_create(folder: &Path, names: &[String]) -> Result<Self, TlsError> {
        let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        if certificate.exists() || key.exists() {
            return Ok(Self { certificate_pem: read(&certificate)?, key_pem: read(&key)? });
        }
        let fresh = Self::generate(names)?;
        write_private(&key, &fresh.key_pem)?;
        write_private(&certificate, &fresh.certificate_pem)?;
        Ok(fresh)
    }

    /// What a client pins to trust exactly this.
    pub fn fingerprint(&self) -> Result<Fingerprint, TlsError> {
        Fingerprint::of_pem(&self.certificate_pem)
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}

impl Fingerprint {
    /// Of the first certificate in a PEM text.
    pub fn of_pem(pem: &str) -> Result<Self, TlsError> {
        let first = certificates(pem)?.into_iter().next();
        first.map(|c| Self::of_der(&c)).ok_or_else(|| no_pem("certificate", "there is none"))
    }

    fn of_der(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0
            .iter()
            .enumerate()
            .try_for_each(|(i, byte)| write!(f, "{}{byte:02X}", if i == 0 { "" } else { ":" }))
    }
}

impl std::str::FromStr for Fingerprint {
    type Err = TlsError;

    /// Hexadecimal digits in either case, with or without colons between.
    fn from_str(text: &str) -> Result<Self, TlsError> {
        let wrong = || TlsError::Fingerprint(text.to_owned());
        let digits: Option<Vec<u8>> =
            text.chars().filter(|c| *c != ':').map(|c| c.to_digit(16).map(|d| d as u8)).collect();
        let digits = digits.ok_or_else(wrong)?;
        let bytes: Vec<u8> =
            digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, d| byte << 4 | d)).collect();
        if digits.len() != 64 {
            return Err(wrong());
        }
        bytes.try_into().map(Self).map_err(|_| wrong())
    }
}

/// A server's configuration: TLS 1.2 and 1.3, no client certificates.
pub(crate) fn server_config(identity: &Identity) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(&identity.certificate_pem)?;
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())
        .map_err(|e| no_pem("key", &e.to_string()))?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .and_then(|b| b.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|e| TlsError::Refused(e.to_string()))?;
    Ok(Arc::new(config))
}

/// A client's configuration.
pub(crate) fn client_config(trust: &Trust) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| TlsError::Refused(e.to_string()))?;
    let config = match trust {
        Trust::SystemRoots => builder.with_root_certificates(system_roots()?).with_no_client_auth(),
        _ => {
            let verifier = Verifier::new(trust, &provider)?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
        }
    };
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    // Systems carry the odd certificate that rustls cannot read; the others are what matters.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(TlsError::NoSystemRoots) } else { Ok(roots) }
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match parsed {
        Ok(certificates) if certificates.is_empty() => Err(no_pem("certificate", "there is none")),
        Ok(certificates) => Ok(certificates),
        Err(e) => Err(no_pem("certificate", &e.to_string())),
    }
}

fn no_pem(what: &'static str, reason: &str) -> TlsError {
    TlsError::Pem { path: "the given text".to_owned(), what, reason: reason.to_owned() }
}

fn read(path: &Path) -> Result<String, TlsError> {
    fs::read_to_string(path).map_err(|source| TlsError::File { path: path.to_owned(), source })
}

/// Writes a new file that only its owner may read, from its first moment on.
fn write_private(path: &Path, text: &str) -> Result<(), TlsError> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|source| TlsError::File { path: path.to_owned(), source })
}

/// Which certificates are right, apart from the system's roots. The signature of the handshake is always verified:
/// without that anyone could present a certificate that is not his.
#[derive(Debug)]
struct Verifier {
    accept: Accept,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
enum Accept {
    Any,
    Fingerprint(Fingerprint),
    EqualOrIssued { equal: Vec<CertificateDer<'static>>, issued: Arc<WebPkiServerVerifier> },
}

impl Verifier {
    fn new(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let accept = match trust {
            Trust::AcceptAny(AcceptAnyCertificateForTests) => Accept::Any,
            Trust::Fingerprint(pin) => Accept::Fingerprint(*pin),
            Trust::Pem(pem) => Self::equal_or_issued(certificates(pem)?, provider)?,
            Trust::SystemRoots => {
                let roots = Arc::new(system_roots()?);
                Accept::EqualOrIssued { equal: Vec::new(), issued: Self::webpki(roots, provider)? }
            }
        };
        Ok(Self { accept, algorithms: provider.signature_verification_algorithms })
    }

    fn equal_or_issued(
        equal: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Accept, TlsError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(equal.clone());
        if roots.is_empty() {
            return Err(no_pem("certificate", "none of them can be parsed"));
        }
        Ok(Accept::EqualOrIssued { equal, issued: Self::webpki(Arc::new(roots), provider)? })
    }

    fn webpki(
        roots: Arc<RootCertStore>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
        WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
            .build()
            .map_err(|e| TlsError::Refused(e.to_string()))
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.accept {
            Accept::Any => Ok(ServerCertVerified::assertion()),
            Accept::Fingerprint(pin) if Fingerprint::of_der(end_entity) == *pin => {
                Ok(ServerCertVerified::assertion())
            }
            Accept::Fingerprint(_) => Err(CertificateError::ApplicationVerificationFailure.into()),
            Accept::EqualOrIssued { equal, .. } if equal.contains(end_entity) => {
                Ok(ServerCertVerified::assertion())
            }
            Accept::EqualOrIssued { issued, .. } => {
                issued.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        vec!["localhost".to_owned(), "127.0.0.1".to_owned()]
    }

    #[test]
    fn a_generated_certificate_is_kept_and_private() {
        let folder = std::env::temp_dir().join(format!("anabranch-xmpp-{:x}", rand::random::<u64>()));
        fs::create_dir(&folder).unwrap();
        let first = Identity::load_or_create(&folder, &names()).unwrap();
        let second = Identity::load_or_create(&folder, &names()).unwrap();
        assert_eq!(first.certificate_pem, second.certificate_pem);
        #[cfg(unix)]
        for file in ["cert.pem", "key.pem"] {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(folder.join(file)).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::remove_dir_all(&folder).unwrap();
        server_config(&first).unwrap();
        client_config(&Trust::Pem(first.certificate_pem.clone())).unwrap();
    }

    #[test]
    fn fingerprints_are_read_in_every_common_form() {
        let pin = Identity::generate(&names()).unwrap().fingerprint().unwrap();
        let text = pin.to_string();
        assert_eq!(text.len(), 64 + 31);
        assert_eq!(text.parse::<Fingerprint>().unwrap(), pin);
        assert_eq!(text.replace(':', "").to_lowercase().parse::<Fingerprint>().unwrap(), pin);
        assert!("ab:cd".parse::<Fingerprint>().is_err());
        assert!("xy".repeat(32).parse::<Fingerprint>().is_err());
    }
}
