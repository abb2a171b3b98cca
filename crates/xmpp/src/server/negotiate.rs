//! From a fresh connection to a bound session (RFC 6120 §4.3): TLS, login, resource.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use minidom::Element;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::Context;
use super::domain::BindError;
use super::router::{Attached, tally};
use crate::wire::ns;
use crate::wire::scram::{ClientFirst, Hash, ScramKeys, nonce};
use crate::wire::stanza::{Condition, ElementExt, NodePart, bounce, iq_result};
use crate::wire::stream::{AcceptedStream, Features, Io, Stream, StreamFailure};

/// How TLS begins on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Port {
    /// In the clear, TLS on request (usually 5222).
    StartTls,
    /// At once (usually 5223).
    DirectTls,
}

/// Why there was no session. Where the peer can be told, it has been.
#[derive(Debug, Error)]
pub(super) enum NegotiationError {
    #[error("TLS handshake failed: {0}")]
    Tls(std::io::Error),
    #[error("the port is for TLS, and there is no certificate")]
    NoCertificate,
    #[error(transparent)]
    Stream(#[from] StreamFailure),
    #[error("the client asked for domain \"{0}\"")]
    WrongDomain(String),
    #[error("{0} failed logins")]
    TooManyLogins(usize),
    #[error("unexpected element \"{0}\"")]
    Unexpected(String),
    #[error(transparent)]
    Bind(#[from] BindError),
}

impl From<std::io::Error> for NegotiationError {
    fn from(e: std::io::Error) -> Self {
        Self::Stream(e.into())
    }
}

/// A login that failed, in the words of RFC 6120 §6.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LoginFailure {
    IncorrectEncoding,
    InvalidMechanism,
    MalformedRequest,
    NotAuthorized,
    TemporaryAuthFailure,
    Aborted,
}

impl LoginFailure {
    fn name(self) -> &'static str {
        match self {
            Self::IncorrectEncoding => "incorrect-encoding",
            Self::InvalidMechanism => "invalid-mechanism",
            Self::MalformedRequest => "malformed-request",
            Self::NotAuthorized => "not-authorized",
            Self::TemporaryAuthFailure => "temporary-auth-failure",
            Self::Aborted => "aborted",
        }
    }
}

/// A user who has logged in, and the element that tells so.
struct LoggedIn {
    user: String,
    success: Element,
}

/// One connection on its way.
pub(super) struct Negotiation<'a> {
    pub(super) context: &'a Arc<Context>,
    pub(super) peer: SocketAddr,
    /// Whether TLS protects the connection by now.
    secure: bool,
}

impl<'a> Negotiation<'a> {
    pub(super) fn new(context: &'a Arc<Context>, peer: SocketAddr) -> Self {
        Self { context, peer, secure: false }
    }

    pub(super) async fn run(
        mut self,
        tcp: TcpStream,
        port: Port,
    ) -> Result<(Stream, Attached), NegotiationError> {
        let mut io: Box<dyn Io> = Box::new(tcp);
        if port == Port::DirectTls {
            io = self.handshake(io).await?;
        }
        let (accepted, user) = self.log_in(io).await?;
        self.bind(accepted, &user).await
    }

    async fn handshake(&mut self, io: Box<dyn Io>) -> Result<Box<dyn Io>, NegotiationError> {
        let config = self.context.tls.as_ref().ok_or(NegotiationError::NoCertificate)?;
        let stream = TlsAcceptor::from(Arc::clone(config)).accept(io).await.map_err(NegotiationError::Tls)?;
        self.secure = true;
        Ok(Box::new(stream))
    }

    async fn accept(&self, io: Box<dyn Io>) -> Result<AcceptedStream, NegotiationError> {
        let bytes_max = self.context.limits.stanza_before_login_bytes_max;
        let accepted = Stream::accept(io, bytes_max, self.context.silence()).await?;
        self.check_domain(accepted).await
    }

    async fn check_domain(&self, accepted: AcceptedStream) -> Result<AcceptedStream, NegotiationError> {
        match accepted.to() {
            Some(to) if to != self.context.domain => {
                accepted.refuse(&self.context.domain, "host-unknown").await;
                Err(NegotiationError::WrongDomain(to))
            }
            _ => Ok(accepted),
        }
    }

    fn features(&self) -> Features {
        let may_log_in = self.secure || (self.context.plaintext_login && self.peer.ip().is_loopback());
        let mechanisms = [Hash::Sha256.mechanism(), Hash::Sha1.mechanism(), "PLAIN"];
        Features {
            starttls: !self.secure && self.context.tls.is_some(),
            starttls_required: !may_log_in,
            mechanisms: mechanisms.iter().filter(|_| may_log_in).map(|m| (*m).to_owned()).collect(),
            bind: false,
        }
    }

