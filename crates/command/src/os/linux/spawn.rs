//! Our side of a run: starting its supervisor, talking with it.

use super::cgroup::{RunGroup, RunGroups};
use super::tree::end_marked;
use super::{Orders, STDIN, TERMINATE, Word};
use crate::os::{End, How, Launch, RUN_VARIABLE, Told};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

/// Name of the supervisor in lists of processes.
const SUPERVISOR_NAME: &str = "anabranch";

/// Longest line of the supervisor, in bytes: a word and three numbers.
const WORD_BYTES_MAX: usize = 256;

/// A run. Dropping it ends the run at once: the supervisor sees the socket close.
pub(crate) struct Supervised {
    supervisor: Child,
    control: UnixStream,
    said: Vec<u8>,
    run: String,
    group: Option<RunGroup>,
}

/// Streams of the run to be read.
pub(crate) struct Streams {
    /// `None` where it goes to a file.
    pub(crate) stdout: Option<ChildStdout>,
    pub(crate) stderr: Option<ChildStderr>,
}

impl Supervised {
    /// Starts a supervisor, which starts the executable.
    ///
    /// # Errors
    /// Where the supervisor can't be started. What happens to the executable is told by [`Supervised::told`].
    #[expect(clippy::disallowed_methods, reason = "the one place where supervisors are started")]
    pub(crate) fn spawn(launch: Launch<'_>) -> io::Result<(Self, Streams)> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        let is_fed = launch.stdin.is_some();
        if let Some(stdin) = launch.stdin {
            hand_over(&ours, &stdin)?;
        }
        ours.set_nonblocking(true)?;
        let control = UnixStream::from_std(ours)?;
        let limits = launch.limits;
        let group = launch.groups.map(|groups| groups.make_run(launch.run, &limits.run)).transpose()?;
        // Without a group that limits them all, each process is limited by itself.
        let each = if RunGroups::missing(launch.groups, &limits.run).contains(&"run_memory") {
            limits.run.memory_bytes
        } else {
            None
        };
        let groups = match &group {
            Some(group) => {
                let (run, own) = group.folders();
                [run.as_os_str().to_owned(), own.as_os_str().to_owned()]
            }
            None => ["-".into(), "-".into()],
        };
        let orders = Orders {
            grace_ms: u64::try_from(launch.grace.as_millis()).unwrap_or(u64::MAX),
            memory_bytes: limits.memory_bytes.into_iter().chain(each).min(),
            file_bytes: limits.file_bytes,
            open_files: limits.open_files,
            cpu_seconds: limits.cpu_seconds,
            processes: limits.processes,
            new_privileges: limits.new_privileges,
            is_patient: launch.is_patient,
            is_fed,
        };
        let mut supervisor = Command::new(&launch.supervisor.program)
            .arg0(SUPERVISOR_NAME)
            .args(&launch.supervisor.arguments)
            .arg(orders.to_text())
            .args(groups)
            .arg(launch.program)
            .args(launch.arguments)
            .env_clear()
            .envs(launch.environment.iter().map(|(name, value)| (name, value)))
            .env(RUN_VARIABLE, launch.run)
            .current_dir(launch.folder)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(launch.stdout.map_or_else(Stdio::piped, Stdio::from))
            .stderr(Stdio::piped())
            .spawn()?;
        let streams = Streams { stdout: supervisor.stdout.take(), stderr: supervisor.stderr.take() };
        Ok((Self { supervisor, control, said: Vec::new(), run: launch.run.to_owned(), group }, streams))
    }

    /// The next thing that the supervisor tells. May be cancelled and called again.
    pub(crate) async fn told(&mut self) -> Told {
        loop {
            if let Some(end) = self.said.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.said.drain(..=end).collect();
                return match std::str::from_utf8(&line).ok().and_then(Word::from_line) {
                    Some(word) => told(word),
                    None => Told::Ended(End::UNKNOWN),
                };
            }
            let read = self.control.read_buf(&mut self.said).await;
            if self.said.len() > WORD_BYTES_MAX || !matches!(read, Ok(1..)) {
                return Told::Ended(End::UNKNOWN);
            }
        }
    }

    /// Asks for the end: politely first, then not.
    pub(crate) async fn terminate(&mut self) {
        // Where it can't be written the supervisor is gone, which `told` finds out.
        let _gone = self.control.write_all(&[TERMINATE]).await;
    }

    /// Ends what the supervisor left when it was killed or hangs. Gives the number of processes that could not be ended.
    pub(crate) async fn end_by_force(&mut self) -> usize {
        let _gone = self.supervisor.start_kill();
        let _status = self.supervisor.wait().await;
        if let Some(group) = &self.group {
            group.kill();
        }
        let run = self.run.clone();
        tokio::task::spawn_blocking(move || end_marked(&run)).await.unwrap_or(1)
    }
}

/// Puts a descriptor into the socket, for the supervisor that is about to read there: it is that of standard input already.
fn hand_over(control: &std::os::unix::net::UnixStream, stdin: &OwnedFd) -> io::Result<()> {
    let descriptors = [stdin.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    sendmsg(control, &[IoSlice::new(&[STDIN])], &mut ancillary, SendFlags::empty())?;
    Ok(())
}

fn told(word: Word) -> Told {
    let (how, left, cpu_ms) = match word {
        Word::Started => return Told::Started,
        Word::NotStarted(error) => (How::NotStarted(io::Error::from_raw_os_error(error).to_string()), 0, 0),
        Word::Exited(code, left, cpu_ms) => (How::Exited(code), left, cpu_ms),
        Word::Killed(signal, left, cpu_ms) => (How::Killed(signal_name(signal)), left, cpu_ms),
    };
    Told::Ended(End { how, left, cpu: Duration::from_millis(cpu_ms) })
}

fn signal_name(signal: i32) -> String {
    // The numbers that are the same on every architecture, and what they most often mean.
    match signal {
        1 => "SIGHUP".into(),
        2 => "SIGINT".into(),
        4 => "SIGILL (illegal instruction)".into(),
        6 => "SIGABRT (aborted)".into(),
        8 => "SIGFPE (arithmetic error)".into(),
        9 => "SIGKILL (killed, perhaps for want of memory)".into(),
        11 => "SIGSEGV (invalid memory access)".into(),
        13 => "SIGPIPE".into(),
        15 => "SIGTERM".into(),
        24 => "SIGXCPU (limit of processor time)".into(),
        25 => "SIGXFSZ (limit of file size)".into(),
        other => format!("signal {other}"),
    }
}
