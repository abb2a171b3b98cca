//! Playlists that lie on this very server: read from its store, not over HTTP.

use anabranch_model::{BoxFuture, ComplexValue, Error, JobId};
use url::Url;

/// The playlists of this server.
pub trait OwnPlaylists: Send + Sync {
    /// Follows the playlist behind an address on behalf of the job `follower`, from chunk number `first` on (counted from 0); `None` where
    /// the address is none of this server's playlists, or none that the job's owner may see.
    fn open(&self, follower: JobId, url: &Url, first: u64) -> BoxFuture<'_, Option<Box<dyn OwnChunks>>>;
}

/// One of them, being followed.
pub trait OwnChunks: Send {
    /// The next chunk, as soon as it is there; `None` once no more will come. Dropping the future loses no chunk.
    ///
    /// # Errors
    /// What the stream ended with.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<ComplexValue>, Error>>;
}