    /// STARTTLS (§5) if the client wants it, then SASL (§6).
    async fn log_in(&mut self, io: Box<dyn Io>) -> Result<(AcceptedStream, String), NegotiationError> {
        let mut stream = self.accept(io).await?.offer(&self.context.domain, &self.features()).await?;
        let mut attempts = 0;
        loop {
            let element = match stream.expect_element().await {
                Ok(element) => element,
                Err(failure) => return Err(self.give_up(stream, failure).await),
            };
            if element.is("starttls", ns::TLS) && self.features().starttls {
                stream.send(&Element::bare("proceed", ns::TLS)).await?;
                let io = self.handshake(stream.into_io()).await?;
                stream = self.accept(io).await?.offer(&self.context.domain, &self.features()).await?;
                continue;
            }
            if !element.is("auth", ns::SASL) {
                stream.close(Some("not-authorized")).await;
                return Err(NegotiationError::Unexpected(element.name().to_owned()));
            }
            match self.authenticate(&mut stream, &element).await? {
                Ok(LoggedIn { user, success }) => {
                    tally(&self.context.router.tallies.logins);
                    let accepted = stream.accept_reset(&success).await?;
                    return Ok((self.check_domain(accepted).await?, user));
                }
                Err(failure) => {
                    attempts += 1;
                    self.login_failed(&mut stream, failure).await?;
                }
            }
            if attempts >= self.context.limits.login_attempts_max {
                stream.close(Some("policy-violation")).await;
                return Err(NegotiationError::TooManyLogins(attempts));
            }
        }
    }

    async fn login_failed(&self, stream: &mut Stream, failure: LoginFailure) -> Result<(), NegotiationError> {
        tally(&self.context.router.tallies.logins_failed);
        if failure == LoginFailure::NotAuthorized {
            self.context.failed_logins.record(self.peer.ip(), Instant::now());
        }
        tracing::info!(peer = %self.peer, condition = failure.name(), "login failed");
        let failure = Element::bare("failure", ns::SASL).with_child(Element::bare(failure.name(), ns::SASL));
        Ok(stream.send(&failure).await?)
    }

    async fn authenticate(
        &self,
        stream: &mut Stream,
        auth: &Element,
    ) -> Result<Result<LoggedIn, LoginFailure>, NegotiationError> {
        if self.context.failed_logins.is_blocked(self.peer.ip(), Instant::now()) {
            return Ok(Err(LoginFailure::TemporaryAuthFailure));
        }
        let mechanism = auth.attr("mechanism").unwrap_or_default();
        if !self.features().mechanisms.iter().any(|m| m == mechanism) {
            return Ok(Err(LoginFailure::InvalidMechanism));
        }
        let mut message = decode(auth);
        if auth.text().is_empty() {
            // No initial response: ask for it (§6.4.2).
            message = challenge(stream, b"").await?;
        }
        let message = match message {
            Ok(message) => message,
            Err(failure) => return Ok(Err(failure)),
        };
        match Hash::from_mechanism(mechanism) {
            Some(hash) => self.scram(stream, hash, &message).await,
            None => Ok(self.plain(&message).await),
        }
    }

    async fn scram(
        &self,
        stream: &mut Stream,
        hash: Hash,
        first: &[u8],
    ) -> Result<Result<LoggedIn, LoginFailure>, NegotiationError> {
        let Ok(first) = ClientFirst::parse(first) else { return Ok(Err(LoginFailure::MalformedRequest)) };
        let user = self.user(&first.user);
        let known = user.as_deref().and_then(|user| self.context.accounts.keys(user));
        // An unknown user goes the same way to the same end as a known one with a wrong password.
        let keys = known.clone().unwrap_or_else(|| ScramKeys::decoy(&first.user, &self.context.decoy_secret));
        let (server, question) = first.challenge(hash, &keys, &nonce());
        let answer = match challenge(stream, question.as_bytes()).await? {
            Ok(answer) => answer,
            Err(failure) => return Ok(Err(failure)),
        };
        Ok(match (server.finish(&answer), user, known) {
            (Ok(last), Some(user), Some(_)) => {
                let success = Element::bare("success", ns::SASL).with_text(&BASE64.encode(last));
                Ok(LoggedIn { user, success })
            }
            _ => Err(LoginFailure::NotAuthorized),
        })
    }

