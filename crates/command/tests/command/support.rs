//! A sink that remembers, services made of scripts, and waiting with deadlines.

use anabranch_command::{CommandProcess, RunGroups, Settings, Supervisor, check};
use anabranch_model::bind::bind;
use anabranch_model::{
    BoxFuture, ChunkReader, Data, Error, ExecuteRequest, Execution, ExecutionMode, Feed, FormatHint,
    InputData, InputItem, JobId, LogLine, OutputSink, Process, ResponseForm, TextForm, Value,
};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Longest wait for anything, with two busy cores in mind.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The example program, which can supervise.
pub(crate) fn host_program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("examples/run_service");
    assert!(
        program.is_file(),
        "{} is built by `cargo test` without a selection of targets",
        program.display()
    );
    program
}

/// What a run pushed.
pub(crate) struct Sink {
    folder: tempfile::TempDir,
    cancel: watch::Sender<bool>,
    pub(crate) started: watch::Sender<u32>,
    pub(crate) chunks: Mutex<Vec<(String, String)>>,
    pub(crate) progress: Mutex<Vec<(f32, Option<String>)>>,
    /// Why it has not begun.
    pub(crate) waiting: Mutex<Vec<String>>,
    pub(crate) lines: Mutex<Vec<LogLine>>,
}

impl Sink {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            cancel: watch::channel(false).0,
            started: watch::channel(0).0,
            chunks: Mutex::default(),
            progress: Mutex::default(),
            waiting: Mutex::default(),
            lines: Mutex::default(),
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn cancel(&self) {
        self.cancel.send_replace(true);
    }

    pub(crate) fn log_text(&self) -> String {
        let lines = self.lines.lock().unwrap();
        lines.iter().map(|line| format!("{:?} {}\n", line.source, line.text)).collect()
    }

    pub(crate) fn chunk(&self, output: &str) -> String {
        let chunks = self.chunks.lock().unwrap();
        chunks
            .iter()
            .filter(|(id, _)| id == output)
            .map(|(_, text)| text.as_str())
            .collect::<Vec<_>>()
            .join("|")
    }
}

impl OutputSink for Sink {
    fn started(&self, _on: Option<&str>) {
        self.started.send_modify(|count| *count += 1);
    }

    fn waiting(&self, reason: &str) {
        self.waiting.lock().unwrap().push(reason.to_owned());
    }

    fn write(&self, output: &str, chunk: Value) -> BoxFuture<'_, Result<(), Error>> {
        let text = match chunk {
            Value::Literal(literal) => literal.text,
            Value::BoundingBox(area) => format!("{:?} {:?}", area.lower, area.upper),
            Value::Complex(value) => {
                let text = value.data.read_all(1 << 20).unwrap();
                // As a store does it: the file is moved away.
                if let Some(path) = value.data.path() {
                    std::fs::remove_file(path).unwrap();
                }
                String::from_utf8_lossy(&text).into_owned()
            }
        };
        self.chunks.lock().unwrap().push((output.to_owned(), text));
        Box::pin(std::future::ready(Ok(())))
    }

    fn progress(&self, percent: f32, message: Option<&str>) {
        self.progress.lock().unwrap().push((percent, message.map(str::to_owned)));
    }

    fn log(&self, line: LogLine) {
        self.lines.lock().unwrap().push(line);
    }

    fn cancelled(&self) -> BoxFuture<'_, ()> {
        let mut cancel = self.cancel.subscribe();
        Box::pin(async move {
            if cancel.wait_for(|cancelled| *cancelled).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }

    fn is_cancelled(&self) -> bool {
        *self.cancel.borrow()
    }

    fn scratch(&self) -> &Path {
        self.folder.path()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            tokio::select! {
                () = tokio::time::sleep(duration) => {}
                () = self.cancelled() => {}
            }
        })
    }
}

/// A service made of a script.
pub(crate) struct Run {
    pub(crate) sink: Arc<Sink>,
    pub(crate) folder: tempfile::TempDir,
    path: PathBuf,
    file: String,
    /// Where its runs get control groups.
    pub(crate) groups: Option<RunGroups>,
}

