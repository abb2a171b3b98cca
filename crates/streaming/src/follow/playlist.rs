//! A playlist elsewhere, polled until it has ended.
//!
//! It is looked at once, then every period, never twice at once, and only while someone waits for a chunk: whoever is slower than the
//! playlist does not poll it. The idle clock runs while someone waits, whether looks succeed or fail.

use super::IDLE;
use crate::Context;
use anabranch_egress::{Request, parse_url};
use anabranch_formats::playlist::{Playlist, exception_text, read};
use anabranch_model::Error;
use anabranch_model::description::media_type_essence;
use sha2::{Digest as _, Sha256};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};
use url::Url;

/// Largest exception report that is read, bytes.
const REPORT_BYTES_MAX: u64 = 256 << 10;

/// A playlist that is being followed.
pub(super) struct Remote {
    context: Arc<Context>,
    url: Url,
    idle: Duration,
    /// Chunks listed so far, and what they were: what was listed once may not change.
    listed: u64,
    seen: Sha256,
    /// Those that nobody has taken.
    ready: VecDeque<Url>,
    /// Chunks not to be given, because they are done already.
    skip: u64,
    next_look: Option<Instant>,
    /// When a chunk was listed last.
    updated: Option<Instant>,
    end: Option<End>,
}

enum End {
    Marked,
    Exception(String),
}

impl Remote {
    pub(super) fn new(context: &Arc<Context>, url: Url, first: u64, idle: Duration) -> Self {
        Self {
            context: Arc::clone(context),
            url,
            idle,
            listed: 0,
            seen: Sha256::new(),
            ready: VecDeque::new(),
            skip: first,
            next_look: None,
            updated: None,
            end: None,
        }
    }

    /// How many chunks it has, once it has ended.
    pub(super) fn total(&self) -> Option<u64> {
        self.end.as_ref().map(|_| self.listed)
    }

    /// The next chunk; `None` at the end.
    ///
    /// # Errors
    /// The exception that it ended with, that it was idle for too long, or what is wrong with it.
    pub(super) async fn next(&mut self) -> Result<Option<Url>, Error> {
        let waiting_since = Instant::now();
        loop {
            if let Some(url) = self.ready.pop_front() {
                return Ok(Some(url));
            }
            match self.end.take() {
                Some(End::Marked) => {
                    self.end = Some(End::Marked);
                    return Ok(None);
                }
                Some(End::Exception(address)) => return Err(self.exception(&address).await),
                None => {}
            }
            // Who was busy with chunks has not been waiting.
            let idle_since = self.updated.map_or(waiting_since, |updated| updated.max(waiting_since));
            let idle_until = idle_since + self.idle;
            if let Some(at) = self.next_look {
                sleep_until(at.min(idle_until)).await;
            }
            if Instant::now() > idle_until {
                return Err(Error::process_failed(IDLE));
            }
            self.next_look = Some(Instant::now() + Duration::from_millis(self.context.settings.poll_ms));
            match timeout_at(idle_until, self.look()).await {
                Ok(looked) => looked?,
                Err(_elapsed) => return Err(Error::process_failed(IDLE)),
            }
        }
    }

    /// Fetches and reads it once. What may help itself is left to the next look.
    async fn look(&mut self) -> Result<(), Error> {
        let failed =
            |reason: String| Error::process_failed(format!("the input playlist can't be read: {reason}"));
        let request = Request::get(self.url.clone())
            .header("Accept", "application/x-ogc-playlist, text/plain;q=0.9, */*;q=0.1")
            .body_bytes_max(self.context.settings.playlist_bytes_max);
        let response = match self.context.egress.fetch(request).await {
            Ok(response) => response,
            Err(error) if error.is_transient() => {
                tracing::debug!(%error, "a playlist could not be fetched");
                return Ok(());
            }
            Err(error) => return Err(failed(error.client_text())),
        };
        if response.content_type.as_deref().map(media_type_essence).as_deref() == Some("text/html") {
            return Err(failed("it is a page of HTML".into()));
        }
        let base = response.url().clone();
        let body = match response.bytes(self.context.settings.playlist_bytes_max).await {
            Ok(body) => body,
            Err(error) if error.is_transient() => return Ok(()),
            Err(error) => return Err(failed(error.client_text())),
        };
        let playlist = read(&body, false).map_err(|error| failed(error.to_string()))?;
        self.take(&playlist, &base).map_err(failed)
    }

    /// Takes what is new in it.
    fn take(&mut self, playlist: &Playlist, base: &Url) -> Result<(), String> {
        let left_out = playlist.left_out;
        // Those that are done already may be gone.
        let done = left_out.saturating_sub(self.listed).min(self.skip);
        self.listed += done;
        self.skip -= done;
        if left_out > self.listed {
            let missed = left_out - self.listed;
            return Err(format!("{missed} chunks were taken out of it before they could be read"));
        }
        let known = usize::try_from(self.listed - left_out).unwrap_or(usize::MAX);
        let new = playlist.chunks.get(known..).ok_or("it has become shorter")?;
        if left_out == 0 {
            let mut seen = Sha256::new();
            playlist.chunks[..known].iter().for_each(|address| mark(&mut seen, address));
            if seen.finalize() != self.seen.clone().finalize() {
                return Err("what it had listed before has changed".into());
            }
        }
        for address in new {
            let url = resolved(address, base)?;
            self.context.egress.check(&url).map_err(|refused| refused.client_text())?;
            mark(&mut self.seen, address);
            self.listed += 1;
            if self.skip > 0 {
                self.skip -= 1;
            } else {
                self.ready.push_back(url);
            }
        }
        if !new.is_empty() || self.updated.is_none() {
            self.updated = Some(Instant::now());
        }
        match &playlist.exception {
            Some(address) => self.end = Some(End::Exception(resolved(address, base)?.into())),
            None if playlist.is_ended => self.end = Some(End::Marked),
            None => {}
        }
        Ok(())
    }

    /// The error that its exception report tells.
    async fn exception(&self, address: &str) -> Error {
        let failed =
            |what: &str| Error::process_failed(format!("the input playlist ended with an exception: {what}"));
        let Ok(url) = parse_url(address) else { return failed("its report has no sound address") };
        let report = async {
            let request = Request::get(url).body_bytes_max(REPORT_BYTES_MAX);
            self.context.egress.fetch_any_status(request).await?.bytes(REPORT_BYTES_MAX).await
        };
        match report.await {
            Ok(report) => failed(&exception_text(&report).unwrap_or_else(|| "its report has no text".into())),
            Err(error) => failed(&error.client_text()),
        }
    }
}

fn mark(seen: &mut Sha256, address: &str) {
    seen.update(address.as_bytes());
    seen.update(b"\n");
}

/// An address as the playlist means it. `Url` would mend what is none.
fn resolved(address: &str, base: &Url) -> Result<Url, String> {
    let sound = |c: char| !c.is_whitespace() && !c.is_control() && !"<>\"{}|\\^`".contains(c);
    let url = Some(address)
        .filter(|address| address.chars().all(sound))
        .and_then(|address| base.join(address).ok());
    let shown: String = address.chars().take(100).collect();
    let url = url.ok_or_else(|| format!("it lists '{shown}', which is no address"))?;
    parse_url(url.as_str()).map_err(|refused| refused.client_text())
}
