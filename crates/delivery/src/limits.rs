//! How long what may take.

use crate::upload::UploadError;
use std::time::Duration;

/// Limits of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Tries in a row that bring a file no further. Those that do are not counted: a link that breaks every few minutes carries
    /// a large file all the same.
    pub tries_max: u32,
    /// First pause between tries; each is twice the last.
    pub pause_min: Duration,
    /// Longest pause between tries.
    pub pause_max: Duration,
    /// Longest wait for a connection, its encryption included.
    pub connect: Duration,
    /// Longest wait for an answer to a command, also to the end of a file: a slow disk is flushed then.
    pub reply: Duration,
    /// Longest wait for the other end to take more bytes.
    pub stall: Duration,
    /// Longest upload of one file, all tries included.
    pub whole: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // With the pauses between them about two minutes without any progress: a server restarts in one.
            tries_max: 8,
            pause_min: Duration::from_secs(1),
            pause_max: Duration::from_secs(60),
            connect: Duration::from_secs(15),
            reply: Duration::from_secs(60),
            stall: Duration::from_secs(60),
            // Gigabytes over a field link.
            whole: Duration::from_secs(24 * 3600),
        }
    }
}

/// Ends a wait at its limit, saying for what was waited.
pub(crate) async fn within<T>(
    limit: Duration,
    what: &str,
    wait: impl Future<Output = T>,
) -> Result<T, UploadError> {
    tokio::time::timeout(limit, wait).await.map_err(|_elapsed| {
        let seconds = limit.as_secs_f32();
        UploadError::transient(format!("{what}: nothing came within {seconds} s"))
    })
}
