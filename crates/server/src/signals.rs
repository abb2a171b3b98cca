//! SIGINT and SIGTERM: the first one asks for an end in order, the second one takes it. SIGUSR1 and SIGUSR2 turn draining of an agent
//! or a server on and off.

use anabranch_engine::Engine;
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
    let switch = drain.clone();
    on_user_signals(move |on| switch.set(on))?;
    Ok(drain)
}

/// Has a server let in no more jobs at SIGUSR1, and let them in again at SIGUSR2.
///
/// # Errors
/// Where the system gives no signal handlers.
pub(crate) fn drain_on_signal(engine: Engine) -> anyhow::Result<()> {
    on_user_signals(move |on| {
        tracing::info!(on, "draining was switched by a signal");
        engine.set_draining(on);
    })
}

/// Switches on at SIGUSR1, off at SIGUSR2.
fn on_user_signals(switch: impl Fn(bool) + Send + 'static) -> anyhow::Result<()> {
    let (mut on, mut off) = (signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                Some(()) = on.recv() => switch(true),
                Some(()) = off.recv() => switch(false),
                else => break,
            }
        }
    });
    Ok(())
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
