//! Room for connections: every one is an open file, and the system's usual soft limit is 1,024.

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is open besides clients' connections: the store, results that are read and written, agents, outbound requests.
const OTHERS: u64 = 4096;

/// Raises the soft limit to what so many connections need, as far as the hard limit allows; says so where it doesn't.
///
/// # Errors
/// Where the system refuses what it allows.
pub(crate) fn allow(connections_max: usize) -> anyhow::Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = OTHERS + connections_max as u64;
    let Some(soft) = current.filter(|soft| *soft < wanted) else { return Ok(()) };
    let raised = maximum.unwrap_or(u64::MAX).min(wanted);
    if raised < wanted {
        tracing::warn!(
            limit = raised,
            wanted,
            "the hard limit of open files is low for http.connections_max"
        );
    }
    if raised > soft {
        let limit = Rlimit { current: Some(raised), maximum };
        setrlimit(Resource::Nofile, limit).context("can't raise the limit of open files")?;
    }
    Ok(())
}
