//! SIGINT and SIGTERM: the first one asks for an end in order, the second one takes it. SIGUSR1 and SIGUSR2 turn draining of an agent
//! on and off.

use anabranch_remote::Drain;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code of a program ended by a second signal.
const EXIT_IMPATIENT: i32 = 130;

/// Turned on by SIGUSR1 and off by SIGUSR2.
///
/// # Errors
/// Where the system gives no signal handlers.
pub(crate) fn drain_switch() -> anyhow::Result<Drain> {
    let drain = Drain::default();
    let (mut on, mut off) = (signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?);
    let switch = drain.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                Some(()) = on.recv() => switch.set(true),
                Some(()) = off.recv() => switch.set(false),
                else => break,
            }
        }
    });
    Ok(drain)
}

/// A token that is cancelled by the first signal.
///
/// # Errors
/// Where the system gives no signal handlers.
pub(crate) fn shutdown_token() -> anyhow::Result<CancellationToken> {
    let token = CancellationToken::new();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let cancelled = token.clone();
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if first {
                tracing::info!("stopping; a second signal ends at once");
                cancelled.cancel();
            } else {
                std::process::exit(EXIT_IMPATIENT);
            }
        }
    });
    Ok(token)
}
