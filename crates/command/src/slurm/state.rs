//! What Slurm says of a job, and how a job ended.

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By itself.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// It ran longer than it may.
    TimeLimit,
    /// We asked for it.
    Cancelled,
    /// It was never queued.
    Refused(String),
    /// Slurm or its operators ended it.
    Failed(String),
    /// Its node failed, or nobody knows it any more.
    Lost(String),
}

impl End {
    /// One line.
    pub(super) fn to_text(&self) -> String {
        match self {
            Self::Code(code) => format!("code {code}"),
            Self::Signal(number) => format!("signal {number}"),
            Self::TimeLimit => "limit -".to_owned(),
            Self::Cancelled => "cancelled -".to_owned(),
            Self::Refused(reason) => format!("refused {reason}"),
            Self::Failed(reason) => format!("failed {reason}"),
            Self::Lost(reason) => format!("lost {reason}"),
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (word, rest) = text.trim_end().split_once(' ')?;
        Some(match word {
            "code" => Self::Code(rest.parse().ok()?),
            "signal" => Self::Signal(rest.parse().ok()?),
            "limit" => Self::TimeLimit,
            "cancelled" => Self::Cancelled,
            "refused" => Self::Refused(rest.to_owned()),
            "failed" => Self::Failed(rest.to_owned()),
            "lost" => Self::Lost(rest.to_owned()),
            _ => return None,
        })
    }
}

/// Where a job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It waits, for this reason.
    Pending(String),
    /// It runs, or ends just now, on these nodes.
    Running(String),
    Ended(End),
}

/// Reads one line of `scontrol show job --oneliner`.
pub(super) fn of_scontrol(line: &str) -> Option<State> {
    let field = |name: &str| {
        line.split_ascii_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    };
    let nodes = field("NodeList").unwrap_or_default();
    Some(match field("JobState")? {
        "PENDING" | "CONFIGURING" | "REQUEUED" | "REQUEUE_HOLD" => {
            State::Pending(field("Reason").unwrap_or_default().to_owned())
        }
        "RUNNING" | "COMPLETING" | "SUSPENDED" | "STOPPED" | "SIGNALING" | "STAGE_OUT" | "RESIZING" => {
            State::Running(nodes.to_owned())
        }
        state => State::Ended(ended(state, field("ExitCode").unwrap_or_default(), nodes)),
    })
}

/// Reads the first line of `sacct --parsable2 --noheader --format=State,ExitCode,NodeList`, for jobs that `scontrol` has forgotten.
pub(super) fn of_sacct(output: &str) -> Option<State> {
    let mut fields = output.lines().next()?.split('|');
    // "CANCELLED by 1000"
    let state = fields.next()?.split(' ').next()?;
    let (exit, nodes) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
    Some(match state {
        "PENDING" => State::Pending(String::new()),
        "RUNNING" | "SUSPENDED" => State::Running(nodes.to_owned()),
        "" => return None,
        state => State::Ended(ended(state, exit, nodes)),
    })
}

/// `exit` is code and signal, as `1:0`.
fn ended(state: &str, exit: &str, nodes: &str) -> End {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<i32>().ok()).unwrap_or(0);
    let mut parts = exit.split(':');
    let (code, signal) = (number(parts.next()), number(parts.next()));
    match state {
        "COMPLETED" => End::Code(0),
        "FAILED" if signal != 0 => End::Signal(signal),
        "FAILED" => End::Code(if code == 0 { 1 } else { code }),
        "TIMEOUT" | "DEADLINE" => End::TimeLimit,
        "CANCELLED" => End::Failed("it was cancelled by someone else".to_owned()),
        "OUT_OF_MEMORY" => End::Failed("it used more memory than it asked for".to_owned()),
        "PREEMPTED" => End::Failed("another job took its place (preempted)".to_owned()),
        "NODE_FAIL" | "BOOT_FAIL" => End::Lost(format!("node {nodes} of the cluster failed")),
        other => End::Failed(format!("its state is {other}")),
    }
}

/// Where a job stands among those that wait, from 1; `queue` has one identifier a line, the next one first.
pub(super) fn position(queue: &str, job: &str) -> Option<usize> {
    queue.lines().position(|line| line.trim() == job).map(|index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_slurm_says_is_understood() {
        let job = |state: &str, exit: &str| {
            let line = format!(
                "JobId=7 JobName=anabranch x:y UserId=a(1) JobState={state} Reason=Resources ExitCode={exit} NodeList=n[1-2] BatchHost=n1"
            );
            of_scontrol(&line).unwrap()
        };
        assert_eq!(job("PENDING", "0:0"), State::Pending("Resources".into()));
        assert_eq!(job("RUNNING", "0:0"), State::Running("n[1-2]".into()));
        assert_eq!(job("COMPLETING", "0:0"), State::Running("n[1-2]".into()));
        for (state, exit, end) in [
            ("COMPLETED", "0:0", End::Code(0)),
            ("FAILED", "3:0", End::Code(3)),
            ("FAILED", "0:11", End::Signal(11)),
            ("TIMEOUT", "0:15", End::TimeLimit),
            ("NODE_FAIL", "0:0", End::Lost("node n[1-2] of the cluster failed".into())),
            ("OUT_OF_MEMORY", "0:125", End::Failed("it used more memory than it asked for".into())),
        ] {
            assert_eq!(job(state, exit), State::Ended(end), "{state}");
        }
        assert_eq!(
            of_sacct("CANCELLED by 0|0:15|n1\n"),
            Some(State::Ended(ended("CANCELLED", "0:15", "n1")))
        );
        assert_eq!(of_sacct("COMPLETED|0:0|n1\nCOMPLETED|0:0|n1\n"), Some(State::Ended(End::Code(0))));
        assert_eq!(of_sacct(""), None);
        assert_eq!(of_scontrol("slurm_load_jobs error: Invalid job id specified"), None);
        assert_eq!(position("12\n 9\n10\n", "9"), Some(2));
        assert_eq!(position("12\n", "9"), None);
    }

    #[test]
    fn ends_are_read_as_they_were_written() {
        for end in [
            End::Code(3),
            End::Signal(9),
            End::TimeLimit,
            End::Cancelled,
            End::Refused("a b".into()),
            End::Failed("c".into()),
            End::Lost("d e".into()),
        ] {
            assert_eq!(End::parse(&end.to_text()), Some(end));
        }
        assert_eq!(End::parse(""), None);
    }
}
