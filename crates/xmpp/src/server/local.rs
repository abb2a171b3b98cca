//! A session within the process: no socket, no password, the same [`Bus`] as over TCP.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Context;
use super::router::{Attached, Next, hold_over};
use crate::bus::{Bus, BusDriver, BusEvent, RoomJoin};
use crate::client::conversation::{Action, Conversation};
use crate::client::{ClientError, Timing};
use crate::wire::stanza::{is_stanza, size_estimate};

/// Pause before a session that was ended, as a slow reader most often, begins again.
const RESTART_PAUSE: Duration = Duration::from_millis(250);

/// Who is in the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalSession {
    /// User name; needs no account.
    pub user: String,
    pub resource: String,
    pub rooms: Vec<RoomJoin>,
}

/// Why the session goes no further.
enum Outcome {
    /// The program has no more use for it, or the server ends.
    Over,
    /// Ended by the router.
    Ended(&'static str),
}

pub(super) fn start(context: &Arc<Context>, session: LocalSession) -> Result<Bus, ClientError> {
    // There is no link that could die; the rooms answer at once.
    let timing = Timing { ping_every: None, ..Timing::default() };
    let LocalSession { user, resource, rooms } = session;
    let conversation = Conversation::new(timing, context.limits.stanza_bytes_max, rooms)?;
    let (bus, driver) = Bus::channel();
    context.tasks.spawn(run(Arc::clone(context), user, resource, conversation, driver));
    Ok(bus)
}

async fn run(
    context: Arc<Context>,
    user: String,
    resource: String,
    mut conversation: Conversation,
    mut driver: BusDriver,
) {
    loop {
        let attached = match context.router.attach(&user, &resource, None) {
            Ok(attached) => attached,
            Err(e) => {
                let value = format!("{user}/{resource}");
                let fatal = ClientError::Config { what: "local session", value, reason: e.to_string() };
                driver.emit(BusEvent::Fatal(fatal)).await;
                return;
            }
        };
        let jid = attached.jid.clone();
        let outcome = serve(attached, &mut conversation, &mut driver).await;
        conversation.link_down();
        let reason = match outcome {
            Outcome::Over | Outcome::Ended("system-shutdown") => return,
            Outcome::Ended("conflict") => {
                driver.emit(BusEvent::Fatal(ClientError::Conflict { jid })).await;
                return;
            }
            Outcome::Ended(condition) => condition.to_owned(),
        };
        if !driver.link_lost(reason).await {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(RESTART_PAUSE) => {}
            () = context.shutdown.cancelled() => return,
        }
    }
}

async fn serve(mut attached: Attached, conversation: &mut Conversation, driver: &mut BusDriver) -> Outcome {
    let mut actions = conversation.link_up(attached.jid.clone(), Instant::now());
    let mut hold = None;
    loop {
        for action in actions {
            match action {
                Action::Send(stanza) if is_stanza(&stanza) => {
                    let bytes = size_estimate(&stanza);
                    hold = attached.route(stanza, bytes);
                }
                Action::Send(_) => {}
                Action::Emit(event) => {
                    let open = tokio::select! {
                        open = driver.emit(event) => open,
                        condition = attached.ended() => return Outcome::Ended(condition),
                    };
                    if !open {
                        return Outcome::Over;
                    }
                }
                Action::Reconnect(_) => return Outcome::Ended("reset"),
                Action::Fatal(e) => {
                    driver.emit(BusEvent::Fatal(e)).await;
                    return Outcome::Over;
                }
                Action::Close => return Outcome::Over,
            }
        }
        let now = Instant::now();
        let ready = conversation.is_settled(now) && hold.is_none();
        let timer = conversation.next_timer(now);
        // Without an order: a flood of stanzas must not keep the program from speaking.
        actions = tokio::select! {
            next = attached.next() => match next {
                Next::Stanza(stanza) => conversation.handle(&stanza, Instant::now()),
                Next::End(condition) => return Outcome::Ended(condition),
            },
            command = driver.next_command_if(ready) => match command {
                Some(command) => conversation.command(command, Instant::now()),
                None => return Outcome::Over,
            },
            () = hold_over(hold.as_ref()) => {
                hold = None;
                Vec::new()
            }
            () = sleep_until(timer) => conversation.tick(Instant::now()),
        };
    }
}

/// Sleeps until a time, or for ever.
pub(crate) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
