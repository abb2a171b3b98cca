//! How bytes get from the server to agents and back: capability URLs over HTTP, one set a run.
//!
//! A URL holds a keyed hash of its run, so that nobody can make one up. All that is kept of a run lies in a folder of its own,
//! because runs outlive the server: what was offered, uploaded or noted is still there after a restart.

use crate::folder::sync_entries;
use crate::shared_folder::{SharedError, SharedFolders};
use anabranch_engine::{Engine, JobView};
use anabranch_model::{BoxFuture, Data, Error, JobId, Viewer};
use anabranch_remote::{RunId, ServerData};
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The server's end.
pub(crate) struct DataPlane {
    engine: Engine,
    /// URL of the server as agents reach it, without `/` at its end.
    base: String,
    key: Vec<u8>,
    /// One folder a run, in which `in-*` is offered and `out-*` was uploaded; in [`SENT`] is a file for each run that was sent.
    folder: PathBuf,
    shared: SharedFolders,
    /// Other servers have the same folder.
    several: bool,
}

const SENT: &str = "sent";

impl DataPlane {
    pub(crate) fn new(
        engine: Engine,
        base: String,
        key: &str,
        folder: PathBuf,
        shared: SharedFolders,
    ) -> Self {
        Self { engine, base, key: key.as_bytes().to_vec(), folder, shared, several: false }
    }

    /// One of several servers that have the same folder.
    pub(crate) fn of_several(self, several: bool) -> Self {
        Self { several, ..self }
    }

    /// Removes what runs of jobs that are over have left, e.g. when the server was killed. To be called before agents come.
    pub(crate) async fn sweep(&self) {
        for folder in [&self.folder, &self.folder.join(SENT)] {
            let Ok(entries) = fs::read_dir(folder) else { continue };
            for entry in entries.flatten().filter(|entry| entry.file_name() != SENT) {
                let run = entry.file_name().to_str().and_then(|name| name.parse::<RunId>().ok());
                // Of the runs that one attempt consisted of none is found again; but where there are other servers, theirs may go on.
                let needed = match run {
                    Some(run) if run.part.is_none() || self.several => self.is_unfinished(run.job).await,
                    Some(_) | None => false,
                };
                if !needed {
                    remove(&entry.path());
                }
            }
        }
    }

    /// The job is known and not over: what its run's agent sends is still wanted.
    pub(crate) async fn is_unfinished(&self, job: JobId) -> bool {
        self.engine.job(&Viewer::Operator, job).await.is_ok_and(|view| !view.job.is_finished())
    }

    fn run_folder(&self, run: RunId) -> PathBuf {
        self.folder.join(run.to_string())
    }

    fn sent(&self, run: RunId) -> PathBuf {
        self.folder.join(SENT).join(run.to_string())
    }