    /// RFC 4616. The password is checked off the async tasks, few at a time.
    async fn plain(&self, message: &[u8]) -> Result<LoggedIn, LoginFailure> {
        let text = std::str::from_utf8(message).map_err(|_| LoginFailure::MalformedRequest)?;
        let parts: Vec<&str> = text.split('\0').collect();
        let &[authzid, name, password] = parts.as_slice() else { return Err(LoginFailure::MalformedRequest) };
        let user = self.user(name).ok_or(LoginFailure::NotAuthorized)?;
        if !authzid.is_empty() && self.user(authzid).as_ref() != Some(&user) {
            return Err(LoginFailure::NotAuthorized);
        }
        let known = self.context.accounts.keys(&user);
        let keys = known.clone().unwrap_or_else(|| ScramKeys::decoy(&user, &self.context.decoy_secret));
        let password = password.to_owned();
        let permit = self.context.password_checks.acquire().await;
        let checked = tokio::task::spawn_blocking(move || keys.verify(&password)).await;
        drop(permit);
        match (checked, known) {
            (Ok(true), Some(_)) => Ok(LoggedIn { user, success: Element::bare("success", ns::SASL) }),
            (Ok(_), _) => Err(LoginFailure::NotAuthorized),
            (Err(_), _) => Err(LoginFailure::TemporaryAuthFailure),
        }
    }

    /// The normal form of a user name, which some clients give as a bare JID.
    fn user(&self, name: &str) -> Option<String> {
        let name = match name.split_once('@') {
            Some((name, domain)) if domain == self.context.domain => name,
            Some(_) => return None,
            None => name,
        };
        NodePart::new(name).ok().map(|node| node.as_str().to_owned())
    }

    /// Resource binding (§7). Nothing else makes sense before.
    async fn bind(
        &self,
        accepted: AcceptedStream,
        user: &str,
    ) -> Result<(Stream, Attached), NegotiationError> {
        let features = Features { bind: true, ..Features::default() };
        let mut stream = accepted.offer(&self.context.domain, &features).await?;
        loop {
            let iq = match stream.expect_element().await {
                Ok(element) => element,
                Err(failure) => return Err(self.give_up(stream, failure).await),
            };
            if !iq.is("iq", ns::CLIENT) {
                stream.close(Some("not-authorized")).await;
                return Err(NegotiationError::Unexpected(iq.name().to_owned()));
            }
            let Some(bind) = iq.get_child("bind", ns::BIND).filter(|_| iq.attr("type") == Some("set")) else {
                if let Some(refusal) = bounce(&iq, Condition::NotAllowed) {
                    stream.send(&refusal).await?;
                }
                continue;
            };
            let wanted = bind.get_child("resource", ns::BIND).map(Element::text).filter(|r| !r.is_empty());
            let resource = wanted.unwrap_or_else(nonce);
            let attached = match self.context.router.attach(user, &resource, Some(self.peer)) {
                Ok(attached) => attached,
                Err(e) => {
                    let condition =
                        if e == BindError::Malformed { Condition::BadRequest } else { Condition::NotAllowed };
                    if let Some(refusal) = bounce(&iq, condition) {
                        stream.send(&refusal).await?;
                    }
                    stream.close(None).await;
                    return Err(e.into());
                }
            };
            let jid = Element::bare("jid", ns::BIND).with_text(&attached.jid);
            let mut answer = iq_result(&iq).with_child(Element::bare("bind", ns::BIND).with_child(jid));
            answer.put("from", None);
            stream.send(&answer).await?;
            stream.set_bytes_max(self.context.limits.stanza_bytes_max);
            return Ok((stream, attached));
        }
    }

    async fn give_up(&self, stream: Stream, failure: StreamFailure) -> NegotiationError {
        let condition = condition_of(&failure);
        if condition.is_some() {
            tally(&self.context.router.tallies.bad_streams_ended);
        }
        stream.close(condition).await;
        failure.into()
    }
}

/// The stream error that tells the peer what it did (§4.9.3); none where the connection itself is lost.
pub(super) fn condition_of(failure: &StreamFailure) -> Option<&'static str> {
    match failure {
        StreamFailure::TooDeep | StreamFailure::TooLong => Some("policy-violation"),
        StreamFailure::NotWellFormed(_) => Some("not-well-formed"),
        StreamFailure::Io(_) => None,
    }
}

/// Sends a challenge and waits for the response.
async fn challenge(
    stream: &mut Stream,
    data: &[u8],
) -> Result<Result<Vec<u8>, LoginFailure>, NegotiationError> {
    let challenge = Element::bare("challenge", ns::SASL).with_text(&BASE64.encode(data));
    stream.send(&challenge).await?;
    let answer = stream.expect_element().await?;
    Ok(match answer.name() {
        "response" if answer.has_ns(ns::SASL) => decode(&answer),
        "abort" if answer.has_ns(ns::SASL) => Err(LoginFailure::Aborted),
        _ => Err(LoginFailure::MalformedRequest),
    })
}

/// Data of a SASL element; `=` stands for none (§6.4.2).
fn decode(element: &Element) -> Result<Vec<u8>, LoginFailure> {
    match element.text().as_str() {
        "=" => Ok(Vec::new()),
        text => BASE64.decode(text.trim()).map_err(|_| LoginFailure::IncorrectEncoding),
    }
}
