//! The guarded XML stream: the one place that names the stream library.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use minidom::Element;
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio_xmpp::xmlstream::{ReadError, StreamHeader, Timeouts, XmlStream, accept_stream, initiate_stream};
use xmpp_parsers::bind::BindFeature;
use xmpp_parsers::starttls::StartTls;
use xmpp_parsers::stream_features::StreamFeatures;

use super::guard::{Guarded, Limited, Meter};
use super::ns;
use super::stanza::ElementExt;

/// Bytes read from the socket at a time.
const READ_BUFFER_BYTES: usize = 8 * 1024;

/// How long a goodbye may take on a link that may be dead.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Anything that carries bytes both ways: a TCP connection, TLS over it, a pipe in tests.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

type Guard = Limited<BufReader<Box<dyn Io>>>;

/// When a silent peer is asked, and when it is given up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Silence {
    pub(crate) ask_after: Duration,
    pub(crate) answer_within: Duration,
}

/// What the server offers (RFC 6120 §4.3.2).
#[derive(Debug, Default)]
pub(crate) struct Features {
    pub(crate) starttls: bool,
    pub(crate) starttls_required: bool,
    pub(crate) mechanisms: Vec<String>,
    pub(crate) bind: bool,
}

/// What came in.
#[derive(Debug)]
pub(crate) enum Received {
    Element(Element),
    /// The peer has been silent for [`Silence::ask_after`].
    Silent,
    /// The peer closed the stream in good order.
    Closed,
}

/// Why a stream is at its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamFailure {
    #[error("stanza nested deeper than {} levels", super::guard::DEPTH_MAX)]
    TooDeep,
    #[error("stanza too long")]
    TooLong,
    #[error("{0}")]
    NotWellFormed(String),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// An XML stream after its header was exchanged.
pub(crate) struct Stream {
    inner: XmlStream<Guard, Guarded>,
    meter: Meter,
    /// Size of the last element received.
    pub(crate) last_bytes: usize,
    /// Reading has come to its end, good or bad.
    failed: bool,
}

impl Stream {
    /// Server: reads the client's header, answers with ours and the features (RFC 6120 §4.2, §4.3). Gives the domain
    /// that the client wants to talk to.
    pub(crate) async fn accept(
        io: Box<dyn Io>,
        bytes_max: usize,
        silence: Silence,
    ) -> Result<AcceptedStream, StreamFailure> {
        let meter = Meter::new(bytes_max);
        let io = Limited::new(BufReader::with_capacity(READ_BUFFER_BYTES, io), meter.clone());
        let inner = accept_stream(io, ns::CLIENT, silence.into()).await?;
        Ok(AcceptedStream { inner, meter })
    }

    /// Client: sends our header and reads the server's. The features come as the first element, through the guard.
    pub(crate) async fn initiate(
        io: Box<dyn Io>,
        domain: &str,
        bytes_max: usize,
        silence: Silence,
    ) -> Result<Self, StreamFailure> {
        let meter = Meter::new(bytes_max);
        let io = Limited::new(BufReader::with_capacity(READ_BUFFER_BYTES, io), meter.clone());
        let header = StreamHeader { from: None, to: Some(domain.into()), id: None };
        let pending = initiate_stream(io, ns::CLIENT, header, silence.into()).await?;
        meter.restart();
        Ok(Self { inner: pending.skip_features(), meter, last_bytes: 0, failed: false })
    }

