//! Guards between the socket and everything that allocates: how deep a stanza may nest, and how long it may be.
//!
//! Without them 28 kB of nested elements, sent before login, overflow the stack of the process, and a stanza without
//! end fills its memory: the stream library limits neither.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use minidom::Element;
use rxml::parser::EventMetrics;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use xso::error::{Error, FromEventsError};
use xso::{FromEventsBuilder, FromXml};

/// Levels of nesting of a stanza, itself included. Stanzas in use have fewer than ten; parsing, cloning and dropping
/// recurse once per level, and 64 of those fit into any stack.
pub const DEPTH_MAX: usize = 64;

/// A child of the stream's root: an element of at most [`DEPTH_MAX`] levels, or the news that it would be deeper.
#[derive(Debug)]
pub(crate) enum Guarded {
    Element(Element),
    /// Given as soon as the limit is passed, with the rest unread: the stream must be closed. Reading on to the end of
    /// the element, which is what an error would cause, costs time quadratic in its depth.
    TooDeep,
}

pub(crate) struct GuardedBuilder {
    inner: <Element as FromXml>::Builder,
    depth: usize,
    /// Text so far: the parser gives it in pieces of any size, and two elements with the same text should be equal.
    text: Option<(EventMetrics, String)>,
}

impl FromXml for Guarded {
    type Builder = GuardedBuilder;

    fn from_events(
        name: rxml::QName,
        attrs: rxml::AttrMap,
        ctx: &xso::Context<'_>,
    ) -> Result<Self::Builder, FromEventsError> {
        Ok(GuardedBuilder { inner: Element::from_events(name, attrs, ctx)?, depth: 1, text: None })
    }
}

impl FromEventsBuilder for GuardedBuilder {
    type Output = Guarded;

    fn feed(&mut self, event: rxml::Event, ctx: &xso::Context<'_>) -> Result<Option<Guarded>, Error> {
        match event {
            rxml::Event::StartElement(..) => self.depth += 1,
            rxml::Event::EndElement(..) => self.depth = self.depth.saturating_sub(1),
            rxml::Event::XmlDeclaration(..) => {}
            rxml::Event::Text(metrics, piece) => {
                self.text.get_or_insert_with(|| (metrics, String::new())).1.push_str(&piece);
                return Ok(None);
            }
        }
        if self.depth > DEPTH_MAX {
            return Ok(Some(Guarded::TooDeep));
        }
        if let Some((metrics, text)) = self.text.take() {
            self.inner.feed(rxml::Event::Text(metrics, text), ctx)?;
        }
        Ok(self.inner.feed(event, ctx)?.map(Guarded::Element))
    }
}

/// Counts the bytes that the parser takes, and fails when there are too many between two calls of
/// [`Meter::restart`]. White space between stanzas counts too.
#[derive(Debug)]
pub(crate) struct Limited<Io> {
    io: Io,
    meter: Meter,
}

/// The other end of a [`Limited`], for whoever knows where a stanza ends.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    taken: Arc<AtomicUsize>,
    bytes_max: Arc<AtomicUsize>,
}

impl Meter {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { taken: Arc::new(AtomicUsize::new(0)), bytes_max: Arc::new(AtomicUsize::new(bytes_max)) }
    }

    /// Starts the count of the next stanza; gives the size of the one before.
    pub(crate) fn restart(&self) -> usize {
        self.taken.swap(0, Ordering::Relaxed)
    }

    pub(crate) fn set_bytes_max(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// Whether the limit is what ended the stream.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.taken.load(Ordering::Relaxed) > self.bytes_max.load(Ordering::Relaxed)
    }
}

impl<Io> Limited<Io> {
    pub(crate) fn new(io: Io, meter: Meter) -> Self {
        Self { io, meter }
    }

    pub(crate) fn into_inner(self) -> Io {
        self.io
    }
}

impl<Io: AsyncBufRead + Unpin> AsyncBufRead for Limited<Io> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.meter.is_exceeded() {
            let bytes_max = this.meter.bytes_max.load(Ordering::Relaxed);
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("stanza of more than {bytes_max} bytes"),
            )));
        }
        Pin::new(&mut this.io).poll_fill_buf(cx)
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        let this = self.get_mut();
        this.meter.taken.fetch_add(amount, Ordering::Relaxed);
        Pin::new(&mut this.io).consume(amount);
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Limited<Io> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(cx, buf)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Limited<Io> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
