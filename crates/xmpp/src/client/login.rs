//! From a host name to a bound session (RFC 6120 §4 to §7), the client's side.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use minidom::Element;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{ClientConfig, ClientError, Security};
use crate::wire::ns;
use crate::wire::scram::{ClientScram, Hash, ScramError, nonce};
use crate::wire::stanza::{ElementExt, error_condition, iq};
use crate::wire::stream::{Features, Io, Silence, Stream, StreamFailure, stream_error_condition};

/// Why there is no session.
#[derive(Debug, Error)]
pub(super) enum LoginError {
    /// Trying again is pointless.
    #[error(transparent)]
    Fatal(#[from] ClientError),
    /// The server or the network may be better later.
    #[error("{0}")]
    Transient(String),
}

impl From<StreamFailure> for LoginError {
    fn from(failure: StreamFailure) -> Self {
        Self::Transient(failure.to_string())
    }
}

impl From<std::io::Error> for LoginError {
    fn from(e: std::io::Error) -> Self {
        Self::Transient(e.to_string())
    }
}

/// The session's stream and its full JID.
pub(super) async fn connect(
    config: &ClientConfig,
    tls: Option<&Arc<rustls::ClientConfig>>,
) -> Result<(Stream, String), LoginError> {
    let tcp = TcpStream::connect((config.host.as_str(), config.port)).await?;
    tcp.set_nodelay(true)?;
    let io: Box<dyn Io> = Box::new(tcp);
    let (features, stream) = match (&config.security, tls) {
        (Security::DirectTls(_), Some(tls)) => open(config, handshake(config, tls, io).await?).await?,
        (Security::StartTls(_), Some(tls)) => open(config, starttls(config, tls, io).await?).await?,
        _ => open(config, io).await?,
    };
    let stream = log_in(config, stream, &features).await?;
    let (features, stream) = read_features(config, stream.initiate_reset(&config.domain).await?).await?;
    if !features.bind {
        return Err(LoginError::Transient("the server offers no resource binding".to_owned()));
    }
    bind(config, stream).await
}

/// Silence is dealt with by pings of our own; these only stop a stream on which nothing works any more.
fn silence(config: &ClientConfig) -> Silence {
    Silence {
        ask_after: config.limits.connect_timeout.max(super::session::SILENCE),
        answer_within: super::session::SILENCE,
    }
}

async fn open(config: &ClientConfig, io: Box<dyn Io>) -> Result<(Features, Stream), LoginError> {
    let bytes_max = config.limits.stanza_before_login_bytes_max;
    let stream = Stream::initiate(io, &config.domain, bytes_max, silence(config)).await?;
    read_features(config, stream).await
}

async fn read_features(config: &ClientConfig, mut stream: Stream) -> Result<(Features, Stream), LoginError> {
    let element = expect(&mut stream).await?;
    match Features::from_element(&element) {
        Some(features) => Ok((features, stream)),
        None => Err(unexpected(config, &element)),
    }
}

/// The next element, with stream errors taken out.
async fn expect(stream: &mut Stream) -> Result<Element, LoginError> {
    let element = stream.expect_element().await?;
    match stream_error_condition(&element) {
        Some(condition) => Err(LoginError::Transient(format!("the server closed the stream: {condition}"))),
        None => Ok(element),
    }
}

fn unexpected(config: &ClientConfig, element: &Element) -> LoginError {
    LoginError::Transient(format!("\"{}\" sent \"{}\" out of turn", config.host, element.name()))
}

/// RFC 6120 §5.4.
async fn starttls(
    config: &ClientConfig,
    tls: &Arc<rustls::ClientConfig>,
    io: Box<dyn Io>,
) -> Result<Box<dyn Io>, LoginError> {
    let (features, mut stream) = open(config, io).await?;
    if !features.starttls {
        return Err(ClientError::TlsNotOffered { host: config.host.clone() }.into());
    }
    stream.send(&Element::bare("starttls", ns::TLS)).await?;
    let answer = expect(&mut stream).await?;
    if !answer.is("proceed", ns::TLS) {
        return Err(LoginError::Transient("the server refused to start TLS".to_owned()));
    }
    handshake(config, tls, stream.into_io()).await
}

async fn handshake(
    config: &ClientConfig,
    tls: &Arc<rustls::ClientConfig>,
    io: Box<dyn Io>,
) -> Result<Box<dyn Io>, LoginError> {
    let name = ServerName::try_from(config.domain.clone()).map_err(|e| ClientError::Config {
        what: "domain",
        value: config.domain.clone(),
        reason: e.to_string(),
    })?;
    match TlsConnector::from(Arc::clone(tls)).connect(name, io).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(e) => Err(certificate_error(config, &e).map_or_else(|| e.into(), LoginError::Fatal)),
    }
}

/// A certificate that is refused will be refused again; any other failure of TLS may be a broken connection.
fn certificate_error(config: &ClientConfig, e: &std::io::Error) -> Option<ClientError> {
    let reason = match e.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(rustls::CertificateError::ApplicationVerificationFailure) => {
            "it is not the pinned one".to_owned()
        }
        rustls::Error::InvalidCertificate(reason) => reason.to_string(),
        _ => return None,
    };
    Some(ClientError::Certificate { host: config.host.clone(), reason })
}

