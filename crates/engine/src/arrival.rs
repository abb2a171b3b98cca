//! An input that is still being fetched when its run begins: a file that grows, and is read behind its writer.

use crate::folders::blocking;
use anabranch_formats::DETECT_BYTES;
use anabranch_model::{ArrivingData, BoxFuture, Data, DataFile, Error};
use bytes::Bytes;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// How far the file has come.
#[derive(Clone, Debug)]
enum State {
    /// So many bytes are there, and more may come; `None` where there is no file yet.
    Coming(Option<u64>),
    /// It is whole, or nothing more comes.
    Ended(Result<u64, Error>),
}

/// What whoever fetches says with.
pub(crate) struct Teller(watch::Sender<State>);

impl Teller {
    /// The file exists, and has so many bytes.
    pub(crate) fn there(&self, bytes: u64) {
        self.0.send_replace(State::Coming(Some(bytes)));
    }
}

/// A file that someone fetches.
#[derive(Clone)]
pub(crate) struct Arrival {
    path: PathBuf,
    state: watch::Receiver<State>,
    runtime: Handle,
}

/// Fetches in a task, which ends when its handle is dropped. `fetch` gives the length of the file that it leaves at `path`, in bytes.
pub(crate) fn begin<F>(path: &Path, fetch: impl FnOnce(Teller) -> F) -> (Arrival, AbortOnDropHandle<()>)
where
    F: Future<Output = Result<u64, Error>> + Send + 'static,
{
    let (sender, state) = watch::channel(State::Coming(None));
    let fetching = fetch(Teller(sender.clone()));
    let task = tokio::spawn(async move {
        let ended = fetching.await;
        sender.send_replace(State::Ended(ended));
    });
    let arrival = Arrival { path: path.to_owned(), state, runtime: Handle::current() };
    (arrival, AbortOnDropHandle::new(task))
}

impl Arrival {
    /// The first [`DETECT_BYTES`] bytes, as soon as they are there; fewer where that is all.
    pub(crate) async fn head(&self) -> Result<Bytes, Error> {
        self.wait_for(|bytes| bytes >= DETECT_BYTES as u64).await?;
        let arriving = self.clone();
        let read = move || {
            let mut head = Vec::new();
            arriving.open()?.take(DETECT_BYTES as u64).read_to_end(&mut head)?;
            Ok(head.into())
        };
        blocking(read).await?.map_err(ended_with)
    }

    /// Until so much is there that it is `enough`, or it is whole.
    async fn wait_for(&self, enough: impl Fn(u64) -> bool) -> Result<u64, Error> {
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| match state {
            State::Coming(bytes) => bytes.is_some_and(&enough),
            State::Ended(_) => true,
        });
        match settled.await.map(|state| state.clone()) {
            Ok(State::Ended(ended)) => ended,
            Ok(State::Coming(bytes)) => Ok(bytes.unwrap_or(0)),
            // The fetch was dropped: the run is over, or the server goes.
            Err(_given_up) => Err(Error::Dismissed),
        }
    }
}

impl ArrivingData for Arrival {
    fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        self.runtime.block_on(self.wait_for(|_exists| true)).map_err(io::Error::other)?;
        match File::open(&self.path) {
            Ok(file) => Ok(Box::new(Follower { file, read: 0, arrival: self.clone() })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A fetch that fails removes its file before it says so: why it is gone is what the process must hear.
                self.runtime.block_on(self.wait_for(|_more| false)).map_err(io::Error::other)?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    fn complete(&self) -> BoxFuture<'_, Result<Data, Error>> {
        Box::pin(async {
            let bytes = self.wait_for(|_more| false).await?;
            Ok(Data::File(DataFile { path: self.path.clone(), bytes }))
        })
    }
}

/// Reads what is there, and waits for what is not.
struct Follower {
    file: File,
    /// Bytes so far.
    read: u64,
    arrival: Arrival,
}

impl Read for Follower {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let read = self.read;
        let there = self.arrival.runtime.block_on(self.arrival.wait_for(|bytes| bytes > read));
        let there = there.map_err(io::Error::other)?;
        let count = (&mut self.file).take(there.saturating_sub(read)).read(buffer)?;
        self.read += count as u64;
        if count == 0 && there > read {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(count)
    }
}

/// The error that a read was ended with.
fn ended_with(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => Error::internal(format!("what is fetched can't be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_that_is_gone_before_it_is_opened_says_why() {
        let (removed, fails) = oneshot::channel::<()>();
        let why = Error::DataNotAccessible { input: "data".into(), reason: "it broke off".into() };
        let told = why.clone();
        let fetch = |teller: Teller| async move {
            // What whoever opens still sees of a file that has just been removed.
            teller.there(5000);
            let _ = fails.await;
            Err(told)
        };
        let folder = tempfile::tempdir().unwrap();
        let (arrival, _fetching) = begin(&folder.path().join("arriving"), fetch);
        let opener = arrival.clone();
        let opened = tokio::task::spawn_blocking(move || opener.open().map(drop));
        arrival.wait_for(|bytes| bytes == 5000).await.unwrap();
        removed.send(()).unwrap();
        let refused = opened.await.unwrap().unwrap_err();
        assert_eq!(refused.downcast::<Error>().unwrap(), why);
    }
}