impl Run {
    /// `script` is run by `sh`; `outputs` are its outputs and more of the service file, before `[command]`; `{folder}` in both is
    /// a folder of the test's own.
    pub(crate) fn new(script: &str, file: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().to_str().unwrap();
        std::fs::write(folder.path().join("script"), script.replace("{folder}", place)).unwrap();
        let file = file.replace("{folder}", place).replace("SCRIPT", &format!("'{place}/script'"));
        let outputs = "[outputs.out]\ntype = 'string'\nfile = 'out'\n";
        let outputs = if file.contains("[outputs") { "" } else { outputs };
        let command = format!("[command]\nprogram = '/bin/sh'\narguments = ['{place}/script']\n");
        let file = match file.split_once("[command]") {
            Some((before, after)) if after.contains("program") => {
                format!("identifier = 'x'\n{before}{outputs}[command]{after}")
            }
            Some((before, after)) => format!("identifier = 'x'\n{before}{outputs}{command}{after}"),
            None => format!("identifier = 'x'\n{file}\n{outputs}{command}"),
        };
        let path = folder.path().join("x.toml");
        Self { sink: Arc::new(Sink::new()), folder, path, file, groups: None }
    }

    /// A service file of `testdata/`.
    pub(crate) fn of_file(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name);
        let file = std::fs::read_to_string(&path).unwrap();
        Self { sink: Arc::new(Sink::new()), folder: tempfile::tempdir().unwrap(), path, file, groups: None }
    }

    pub(crate) async fn execute(&self) -> Result<(), Error> {
        self.execute_with(&[]).await
    }

    pub(crate) async fn execute_with(&self, inputs: &[(&str, &str)]) -> Result<(), Error> {
        let supervisor = Supervisor { program: host_program(), ..Supervisor::this_program() };
        self.execute_under(supervisor, inputs, None).await
    }

    /// With the pieces of input `data` as they come.
    pub(crate) async fn execute_fed(&self, pieces: impl ChunkReader + 'static) -> Result<(), Error> {
        let supervisor = Supervisor { program: host_program(), ..Supervisor::this_program() };
        let feed = Feed::new("data", Box::new(pieces));
        self.execute_under(supervisor, &[("data", "{}")], Some(feed)).await
    }

    async fn execute_under(
        &self,
        supervisor: Supervisor,
        inputs: &[(&str, &str)],
        feed: Option<Feed>,
    ) -> Result<(), Error> {
        let report = check(&self.path, &self.file);
        let service = report.service.clone().unwrap_or_else(|| panic!("{report}\n{}", self.file));
        let text = |id: &str, text: &str| InputItem {
            id: id.into(),
            data: match text.strip_prefix('@') {
                Some(path) => InputData::Bytes(Data::file(path).unwrap()),
                None => InputData::Text { text: text.into(), form: TextForm::Untyped },
            },
            format: FormatHint::default(),
            data_type: None,
            uom: None,
        };
        let request = ExecuteRequest {
            process: service.description.id.clone(),
            inputs: inputs.iter().map(|(id, value)| text(id, value)).collect(),
            outputs: Vec::new(),
            mode: ExecutionMode::Auto,
            response: ResponseForm::Raw,
            lineage: false,
            subscriber: None,
        };
        let bound = bind(&service.description, &request)?;
        let outputs = bound.outputs.clone();
        let inputs = bound.into_inputs().unwrap();
        let sink: Arc<dyn OutputSink> = Arc::clone(&self.sink) as _;
        let process =
            Arc::new(CommandProcess::new(service, Settings { supervisor, groups: self.groups.clone() }));
        let execution = Execution {
            job: JobId::random(),
            attempt: 1,
            part: None,
            resume: false,
            written: 0,
            feed,
            arriving: None,
            inputs,
            outputs,
            sink,
        };
        tokio::time::timeout(DEADLINE, process.execute(execution)).await.expect("the run hangs")
    }

    /// Runs and wants it to fail; gives the text for clients.
    pub(crate) async fn failure(&self) -> String {
        match self.execute().await {
            Err(Error::ProcessFailed { message, .. }) => message,
            other => panic!("{other:?}\n{}", self.sink.log_text()),
        }
    }

    /// The process ids that the script wrote, one file each; waits for all of them.
    pub(crate) async fn pids(&self, names: &[&str]) -> Vec<u32> {
        let mut pids = Vec::new();
        for name in names {
            let path = self.folder.path().join(name);
            pids.push(
                until(&format!("{name} exists"), || std::fs::read_to_string(&path).ok()?.trim().parse().ok())
                    .await,
            );
        }
        pids
    }
}

/// Waits until there is something, and fails after the deadline.
pub(crate) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The process runs. Zombies, which wait for their parent only, do not.
pub(crate) fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

pub(crate) fn assert_dead(pids: &[u32]) {
    let alive: Vec<_> = pids.iter().filter(|pid| is_alive(**pid)).collect();
    assert!(alive.is_empty(), "still alive: {alive:?}");
}