/// The best mechanism on offer (RFC 6120 §6.3.3). SCRAM with channel binding is not among them: the server must then
/// be one that does not insist on it.
async fn log_in(
    config: &ClientConfig,
    mut stream: Stream,
    features: &Features,
) -> Result<Stream, LoginError> {
    let offers = |name: &str| features.mechanisms.iter().any(|m| m == name);
    let secure = config.security != Security::Plaintext;
    let hash = [Hash::Sha256, Hash::Sha1].into_iter().find(|hash| offers(hash.mechanism()));
    match hash {
        Some(hash) => scram(config, &mut stream, hash).await?,
        None if secure && offers("PLAIN") => plain(config, &mut stream).await?,
        None => {
            let offered = features.mechanisms.join(", ");
            return Err(ClientError::NoMechanism { host: config.host.clone(), offered }.into());
        }
    }
    Ok(stream)
}

fn auth(mechanism: &str, data: &str) -> Element {
    Element::bare("auth", ns::SASL).with("mechanism", mechanism).with_text(&BASE64.encode(data))
}

/// RFC 4616.
async fn plain(config: &ClientConfig, stream: &mut Stream) -> Result<(), LoginError> {
    let message = format!("\0{}\0{}", config.user, config.password);
    stream.send(&auth("PLAIN", &message)).await?;
    let answer = expect(stream).await?;
    check_failure(config, &answer)?;
    if answer.is("success", ns::SASL) { Ok(()) } else { Err(unexpected(config, &answer)) }
}

/// RFC 5802 §5. The server's last message may come in a challenge of its own or with the success.
async fn scram(config: &ClientConfig, stream: &mut Stream, hash: Hash) -> Result<(), LoginError> {
    let mut client = ClientScram::new(hash, &config.user, &config.password, &nonce());
    stream.send(&auth(hash.mechanism(), &client.first())).await?;
    let challenge = expect(stream).await?;
    check_failure(config, &challenge)?;
    let data = data(config, &challenge)?;
    // Off the async tasks: a server may ask for a second's worth of hashing.
    let answered = tokio::task::spawn_blocking(move || {
        let answer = client.respond(&data);
        (client, answer)
    });
    let (client, answer) = answered.await.map_err(|e| LoginError::Transient(e.to_string()))?;
    let answer = answer.map_err(|e| LoginError::Transient(e.to_string()))?;
    stream.send(&Element::bare("response", ns::SASL).with_text(&BASE64.encode(answer))).await?;

    let mut verified = false;
    loop {
        let element = expect(stream).await?;
        check_failure(config, &element)?;
        let is_success = element.is("success", ns::SASL);
        if !is_success && !element.is("challenge", ns::SASL) {
            return Err(unexpected(config, &element));
        }
        if !verified {
            client.verify(&data_or_nothing(config, &element)?).map_err(|e| not_authentic(config, e))?;
            verified = true;
        }
        if is_success {
            return Ok(());
        }
        stream.send(&Element::bare("response", ns::SASL)).await?;
    }
}

fn not_authentic(config: &ClientConfig, _: ScramError) -> ClientError {
    ClientError::ServerNotAuthentic { host: config.host.clone() }
}

fn data(config: &ClientConfig, element: &Element) -> Result<Vec<u8>, LoginError> {
    if !element.is("challenge", ns::SASL) {
        return Err(unexpected(config, element));
    }
    data_or_nothing(config, element)
}

fn data_or_nothing(config: &ClientConfig, element: &Element) -> Result<Vec<u8>, LoginError> {
    match element.text().trim() {
        "=" | "" => Ok(Vec::new()),
        text => BASE64.decode(text).map_err(|_| unexpected(config, element)),
    }
}

/// RFC 6120 §6.5: what concerns the credentials is fatal, the rest may pass.
fn check_failure(config: &ClientConfig, element: &Element) -> Result<(), LoginError> {
    if !element.is("failure", ns::SASL) {
        return Ok(());
    }
    let condition =
        element.children().find(|c| c.name() != "text").map_or("not-authorized", Element::name).to_owned();
    Err(match condition.as_str() {
        "not-authorized" | "account-disabled" | "credentials-expired" | "invalid-authzid" => {
            let (user, host) = (config.user.clone(), config.host.clone());
            ClientError::WrongPassword { user, host, condition }.into()
        }
        _ => LoginError::Transient(format!("login failed for now: {condition}")),
    })
}

/// RFC 6120 §7.
async fn bind(config: &ClientConfig, mut stream: Stream) -> Result<(Stream, String), LoginError> {
    let resource = Element::bare("resource", ns::BIND).with_text(&config.resource);
    let request = iq("set", "bind", None).with_child(Element::bare("bind", ns::BIND).with_child(resource));
    stream.send(&request).await?;
    let answer = expect(&mut stream).await?;
    if answer.attr("type") == Some("error") {
        return Err(LoginError::Transient(format!("resource refused: {}", error_condition(&answer))));
    }
    let jid =
        answer.get_child("bind", ns::BIND).and_then(|b| b.get_child("jid", ns::BIND)).map(Element::text);
    let jid = jid.ok_or_else(|| unexpected(config, &answer))?;
    stream.set_bytes_max(config.limits.stanza_bytes_max);
    Ok((stream, jid))
}
