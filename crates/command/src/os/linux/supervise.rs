//! The supervisor: the small process between us and the executable.
//!
//! It leads a session of its own and is the *subreaper* of everything below it, so that no process of the run can slip away:
//! whoever loses its parent becomes its child. Standard input is a socket to the parent. It closes when the parent dies, even by
//! `kill -9`, and then everything below is killed. Without threads, runtime or argument parser: it starts in a millisecond.

use super::cgroup;
use super::tree::{Children, end_descendants, reap, reaped_cpu_ms};
use super::{Orders, STDIN, TERMINATE, Word};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, WaitStatus, getpid, getrlimit, kill_process_group, pidfd_open,
    set_child_subreaper, setrlimit, setsid,
};
use std::ffi::OsString;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// How often orphans that ended are reaped while the executable runs: nobody waits for them.
const REAP_INTERVAL: Duration = Duration::from_secs(1);

/// How often to look where the kernel has no pidfd (before 5.3).
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// How long processor time may be exceeded before the signal that can't be ignored, in seconds.
const CPU_GRACE_SECONDS: u64 = 5;

/// How readily the kernel ends a run when memory is short: rather than the server, which has 0.
const OOM_SCORE: &str = "500";

/// Exit code where the parent went away or gave no sensible orders; nobody is left to read it.
const ABANDONED: u8 = 125;

/// The whole life of the supervisor. `arguments` are those after [`crate::SUPERVISE`]; nothing may have been read from standard
/// input, and no thread may have been started.
#[must_use]
pub fn supervise_main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    // Fails only for the leader of a group, which has what is wanted already.
    let _leader = setsid();
    let stdin = std::io::stdin();
    let control = stdin.as_fd();
    match begin(control, arguments) {
        Ok(child) => {
            say(control, Word::Started);
            match watch(control, &child) {
                Watched::Abandoned => {
                    if child.is_patient {
                        wind_up(&child);
                    }
                    end_descendants(child.group.as_deref(), |_, _| {});
                    ExitCode::from(ABANDONED)
                }
                Watched::Ended { status } => finish(control, &child, status),
            }
        }
        Err(error) => {
            say(control, Word::NotStarted(error.raw_os_error().unwrap_or(0)));
            ExitCode::from(ABANDONED)
        }
    }
}

struct Child {
    pid: Pid,
    /// Readable when it has ended; `None` on old kernels.
    pidfd: Option<OwnedFd>,
    grace: Duration,
    is_patient: bool,
    /// Folder of the run's control group.
    group: Option<PathBuf>,
}

#[expect(clippy::disallowed_methods, reason = "the one place where executables are started")]
fn begin(control: BorrowedFd<'_>, mut arguments: impl Iterator<Item = OsString>) -> std::io::Result<Child> {
    let invalid = || std::io::Error::from(Errno::INVAL);
    let orders = arguments.next().and_then(|text| Orders::from_text(text.to_str()?)).ok_or_else(invalid)?;
    let mut folder =
        || arguments.next().map(|text| (text != "-").then(|| PathBuf::from(text))).ok_or_else(invalid);
    let (group, own) = (folder()?, folder()?);
    let program = arguments.next().ok_or_else(invalid)?;
    set_child_subreaper(Some(getpid()))?;
    if !orders.new_privileges {
        rustix::thread::set_no_new_privs(true)?;
    }
    limit(&orders)?;
    // The descriptors of standard output and error pass through; all others are closed on execution.
    let stdin = if orders.is_fed { Stdio::from(received(control)?) } else { Stdio::null() };
    let mut command = Command::new(program);
    command.args(arguments).stdin(stdin).process_group(0);
    // Who is started is in the group of who starts it; the supervisor itself is to survive the end of the group.
    group.as_deref().map_or(Ok(()), cgroup::enter)?;
    let child = command.spawn();
    // Our own end of standard input with it: whoever feeds has to see when nobody reads any more.
    drop(command);
    own.as_deref().map_or(Ok(()), cgroup::enter)?;
    let child = child?;
    let raw = i32::try_from(child.id()).map_err(std::io::Error::other)?;
    let pid = Pid::from_raw(raw).ok_or_else(invalid)?;
    // Not vital: without the right to it the run is as likely to be ended as any other.
    let _unprivileged = std::fs::write(format!("/proc/{raw}/oom_score_adj"), OOM_SCORE);
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok();
    Ok(Child {
        pid,
        pidfd,
        grace: Duration::from_millis(orders.grace_ms),
        is_patient: orders.is_patient,
        group,
    })
}

