//! Who follows streams: a limited number of clients, each of which may be slow, and none of which holds more than a few blocks.

use anabranch_engine::JobView;
use anabranch_model::Error;
use bytes::Bytes;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

/// Most clients that wait for chunks at once: each costs a task and some KiB.
const FOLLOWERS_MAX: usize = 2_000;
/// When it may be worth trying again, in seconds.
const RETRY_AFTER_S: u32 = 5;
/// Blocks a client may be behind; then its task waits, and with it the reading.
const BLOCKS_AHEAD_MAX: usize = 4;
/// Longest that a client takes nothing at all: it may be slow, but one that has stopped would keep its place for ever.
const STALLED_MAX: Duration = Duration::from_secs(60);
/// Longest silence: proxies close connections on which nothing comes for a minute.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Places for followers.
pub(crate) struct Followers(Arc<Semaphore>);

impl Default for Followers {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(FOLLOWERS_MAX)))
    }
}

impl Followers {
    /// A place, kept until it is dropped.
    ///
    /// # Errors
    /// [`Error::Busy`] where all are taken.
    pub(crate) fn admit(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.0).try_acquire_owned().map_err(|_all_taken| Error::Busy {
            limit: format!("{FOLLOWERS_MAX} clients follow streams already"),
            retry_after_s: RETRY_AFTER_S,
        })
    }
}

/// The way to one follower. What can't be sent any more is an error without a cause: the client has gone, or has stopped reading.
pub(crate) struct Follower {
    sender: mpsc::Sender<Result<Bytes, Infallible>>,
    _place: OwnedSemaphorePermit,
}

/// The client has gone.
pub(crate) struct Gone;

impl Follower {
    /// With the blocks as they come to the client.
    pub(crate) fn new(place: OwnedSemaphorePermit) -> (Self, mpsc::Receiver<Result<Bytes, Infallible>>) {
        let (sender, receiver) = mpsc::channel(BLOCKS_AHEAD_MAX);
        (Self { sender, _place: place }, receiver)
    }

    /// Sends a block, as soon as the client has taken earlier ones.
    pub(crate) async fn send(&self, block: impl Into<Bytes>) -> Result<(), Gone> {
        let sent = tokio::time::timeout(STALLED_MAX, self.sender.send(Ok(block.into()))).await;
        sent.map_err(|_stalled| Gone)?.map_err(|_closed| Gone)
    }

    /// Waits until the client has gone.
    pub(crate) async fn gone(&self) {
        self.sender.closed().await;
    }

    /// Waits until the job has news, and sends `keep_alive` while it has none.
    pub(crate) async fn news(
        &self,
        watched: &mut watch::Receiver<Arc<JobView>>,
        keep_alive: &'static str,
    ) -> Result<(), Gone> {
        loop {
            tokio::select! {
                changed = watched.changed() => return changed.map_err(|_engine_gone| Gone),
                () = self.sender.closed() => return Err(Gone),
                () = tokio::time::sleep(KEEP_ALIVE) => {
                    if !keep_alive.is_empty() {
                        self.send(keep_alive).await?;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_or_stops_reading_gives_the_place_back() {
        let followers = Followers::default();
        let (follower, receiver) = Follower::new(followers.admit().unwrap());
        assert_eq!(followers.0.available_permits(), FOLLOWERS_MAX - 1);
        drop(receiver);
        follower.gone().await;
        assert!(follower.send("x").await.is_err());
        drop(follower);
        let (follower, _never_read) = Follower::new(followers.admit().unwrap());
        for _ in 0..BLOCKS_AHEAD_MAX {
            assert!(follower.send("x").await.is_ok());
        }
        assert!(follower.send("x").await.is_err(), "after {STALLED_MAX:?}, on a clock that runs by itself");
        drop(follower);
        assert_eq!(followers.0.available_permits(), FOLLOWERS_MAX);
    }

    #[tokio::test]
    async fn places_are_limited() {
        let followers = Followers::default();
        let taken: Vec<_> = (0..FOLLOWERS_MAX).map(|_| followers.admit().unwrap()).collect();
        assert!(matches!(followers.admit(), Err(Error::Busy { .. })));
        drop(taken);
        assert!(followers.admit().is_ok());
    }
}
