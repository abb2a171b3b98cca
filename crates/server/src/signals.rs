//! SIGINT and SIGTERM: the first one asks for an end in order, the second one takes it.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code of a program ended by a second signal.
const EXIT_IMPATIENT: i32 = 130;

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