/// The descriptor that the parent hands over.
fn received(control: BorrowedFd<'_>) -> std::io::Result<OwnedFd> {
    let mut said = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    recvmsg(control, &mut [IoSliceMut::new(&mut said)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let descriptor = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    descriptor.filter(|_| said[0] == STDIN).ok_or_else(|| std::io::Error::from(Errno::INVAL))
}

/// Limits the supervisor itself: whatever it starts inherits that.
fn limit(orders: &Orders) -> std::io::Result<()> {
    set(Resource::Core, Some(0), 0)?;
    set(Resource::As, orders.memory_bytes, 0)?;
    set(Resource::Fsize, orders.file_bytes, 0)?;
    set(Resource::Nofile, orders.open_files, 0)?;
    set(Resource::Cpu, orders.cpu_seconds, CPU_GRACE_SECONDS)?;
    set(Resource::Nproc, orders.processes, 0)
}

fn set(resource: Resource, wanted: Option<u64>, margin: u64) -> std::io::Result<()> {
    let Some(wanted) = wanted else { return Ok(()) };
    // Nobody but the superuser may raise the upper limit: what is there already holds too.
    let upper = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let hard = wanted.saturating_add(margin).min(upper);
    setrlimit(resource, Rlimit { current: Some(wanted.min(hard)), maximum: Some(hard) })?;
    Ok(())
}

enum Watched {
    /// The parent is gone.
    Abandoned,
    /// The executable ended, or has to.
    Ended { status: Option<WaitStatus> },
}

/// Waits until the executable ends, its grace is over, or the parent goes away.
fn watch(control: BorrowedFd<'_>, child: &Child) -> Watched {
    let mut killed_at: Option<Instant> = None;
    loop {
        let mut status = None;
        let children = reap(&mut |pid, its_status| {
            if pid == child.pid {
                status = Some(its_status);
            }
        });
        if status.is_some() || children == Children::None {
            return Watched::Ended { status };
        }
        let left = killed_at.map(|at| at.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Watched::Ended { status: None };
        }
        let interval = if child.pidfd.is_some() { REAP_INTERVAL } else { LOOK_INTERVAL };
        if !wait(control, child, left.map_or(interval, |left| left.min(interval))) {
            continue;
        }
        match order(control) {
            Order::Terminate if killed_at.is_none() => {
                killed_at = Some(Instant::now() + child.grace);
                let _gone = kill_process_group(child.pid, Signal::TERM);
                // A stopped process gets no signal but this one.
                let _gone = kill_process_group(child.pid, Signal::CONT);
            }
            Order::Terminate | Order::None => {}
            Order::Abandon => return Watched::Abandoned,
        }
    }
}

/// Asks for the end politely, and waits for it as long as the grace lasts.
fn wind_up(child: &Child) {
    let deadline = Instant::now() + child.grace;
    let _gone = kill_process_group(child.pid, Signal::TERM);
    while reap(&mut |_, _| {}) == Children::Some && Instant::now() < deadline {
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// Waits for an event; true where the parent has said something.
fn wait(control: BorrowedFd<'_>, child: &Child, time: Duration) -> bool {
    // A millisecond more than asked: waking up too early would mean one idle round more.
    let time = Timespec::try_from(time + Duration::from_millis(1)).unwrap_or_default();
    let control = PollFd::from_borrowed_fd(control, PollFlags::IN);
    let said = |fd: &PollFd<'_>| !fd.revents().is_empty();
    match &child.pidfd {
        Some(pidfd) => {
            let mut both = [control, PollFd::new(pidfd, PollFlags::IN)];
            poll(&mut both, Some(&time)).is_ok() && said(&both[0])
        }
        None => {
            let mut one = [control];
            poll(&mut one, Some(&time)).is_ok() && said(&one[0])
        }
    }
}

enum Order {
    None,
    Terminate,
    Abandon,
}

fn order(control: BorrowedFd<'_>) -> Order {
    let mut said = [0];
    match rustix::io::read(control, &mut said) {
        Ok(1) if said[0] == TERMINATE => Order::Terminate,
        Ok(1) | Err(Errno::INTR | Errno::AGAIN) => Order::None,
        Ok(_) | Err(_) => Order::Abandon,
    }
}

/// Ends what the executable left behind, and tells how it ended itself.
fn finish(control: BorrowedFd<'_>, child: &Child, mut status: Option<WaitStatus>) -> ExitCode {
    let left = end_descendants(child.group.as_deref(), |pid, its_status| {
        if pid == child.pid {
            status = Some(its_status);
        }
    });
    let cpu_ms = reaped_cpu_ms().unwrap_or(0);
    let signal = status.and_then(WaitStatus::terminating_signal);
    let word = match (status.and_then(WaitStatus::exit_status), signal) {
        (Some(code), _) => Word::Exited(code, left, cpu_ms),
        (None, Some(signal)) => Word::Killed(signal, left, cpu_ms),
        (None, None) => Word::Killed(Signal::KILL.as_raw(), left, cpu_ms),
    };
    say(control, word);
    ExitCode::SUCCESS
}

fn say(control: BorrowedFd<'_>, word: Word) {
    // A parent that is gone hears nothing; the next read of the socket shows that.
    let _gone = rustix::io::write(control, word.to_line().as_bytes());
}
