//! The driver of one job: a small program between the supervisor and Slurm.

use super::state::{End, State, of_sacct, of_scontrol, position};
use super::{END, MARK, RAN, RUNS, STDERR, STDOUT};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

/// Between two looks into the files of a job: what it says is seen as quickly as that.
const READ_EVERY: Duration = Duration::from_millis(200);

/// Between two questions to Slurm: each costs its controller a lock. The first minute is asked more often, for short jobs.
const ASK_EVERY: Duration = Duration::from_secs(5);
const ASK_EVERY_AT_FIRST: Duration = Duration::from_millis(500);
const AT_FIRST: Duration = Duration::from_secs(60);

/// A command of Slurm that takes longer is thought to hang: they give up on their controller after 10 s by themselves.
const COMMAND_MAX: Duration = Duration::from_secs(60);

/// How long the controller may be away, or not know the job, before the job is given up: a restart takes a minute or two.
const UNKNOWN_MAX: Duration = Duration::from_secs(900);

/// Bytes read at once from a file of a job.
const READ_BYTES: usize = 64 << 10;

/// Exit code where the job has none.
const NO_CODE: u8 = 1;

/// Drives a job: `FOLDER SECONDS_MAX|- SBATCH_ARGUMENTS…`. To be called by `main` before anything else, when the first argument
/// is [`SLURM`](super::SLURM). Ends with the job's exit code; how it ended otherwise stands in a file of the folder.
pub fn slurm_main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let (folder, limit) = (arguments.next(), arguments.next());
    let (Some(folder), Some(limit)) = (folder.map(PathBuf::from), limit) else {
        return ExitCode::from(NO_CODE);
    };
    let limit = limit.to_str().and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("the driver can't start: {error}"));
            return ExitCode::from(NO_CODE);
        }
    };
    let end = runtime
        .block_on(drive(&folder, limit, arguments.collect()))
        .unwrap_or_else(|error| End::Lost(format!("the driver of the job failed: {error}")));
    if let Err(error) = std::fs::write(folder.join(END), end.to_text()) {
        say(&format!("the end of the job can't be written down: {error}"));
    }
    match end {
        End::Code(code) => ExitCode::from(u8::try_from(code).unwrap_or(NO_CODE)),
        _ => ExitCode::from(NO_CODE),
    }
}

async fn drive(folder: &Path, limit: Option<Duration>, sbatch: Vec<OsString>) -> io::Result<End> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let submitted = run("sbatch", [OsString::from("--parsable")].into_iter().chain(sbatch)).await;
    let job = match submitted {
        // With several clusters, their name stands behind a semicolon.
        Ok(text) => text.trim().split(';').next().unwrap_or_default().to_owned(),
        Err(reason) => return Ok(End::Refused(reason)),
    };
    let mut job = Job::new(job, folder);
    loop {
        tokio::select! {
            _ = terminate.recv() => job.cancel(End::Cancelled).await,
            _ = interrupt.recv() => job.cancel(End::Cancelled).await,
            () = sleep(READ_EVERY) => {}
        }
        job.pass_on();
        if let Some(end) = job.ask().await {
            job.pass_on();
            return Ok(end);
        }
        if limit.is_some_and(|limit| job.runs_since.is_some_and(|since| since.elapsed() > limit)) {
            job.cancel(End::TimeLimit).await;
        }
    }
}

struct Job {
    id: String,
    submitted: Instant,
    asked: Option<Instant>,
    /// When Slurm last knew it.
    known: Instant,
    runs_since: Option<Instant>,
    /// Why we ended it, once we have.
    cancelled: Option<End>,
    said: String,
    stdout: Tail,
    stderr: Tail,
}

impl Job {
    fn new(id: String, folder: &Path) -> Self {
        let now = Instant::now();
        Self {
            id,
            submitted: now,
            asked: None,
            known: now,
            runs_since: None,
            cancelled: None,
            said: String::new(),
            stdout: Tail::new(folder.join(STDOUT)),
            stderr: Tail::new(folder.join(STDERR)),
        }
    }

    /// Passes on what the job has written since the last time, once it is told that it runs: Slurm is asked at once where it seems to.
    /// Whoever reads us is gone where that fails, and ends us.
    fn pass_on(&mut self) {
        if self.runs_since.is_none() {
            if self.has_files() {
                self.asked = None;
            }
            return;
        }
        let _reader_gone = self.stdout.copy(&mut io::stdout());
        let _reader_gone = self.stderr.copy(&mut io::stderr());
    }

    /// Slurm makes them when it starts the job.
    fn has_files(&self) -> bool {
        self.stdout.path.exists() || self.stderr.path.exists()
    }

    /// It runs, or did when it ended.
    fn begin(&mut self, how: &str) {
        self.runs_since.get_or_insert_with(Instant::now);
        self.say(format!("job {} {how}", self.id));
    }

