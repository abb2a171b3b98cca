//! How bytes get from the server to agents and back: capability URLs over HTTP, one set a run.
//!
//! A URL holds a keyed hash of its run, so that it stays good over a restart and nobody can make one up.

use anabranch_model::{BoxFuture, Data, Error};
use anabranch_remote::{RunId, ServerData};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Values offered at once: more than all runs that can be under way have.
const OFFERS_MAX: usize = 100_000;

/// The server's end.
pub(crate) struct DataPlane {
    /// URL of the server as agents reach it, without `/` at its end.
    base: String,
    key: Vec<u8>,
    /// Below the engine's spool: what is uploaded becomes a result without being copied.
    folder: PathBuf,
    offers: Mutex<HashMap<(RunId, String, usize), Data>>,
}

impl DataPlane {
    pub(crate) fn new(base: String, key: &str, folder: PathBuf) -> Self {
        Self { base, key: key.as_bytes().to_vec(), folder, offers: Mutex::default() }
    }

    /// The hash that belongs into the URLs of a run.
    fn token(&self, run: RunId) -> String {
        self.mac(run).finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn mac(&self, run: RunId) -> Hmac<Sha256> {
        // HMAC takes keys of any length, so this can't fail; an empty key would only make URLs that nothing accepts.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key)
            .unwrap_or_else(|_any_length| Hmac::<Sha256>::new(&[0; 64].into()));
        mac.update(run.to_string().as_bytes());
        mac
    }

    /// The run that a URL is for; `None` where its token is wrong.
    pub(crate) fn authorize(&self, run: &str, token: &str) -> Option<RunId> {
        let run: RunId = run.parse().ok()?;
        let token: Vec<u8> = (0..token.len() / 2)
            .map(|i| token.get(2 * i..2 * i + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
            .collect::<Option<_>>()?;
        self.mac(run).verify_slice(&token).ok()?;
        Some(run)
    }

    /// A value that was offered.
    pub(crate) fn offered(&self, run: RunId, input: &str, index: usize) -> Option<Data> {
        let offers = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
        offers.get(&(run, input.to_owned(), index)).cloned()
    }

    /// Where an uploaded chunk is kept. The output's name comes from a URL: it is hashed, never a path.
    pub(crate) fn upload_path(&self, run: RunId, output: &str, n: u64) -> PathBuf {
        use sha2::Digest as _;
        let name: String =
            Sha256::digest(output.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        self.folder.join(run.to_string()).join(format!("{name}.{n}"))
    }

    fn url(&self, run: RunId, rest: &str) -> String {
        format!("{}/agent-data/{run}/{}/{rest}", self.base, self.token(run))
    }
}

impl ServerData for DataPlane {
    fn offer_input<'a>(
        &'a self,
        run: RunId,
        input: &'a str,
        index: usize,
        data: &'a Data,
    ) -> BoxFuture<'a, Result<String, Error>> {
        Box::pin(async move {
            let mut offers = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
            if offers.len() >= OFFERS_MAX {
                let limit = format!("{OFFERS_MAX} inputs are offered to agents at once");
                return Err(Error::Busy { limit, retry_after_s: 60 });
            }
            offers.insert((run, input.to_owned(), index), data.clone());
            Ok(self.url(run, &format!("inputs/{input}/{index}")))
        })
    }

    fn upload_url(&self, run: RunId, output: &str) -> Option<String> {
        Some(self.url(run, &format!("outputs/{output}")))
    }

    fn take_upload<'a>(&'a self, run: RunId, output: &'a str, n: u64) -> BoxFuture<'a, Result<Data, Error>> {
        let path = self.upload_path(run, output, n);
        Box::pin(async move {
            Data::file(path).map_err(|error| {
                Error::internal(format!(
                    "chunk {n} of output '{output}' of run {run} was announced and not uploaded: {error}"
                ))
            })
        })
    }

    fn release(&self, run: RunId) {
        self.offers.lock().unwrap_or_else(PoisonError::into_inner).retain(|(other, _, _), _| *other != run);
        let folder = self.folder.join(run.to_string());
        if let Err(error) = std::fs::remove_dir_all(&folder)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, folder = %folder.display(), "uploads of a run can't be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anabranch_model::JobId;

    #[test]
    fn only_our_own_urls_are_taken() {
        let plane = DataPlane::new("http://127.0.0.1:1".into(), "key", PathBuf::from("/nowhere"));
        let run = RunId { job: JobId::random(), attempt: 1 };
        let token = plane.token(run);
        assert_eq!(plane.authorize(&run.to_string(), &token), Some(run));
        let other = RunId { job: JobId::random(), attempt: 1 };
        for (run, token) in [
            (other.to_string(), token.as_str()),
            (run.to_string(), "00"),
            (run.to_string(), ""),
            (run.to_string(), "zz"),
        ] {
            assert_eq!(plane.authorize(&run, token), None);
        }
        let stranger = DataPlane::new("http://127.0.0.1:1".into(), "other", PathBuf::from("/nowhere"));
        assert_eq!(stranger.authorize(&run.to_string(), &token), None);
    }

    #[test]
    fn output_names_never_become_paths() {
        let plane = DataPlane::new(String::new(), "key", PathBuf::from("/data"));
        let run = RunId { job: JobId::random(), attempt: 1 };
        let path = plane.upload_path(run, "../../etc/passwd", 0);
        assert_eq!(path.parent(), Some(PathBuf::from("/data").join(run.to_string()).as_path()));
    }
}
