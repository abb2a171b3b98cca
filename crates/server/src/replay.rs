//! `anabranch replay`: the features of a file as a live playlist, for trying what follows streams.
//!
//! Nothing moves while it is served: what is published is a function of the time since the start ([`Replay::published`]), so there is no
//! timer and nothing to lock. The file is cut before the first request is taken, so that its faults are told at once.

mod recording;
mod routes;

use crate::cli;
use crate::http::connections::{Connections, Rules};
use crate::http::listen::{self, Limits};
use crate::{serve, signals, terminal};
use anabranch_formats::vector::VectorFormat;
use anyhow::Context as _;
use recording::{By, Recording};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Features per second, at most: beyond that chunks come faster than playlists are looked at.
const RATE_MAX: f64 = 1_000_000.0;

/// Features per second, at least: one in a day.
const RATE_MIN: f64 = 1.0 / 86_400.0;

/// Clients at once: a tool to try things with needs few.
const CONNECTIONS_MAX: usize = 256;

/// For the head of a request, as for answers under way at the end: they are small.
const PATIENCE: Duration = Duration::from_secs(5);

/// Publishes a file until a signal asks it to stop.
///
/// # Errors
/// Where the file can't be replayed, or the port is taken.
pub(crate) async fn replay(arguments: &cli::Replay) -> anyhow::Result<()> {
    let shutdown = signals::shutdown_token()?;
    let by = match &arguments.by {
        Some(property) => By::Property(property.clone()),
        None => By::Count(arguments.chunk.get()),
    };
    let (file, format, stop) = (arguments.file.clone(), arguments.format, shutdown.clone());
    let cutting = tokio::task::spawn_blocking(move || {
        recording::cut(&file, &by, format, &|| stop.is_cancelled())
            .with_context(|| format!("can't replay {}", file.display()))
    });
    let recording = match cutting.await? {
        Err(_unfinished) if shutdown.is_cancelled() => return Ok(()),
        cut => cut?,
    };
    let listener = serve::bind(arguments.listen, "HTTP").await?;
    let address = listener.local_addr()?;
    terminal::note(format_args!(
        "{} features in {} chunks, {:.1} s{}",
        recording.features(),
        recording.chunks().len(),
        recording.features() as f64 / arguments.rate,
        if arguments.is_loop { ", again and again" } else { "" }
    ));
    terminal::line(format_args!("http://{address}/playlist.txt"));
    let replay =
        Replay { recording, rate: arguments.rate, is_loop: arguments.is_loop, started: Instant::now() };
    let limits = Limits { connections_max: CONNECTIONS_MAX, head_timeout: PATIENCE, drain: PATIENCE };
    let connections = Connections::new(Rules::none());
    let router = routes::router(Arc::new(replay), address);
    listen::serve(listener, None, router, limits, connections, shutdown).await;
    Ok(())
}

/// For `--rate`.
///
/// # Errors
/// What it must be.
pub(crate) fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (RATE_MIN..=RATE_MAX).contains(rate));
    rate.ok_or_else(|| {
        format!("must be a number of features per second, from one a day (0.0000116) to {RATE_MAX}")
    })
}

/// For `--format`.
///
/// # Errors
/// What is known instead.
pub(crate) fn parse_format(text: &str) -> Result<VectorFormat, String> {
    let named = VectorFormat::ALL.into_iter().find(|format| format.name().eq_ignore_ascii_case(text));
    named.or_else(|| VectorFormat::of_media_type(text)).ok_or_else(|| {
        let known =
            VectorFormat::ALL.map(|format| format!("{} ({})", format.media_types()[0], format.name()));
        format!("must be one of {}", known.join(", "))
    })
}

/// A recording, and since when it is played.
struct Replay {
    recording: Recording,
    /// Features per second.
    rate: f64,
    is_loop: bool,
    started: Instant,
}

impl Replay {
    /// How many chunks have come so long after the start: a chunk comes when its last feature does.
    fn published(&self, elapsed: Duration) -> u64 {
        let (features, chunks) = (self.recording.features(), self.recording.chunks());
        // Casts saturate, and after 2^53 features nobody looks any more.
        let come = (elapsed.as_secs_f64() * self.rate) as u64;
        let (rounds, come) = if self.is_loop { (come / features, come % features) } else { (0, come) };
        rounds * chunks.len() as u64 + chunks.partition_point(|chunk| chunk.features_until <= come) as u64
    }

    /// No more will come.
    fn is_complete(&self, published: u64) -> bool {
        !self.is_loop && published >= self.recording.chunks().len() as u64
    }

    /// The place in the recording of a chunk of the playlist, from 1.
    fn place(&self, seq: u64) -> usize {
        // Below the number of chunks.
        (seq.saturating_sub(1) % self.recording.chunks().len() as u64) as usize
    }
}

#[cfg(test)]
mod tests;
