//! TLS for HTTP: certificate and key from files, taken up anew when these change. Connections that are open go on with what they began with.

use anyhow::{Context as _, ensure};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_parser::extensions::GeneralName;

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(1);

/// `[http.tls]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// PEM file: the certificate, and those between it and its authority.
    pub(crate) certificate: PathBuf,
    /// PEM file.
    pub(crate) key: PathBuf,
    /// PEM file with authorities whose client certificates log in their subjects; none where it is left out.
    #[serde(default)]
    pub(crate) client_ca: Option<PathBuf>,
}

/// TLS with the certificate of now.
pub(crate) struct Tls {
    config: Config,
    current: Mutex<Current>,
}

struct Current {
    looked: Instant,
    marks: Marks,
    server: Arc<ServerConfig>,
}

/// Times and lengths of the files.
type Marks = Vec<Option<(SystemTime, u64)>>;

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// Names the file that can't be used.
    pub(crate) fn open(config: Config) -> anyhow::Result<Self> {
        let current = Current { looked: Instant::now(), marks: marks(&config), server: load(&config)? };
        Ok(Self { config, current: Mutex::new(current) })
    }

    /// Begins TLS on a connection; gives the user that a client certificate names too.
    ///
    /// # Errors
    /// Where the client does not speak TLS, or not well.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
    ) -> std::io::Result<(TlsStream<TcpStream>, Option<String>)> {
        let stream = TlsAcceptor::from(self.server()).accept(stream).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let user = certificate.and_then(user_of);
        Ok((stream, user))
    }

    /// Where new files can't be used, the old ones hold: an operator who writes one after the other cuts nobody off.
    fn server(&self) -> Arc<ServerConfig> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked.elapsed() >= LOOK {
            current.looked = Instant::now();
            let now = marks(&self.config);
            if now != current.marks {
                match load(&self.config) {
                    Ok(server) => {
                        tracing::info!("a new certificate for HTTP is in use");
                        current.server = server;
                    }
                    Err(error) => {
                        tracing::error!(
                            error = format!("{error:#}"),
                            "the new certificate can't be used: the last one holds"
                        );
                    }
                }
                current.marks = now;
            }
        }
        Arc::clone(&current.server)
    }
}

fn marks(config: &Config) -> Marks {
    let mark = |path: &PathBuf| {
        let found = fs::metadata(path).ok()?;
        Some((found.modified().ok()?, found.len()))
    };
    [Some(&config.certificate), Some(&config.key), config.client_ca.as_ref()]
        .into_iter()
        .flatten()
        .map(mark)
        .collect()
}

fn load(config: &Config) -> anyhow::Result<Arc<ServerConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = certificates(&config.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&config.key)
        .with_context(|| format!("http.tls.key: {} holds no private key in PEM", config.key.display()))?;
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match &config.client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(file)? {
                roots.add(certificate).with_context(|| format!("http.tls.client_ca: {}", file.display()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.allow_unauthenticated().build()?)
        }
    };
    let mut server = builder
        .with_single_cert(chain, key)
        .with_context(|| format!("http.tls: {} and its key", config.certificate.display()))?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(server))
}

fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(file)?.collect::<Result<Vec<_>, _>>();
    let all = read().with_context(|| format!("http.tls: can't read certificates from {}", file.display()))?;
    ensure!(!all.is_empty(), "http.tls: {} holds no certificate in PEM", file.display());
    Ok(all)
}

/// The user of a certificate whose authority is trusted: the e-mail address among its subject's alternative names, else its common name.
fn user_of(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok().flatten();
    let email = names.and_then(|names| {
        names.value.general_names.iter().find_map(|name| match name {
            GeneralName::RFC822Name(email) => Some((*email).to_owned()),
            _ => None,
        })
    });
    email.or_else(|| Some(parsed.subject().iter_common_name().next()?.as_str().ok()?.to_owned()))
}