    async fn cancel(&mut self, why: End) {
        if self.cancelled.is_none() {
            self.cancelled = Some(why);
            if let Err(reason) = run("scancel", [OsString::from(&self.id)]).await {
                say(&format!("job {} can't be cancelled: {reason}", self.id));
                self.cancelled = None;
            }
            self.asked = None;
        }
    }

    /// Asks Slurm where the job stands, when it is time; its end, once it has come.
    async fn ask(&mut self) -> Option<End> {
        let at_first = self.submitted.elapsed() < AT_FIRST || self.cancelled.is_some();
        let every = if at_first { ASK_EVERY_AT_FIRST } else { ASK_EVERY };
        if self.asked.is_some_and(|asked| asked.elapsed() < every) {
            return None;
        }
        let state = self.state().await;
        self.asked = Some(Instant::now());
        match state {
            Ok(state) => {
                self.known = Instant::now();
                self.told(state).await
            }
            Err(reason) if self.known.elapsed() > UNKNOWN_MAX => {
                Some(End::Lost(format!("Slurm says nothing of job {} any more: {reason}", self.id)))
            }
            Err(reason) => {
                if self.runs_since.is_none() && self.has_files() {
                    self.begin(RUNS);
                }
                self.say(format!("job {}: nothing is known just now ({reason})", self.id));
                None
            }
        }
    }

    async fn told(&mut self, state: State) -> Option<End> {
        match state {
            State::Pending(reason) => {
                let place =
                    self.place().await.map_or_else(String::new, |place| format!(", position {place}"));
                let why = if matches!(reason.as_str(), "" | "None") {
                    String::new()
                } else {
                    format!(" ({reason})")
                };
                self.say(format!("job {} is queued{place}{why}", self.id));
                None
            }
            State::Running(nodes) => {
                self.begin(&format!("{RUNS} on {nodes}"));
                None
            }
            State::Ended(end) => {
                // A short one was never seen to run.
                if self.runs_since.is_none() && self.has_files() {
                    self.begin(RAN);
                }
                Some(self.cancelled.take().unwrap_or(end))
            }
        }
    }

    async fn state(&self) -> Result<State, String> {
        let known = run("scontrol", ["--oneliner", "show", "job", &self.id].map(OsString::from)).await;
        let reason = match known {
            Ok(text) => match of_scontrol(&text) {
                Some(state) => return Ok(state),
                None => "scontrol shows no state".to_owned(),
            },
            Err(reason) => reason,
        };
        // The controller forgets ended jobs after some minutes; the accounting, where there is one, does not.
        let accounted =
            ["--noheader", "--parsable2", "--allocations", "--format=State,ExitCode,NodeList", "--jobs"];
        let accounted = accounted.into_iter().chain([self.id.as_str()]).map(OsString::from);
        run("sacct", accounted).await.ok().and_then(|text| of_sacct(&text)).ok_or(reason)
    }

    /// Its place in the queue.
    async fn place(&self) -> Option<usize> {
        let waiting = ["--noheader", "--states=PENDING", "--sort=-p,i", "--format=%i"].map(OsString::from);
        position(&run("squeue", waiting).await.ok()?, &self.id)
    }

    fn say(&mut self, text: String) {
        if self.said != text {
            say(&text);
            self.said = text;
        }
    }
}

/// One line, of which the service's line rules know.
fn say(text: &str) {
    let _reader_gone = writeln!(io::stderr(), "{MARK}{}", text.replace('\n', " "));
}

/// Runs a command of Slurm and gives what it wrote.
#[expect(clippy::disallowed_methods, reason = "the driver starts Slurm's own commands, below a supervisor")]
async fn run(program: &str, arguments: impl IntoIterator<Item = OsString>) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let ended = match timeout(COMMAND_MAX, command.output()).await {
        Ok(Ok(ended)) => ended,
        Ok(Err(error)) => return Err(format!("{program} can't be run: {error}")),
        Err(_elapsed) => return Err(format!("{program} said nothing for {} s", COMMAND_MAX.as_secs())),
    };
    if !ended.status.success() {
        let said = String::from_utf8_lossy(&ended.stderr);
        let said = said.trim().lines().last().unwrap_or("no reason").trim();
        return Err(said.strip_prefix(&format!("{program}: error: ")).unwrap_or(said).to_owned());
    }
    Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
}

/// A file that grows.
struct Tail {
    path: PathBuf,
    file: Option<File>,
}

impl Tail {
    fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    fn copy(&mut self, to: &mut dyn Write) -> io::Result<()> {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut bytes = vec![0; READ_BYTES];
        loop {
            let count = file.read(&mut bytes)?;
            if count == 0 {
                return to.flush();
            }
            to.write_all(&bytes[..count])?;
        }
    }
}