    /// A file of a run. Names of inputs and outputs come from outside: they are hashed, never a path.
    fn file(&self, run: RunId, kind: &str, name: &str, n: u64) -> PathBuf {
        let hash: String =
            Sha256::digest(name.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        self.run_folder(run).join(format!("{kind}-{hash}.{n}"))
    }

    /// Where an uploaded chunk is kept.
    pub(crate) fn upload_path(&self, run: RunId, output: &str, n: u64) -> PathBuf {
        self.file(run, "out", output, n)
    }

    /// Where an offered value is kept.
    pub(crate) fn offer_path(&self, run: RunId, input: &str, index: u64) -> PathBuf {
        self.file(run, "in", input, index)
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

    fn url(&self, run: RunId, rest: &str) -> String {
        format!("{}/agent-data/{run}/{}/{rest}", self.base, self.token(run))
    }
}

/// Makes `path` hold the data, whole or not at all; a file is linked where the file system can.
fn offer(path: &Path, data: &Data) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let partial = path.with_extension("partial");
    let _left_by_a_crash = fs::remove_file(&partial);
    match data {
        Data::Bytes(bytes) => fs::write(&partial, bytes)?,
        Data::File(file) => {
            if fs::hard_link(&file.path, &partial).is_err() {
                fs::copy(&file.path, &partial)?;
            }
        }
    }
    fs::rename(partial, path)
}

/// Makes files in one folder that a power failure does not undo, and the folder where it is missing.
fn note(paths: &[PathBuf]) -> io::Result<()> {
    let Some(folder) = paths.first().and_then(|path| path.parent()) else { return Ok(()) };
    if !folder.is_dir() {
        fs::create_dir_all(folder)?;
        for above in folder.ancestors().skip(1).take(2) {
            sync_entries(above)?;
        }
    }
    for path in paths {
        fs::File::create(path)?;
    }
    sync_entries(folder)
}

/// Removes a file, or a folder with all in it.
fn remove(path: &Path) {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    if let Err(error) = removed
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "what a run has left can't be removed");
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
        let (path, data) = (self.offer_path(run, input, index as u64), data.clone());
        Box::pin(async move {
            let offered =
                tokio::task::spawn_blocking(move || offer(&path, &data)).await.map_err(Error::internal)?;
            offered.map_err(|error| match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::NotEnoughStorage {
                    detail: format!("input '{input}' can't be offered to an agent: {error}"),
                },
                _ => Error::internal(format!("input '{input}' can't be offered to an agent: {error}")),
            })?;
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

    fn take_shared<'a>(
        &'a self,
        run: RunId,
        output: &'a str,
        path: &'a str,
    ) -> BoxFuture<'a, Result<Data, Error>> {
        let (shared, from, to) = (self.shared.clone(), path.to_owned(), self.file(run, "shared", output, 0));
        Box::pin(async move {
            let copied = tokio::task::spawn_blocking(move || {
                shared.copy(&from, &to)?;
                Ok::<_, SharedError>(Data::file(to)?)
            });
            copied.await.map_err(Error::internal)?.map_err(|error| {
                let message = format!("the result that the agent named for output '{output}' can't be taken");
                let detail = format!("{path:?}: {error}");
                tracing::warn!(%run, output, detail, "a shared result is not taken");
                Error::ProcessFailed { message, detail }
            })
        })
    }

    fn chunks_stored<'a>(&'a self, run: RunId, output: &'a str) -> BoxFuture<'a, Option<u64>> {
        Box::pin(async move {
            let view = self.engine.job(&Viewer::Operator, run.job).await.ok()?;
            Some(view.outputs.iter().find(|summary| summary.id == output).map_or(0, |summary| summary.chunks))
        })
    }

    /// Synced before it ends: after a power failure the runs must be searched for too, not begun again.
    fn note_sent<'a>(&'a self, runs: &'a [RunId]) -> BoxFuture<'a, Result<(), Error>> {
        let notes: Vec<PathBuf> = runs.iter().map(|run| self.sent(*run)).collect();
        let noted = tokio::task::spawn_blocking(move || note(&notes));
        let cannot = |error: io::Error| {
            let detail =
                format!("that a run is sent can't be noted, and unnoted it might run twice: {error}");
            match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Error::NotEnoughStorage { detail }
                }
                _ => Error::internal(detail),
            }
        };
        Box::pin(async move { noted.await.map_err(Error::internal)?.map_err(cannot) })
    }

    fn forget_sent(&self, run: RunId) {
        remove(&self.sent(run));
    }

    fn was_sent(&self, run: RunId) -> bool {
        self.sent(run).exists()
    }

    fn is_wanted(&self, run: RunId) -> BoxFuture<'static, bool> {
        let engine = self.engine.clone();
        Box::pin(async move {
            match engine.job(&Viewer::Operator, run.job).await {
                Ok(view) => !view.job.is_finished() && view.job.attempt == run.attempt,
                Err(error) => !matches!(error, Error::NoSuchJob(_) | Error::Gone { .. }),
            }
        })
    }

    /// Bytes go at once. That the run was sent is remembered until the job's end is written down: a server killed in between
    /// must search for the run, and not begin it a second time.
    fn release(&self, run: RunId) {
        remove(&self.run_folder(run));
        if run.part.is_some() {
            return;
        }
        let (engine, sent) = (self.engine.clone(), self.sent(run));
        tokio::spawn(async move {
            let over = |view: &Arc<JobView>| view.job.is_finished() || view.job.attempt > run.attempt;
            let over = match engine.watch(&Viewer::Operator, run.job).await {
                Ok(mut watched) => watched.wait_for(over).await.is_ok(),
                Err(error) => matches!(error, Error::NoSuchJob(_) | Error::Gone { .. }),
            };
            // Else the server is stopping, and the next one must know.
            if over {
                remove(&sent);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anabranch_egress::{Egress, Policy};
    use anabranch_engine::{EngineConfig, Limits, Quotas, Submitter};
    use anabranch_model::{
        DismissedBy, ExecuteRequest, ExecutionMode, FormatHint, InputData, InputItem, ResponseForm, TextForm,
    };
    use std::time::Duration;

    async fn plane(key: &str) -> (tempfile::TempDir, DataPlane) {
        let temp = tempfile::tempdir().unwrap();
        let config = EngineConfig {
            data: temp.path().join("data"),
            limits: Limits::default(),
            quotas: Quotas::default(),
        };
        let engine = Engine::open(config, Egress::new(Policy::default())).await.unwrap();
        let plane = DataPlane::new(
            engine,
            "http://127.0.0.1:1".into(),
            key,
            temp.path().join("agent-data"),
            SharedFolders::default(),
        );
        (temp, plane)
    }

    fn run() -> RunId {
        RunId::whole(JobId::random(), 1)
    }

    #[tokio::test]
    async fn only_our_own_urls_are_taken() {
        let (_temp, plane) = plane("key").await;
        let (run, other) = (run().to_string(), run().to_string());
        let token = plane.token(run.parse().unwrap());
        assert!(plane.authorize(&run, &token).is_some());
        for (run, token) in [(&other, token.as_str()), (&run, "00"), (&run, ""), (&run, "zz"), (&run, "é")] {
            assert_eq!(plane.authorize(run, token), None);
        }
    }

    #[tokio::test]
    async fn what_was_offered_is_there_until_the_run_is_released() {
        let (_temp, plane) = plane("key").await;
        let run = run();
        let url = plane.offer_input(run, "dem", 0, &Data::Bytes("abc".into())).await.unwrap();
        assert!(url.starts_with("http://127.0.0.1:1/agent-data/") && url.ends_with("/inputs/dem/0"));
        assert_eq!(fs::read_to_string(plane.offer_path(run, "dem", 0)).unwrap(), "abc");
        assert!(!plane.was_sent(run));
        plane.note_sent(&[run]).await.unwrap();
        assert!(plane.was_sent(run));
        plane.release(run);
        assert!(!plane.offer_path(run, "dem", 0).exists());
        gone(&plane.sent(run)).await; // its job is unknown, as good as over
    }

    /// Waits until a folder is gone.
    async fn gone(folder: &Path) {
        let gone = async {
            while folder.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), gone).await.expect("the folder goes in time");
    }

    #[tokio::test]
    async fn that_a_run_was_sent_is_known_until_its_job_has_ended() {
        let (_temp, plane) = plane("key").await;
        for process in anabranch_algorithms::all_processes() {
            plane.engine.registry().publish(process);
        }
        let pause = InputData::Text { text: "600".into(), form: TextForm::Untyped };
        let pause = InputItem {
            id: "pause".into(),
            data: pause,
            format: FormatHint::default(),
            data_type: None,
            uom: None,
        };
        let request = ExecuteRequest {
            process: "echo".parse().unwrap(),
            inputs: vec![pause],
            outputs: vec![],
            mode: ExecutionMode::Async,
            response: ResponseForm::Raw,
            lineage: false,
            subscriber: None,
        };
        let job = plane.engine.submit(request, &Submitter::default()).await.unwrap().id();
        let run = RunId::whole(job, 1);
        plane.note_sent(&[run]).await.unwrap();
        plane.offer_input(run, "dem", 0, &Data::Bytes("abc".into())).await.unwrap();
        plane.release(run);
        assert!(plane.was_sent(run) && !plane.offer_path(run, "dem", 0).exists());
        plane
            .engine
            .dismiss(&Viewer::Operator, job, DismissedBy::Client, Duration::from_secs(5))
            .await
            .unwrap();
        gone(&plane.sent(run)).await;
    }

    #[tokio::test]
    async fn names_never_become_paths_and_leftovers_are_swept() {
        let (_temp, plane) = plane("key").await;
        let run = run();
        let path = plane.upload_path(run, "../../etc/passwd", 0);
        assert_eq!(path.parent(), Some(plane.run_folder(run).as_path()));
        plane.note_sent(&[run]).await.unwrap();
        plane.sweep().await;
        assert!(!plane.was_sent(run), "its job is unknown");
    }
}