    /// The next element. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Received, StreamFailure> {
        let item = self.inner.next().await;
        let too_long = self.meter.is_exceeded();
        self.failed = !matches!(item, Some(Ok(Guarded::Element(_)) | Err(ReadError::SoftTimeout)));
        match item {
            Some(Ok(Guarded::Element(element))) => {
                self.last_bytes = self.meter.restart();
                Ok(Received::Element(element))
            }
            Some(Ok(Guarded::TooDeep)) => Err(StreamFailure::TooDeep),
            Some(Err(ReadError::SoftTimeout)) => Ok(Received::Silent),
            Some(Err(ReadError::StreamFooterReceived)) | None => Ok(Received::Closed),
            Some(Err(_)) if too_long => Err(StreamFailure::TooLong),
            Some(Err(ReadError::ParseError(e))) => Err(StreamFailure::NotWellFormed(e.to_string())),
            Some(Err(ReadError::HardError(e))) if e.kind() == std::io::ErrorKind::InvalidData => {
                Err(StreamFailure::NotWellFormed(e.to_string()))
            }
            Some(Err(ReadError::HardError(e))) => Err(e.into()),
        }
    }

    /// The next element, for dialogues in which nothing else makes sense.
    pub(crate) async fn expect_element(&mut self) -> Result<Element, StreamFailure> {
        loop {
            match self.next().await? {
                Received::Element(element) => return Ok(element),
                Received::Silent => {}
                Received::Closed => return Err(closed_early()),
            }
        }
    }

    /// Puts an element into the buffer. An error of kind `InvalidInput` means that it cannot be written as XML and
    /// leaves the stream usable.
    pub(crate) async fn feed(&mut self, element: &Element) -> std::io::Result<()> {
        self.inner.feed(element).await
    }

    pub(crate) async fn flush(&mut self) -> std::io::Result<()> {
        SinkExt::<&Element>::flush(&mut self.inner).await
    }

    pub(crate) async fn send(&mut self, element: &Element) -> std::io::Result<()> {
        self.inner.send(element).await
    }

    pub(crate) fn set_bytes_max(&self, bytes_max: usize) {
        self.meter.set_bytes_max(bytes_max);
    }

    /// Server: sends `barrier` and starts the stream anew (RFC 6120 §4.3.3).
    pub(crate) async fn accept_reset(self, barrier: &Element) -> Result<AcceptedStream, StreamFailure> {
        self.meter.restart();
        let inner = self.inner.accept_reset(barrier).await?;
        Ok(AcceptedStream { inner, meter: self.meter })
    }

    /// Client: starts the stream anew.
    pub(crate) async fn initiate_reset(self, domain: &str) -> Result<Self, StreamFailure> {
        self.meter.restart();
        let header = StreamHeader { from: None, to: Some(domain.to_owned().into()), id: None };
        let pending = self.inner.initiate_reset().send_header(header).await?;
        self.meter.restart();
        Ok(Self { inner: pending.skip_features(), meter: self.meter, last_bytes: 0, failed: false })
    }

    /// The bare connection, without what the peer sent already: bytes that arrived in plaintext must not be taken for
    /// the beginning of what TLS protects (RFC 6120 §5.4.3.3).
    pub(crate) fn into_io(self) -> Box<dyn Io> {
        self.inner.into_inner().into_inner().into_inner()
    }

    /// Closes the stream, with a reason (RFC 6120 §4.9) if there is one; gives up soon.
    pub(crate) async fn close(self, condition: Option<&str>) {
        self.close_within(condition, CLOSE_TIMEOUT).await;
    }

    /// Says goodbye and reads on until the peer does so too (§4.4): a connection that is closed with bytes unread is
    /// reset, and what the peer has not read yet is lost, our last stanzas and the reason among it. After a failure
    /// there is nothing more to read: what comes may be the rest of an attack.
    pub(crate) async fn close_within(mut self, condition: Option<&str>, timeout: Duration) {
        let goodbye = async {
            if let Some(condition) = condition {
                self.inner.send(&stream_error(condition)).await?;
            }
            self.inner.shutdown().await?;
            while !self.failed {
                self.meter.restart();
                if matches!(self.next().await, Ok(Received::Closed) | Err(_)) {
                    break;
                }
            }
            Ok::<(), std::io::Error>(())
        };
        // A peer that does not listen loses nothing but the explanation.
        let _ = tokio::time::timeout(timeout, goodbye).await;
    }
}

/// A server's stream of which only the client's header was seen.
pub(crate) struct AcceptedStream {
    inner: tokio_xmpp::xmlstream::AcceptedStream<Guard>,
    meter: Meter,
}

impl AcceptedStream {
    /// Domain that the client asks for.
    pub(crate) fn to(&self) -> Option<String> {
        self.inner.header().to.map(std::borrow::Cow::into_owned)
    }

    pub(crate) async fn offer(self, domain: &str, features: &Features) -> Result<Stream, StreamFailure> {
        let id = super::scram::nonce();
        let header = StreamHeader { from: Some(domain.into()), to: None, id: Some(id.into()) };
        let inner = self.inner.send_header(header).await?.send_features(&features.to_wire()).await?;
        self.meter.restart();
        Ok(Stream { inner, meter: self.meter, last_bytes: 0, failed: false })
    }

    /// Refuses the stream as a whole.
    pub(crate) async fn refuse(self, domain: &str, condition: &str) {
        if let Ok(stream) = self.offer(domain, &Features::default()).await {
            stream.close(Some(condition)).await;
        }
    }
}

impl Features {
    fn to_wire(&self) -> StreamFeatures {
        let session =
            Element::bare("session", ns::SESSION).with_child(Element::bare("optional", ns::SESSION));
        StreamFeatures {
            starttls: self.starttls.then_some(StartTls { required: self.starttls_required }),
            bind: self.bind.then_some(BindFeature { required: false }),
            sasl_mechanisms: self.mechanisms.iter().cloned().collect(),
            others: if self.bind { vec![session] } else { Vec::new() },
            ..StreamFeatures::default()
        }
    }

    pub(crate) fn from_element(element: &Element) -> Option<Self> {
        if !element.is("features", ns::STREAM) {
            return None;
        }
        let starttls = element.get_child("starttls", ns::TLS);
        let mechanisms = element.get_child("mechanisms", ns::SASL);
        Some(Self {
            starttls: starttls.is_some(),
            starttls_required: starttls.is_some_and(|s| s.has_child("required", ns::TLS)),
            mechanisms: mechanisms.map(|m| m.children().map(Element::text).collect()).unwrap_or_default(),
            bind: element.has_child("bind", ns::BIND),
        })
    }
}

impl From<Silence> for Timeouts {
    fn from(silence: Silence) -> Self {
        Self { read_timeout: silence.ask_after, response_timeout: silence.answer_within }
    }
}

pub(crate) fn stream_error(condition: &str) -> Element {
    Element::bare("error", ns::STREAM).with_child(Element::bare(condition, ns::STREAM_ERROR))
}

/// Condition of a received `<stream:error/>`.
pub(crate) fn stream_error_condition(element: &Element) -> Option<String> {
    if !element.is("error", ns::STREAM) {
        return None;
    }
    let condition = element.children().find(|c| c.has_ns(ns::STREAM_ERROR) && c.name() != "text");
    Some(condition.map_or("undefined-condition", Element::name).to_owned())
}

fn closed_early() -> StreamFailure {
    StreamFailure::Io(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "stream closed by the peer"))
}
