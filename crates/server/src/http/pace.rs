//! Clients that hold a connection and do nothing with it lose it: request bodies must come at a pace, answers must be taken.
//! (Heads have their own limit, which also ends idle connections: [`super::listen::Limits::head_timeout`].)

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// What every body is given before its pace counts: a client may think, a line may hang for a moment.
const BODY_GRACE: Duration = Duration::from_secs(30);

/// Least pace of a body after that, on the whole: a bad mobile line is ten times as fast.
const BODY_BYTES_PER_S_MIN: u64 = 1024;

/// Longest time in which a client takes nothing of an answer that waits for it. As at the XMPP server, and then some: browsers stop
/// reading what they pause.
const TAKE_NOTHING: Duration = Duration::from_secs(120);

/// A request body that fails where it comes too slowly. Only waiting for the client counts, not its waiting for us.
pub(crate) struct Paced<B = Incoming> {
    body: B,
    bytes: u64,
    /// How long we have waited for the client so far.
    waited: Duration,
    /// Since when we wait now, and when that ends.
    wait: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl<B> Paced<B> {
    pub(crate) fn new(body: B) -> Self {
        Self { body, bytes: 0, waited: Duration::ZERO, wait: None }
    }

    /// How long we wait in all for what has come and the next piece.
    fn patience(&self) -> Duration {
        BODY_GRACE + Duration::from_secs(self.bytes / BODY_BYTES_PER_S_MIN)
    }
}

impl<B> Body for Paced<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<axum::BoxError>,
{
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            if let Some((since, _)) = this.wait.take() {
                this.waited += since.elapsed();
            }
            if let Some(Ok(data)) = frame.as_ref().map(|frame| frame.as_ref().map(Frame::data_ref)) {
                this.bytes += data.map_or(0, |data| data.len() as u64);
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let patience = this.patience().saturating_sub(this.waited);
        let (_, timer) = this.wait.get_or_insert_with(|| {
            let now = Instant::now();
            (now, Box::pin(sleep_until(now + patience)))
        });
        ready!(timer.as_mut().poll(context));
        let text = format!(
            "the request body came too slowly: after {} s at least {BODY_BYTES_PER_S_MIN} bytes a second",
            BODY_GRACE.as_secs()
        );
        Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, text).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection that fails where its client takes nothing of what is to be written.
pub(crate) struct Taken<S> {
    stream: S,
    /// Set while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S: Unpin> Taken<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, stalled: None }
    }

    /// `written` as it is, or the failure of a write that has waited too long.
    fn judge<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let timer = self.stalled.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + TAKE_NOTHING)));
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Taken<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Taken<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.judge(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body as AnyBody;
    use tokio::io::AsyncWriteExt as _;

    /// What becomes of a body of so many bytes, one every so often.
    async fn sent(bytes: u64, every: Duration) -> Result<usize, axum::Error> {
        let pieces = futures_util::stream::unfold(0, move |n| async move {
            tokio::time::sleep(every).await;
            (n < bytes).then_some((Ok::<_, io::Error>(Bytes::from_static(b"x")), n + 1))
        });
        let paced = Paced::new(AnyBody::from_stream(pieces));
        axum::body::to_bytes(AnyBody::new(paced), 1 << 20).await.map(|bytes| bytes.len())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_given_up_and_one_that_pauses_is_not() {
        assert_eq!(sent(20, Duration::from_secs(1)).await.unwrap(), 20);
        let begin = Instant::now();
        let error = sent(1000, Duration::from_secs(1)).await.unwrap_err().to_string();
        assert!(error.contains("too slowly"), "{error}");
        assert_eq!(begin.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_takes_ends_the_connection() {
        let (ours, _theirs) = tokio::io::duplex(16);
        let begin = Instant::now();
        let error = Taken::new(ours).write_all(&[0; 100]).await.unwrap_err();
        assert_eq!((error.kind(), begin.elapsed()), (io::ErrorKind::TimedOut, TAKE_NOTHING));
    }
}
