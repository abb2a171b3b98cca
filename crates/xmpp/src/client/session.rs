//! The life of a client session: connect, talk, lose the link, connect again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use minidom::Element;

use super::conversation::{Action, Conversation};
use super::login::{self, LoginError};
use super::{ClientConfig, ClientError};
use crate::bus::{BusDriver, BusEvent, Command};
use crate::server::local::sleep_until;
use crate::wire::stream::{Received, Stream, stream_error_condition};

/// When the stream itself gives up a silent server. Longer than any interval of our own pings, which come first.
pub(super) const SILENCE: Duration = Duration::from_secs(600);

/// A session that lived this long was a good one: the next failure starts with the shortest pause again.
const GOOD_AFTER: Duration = Duration::from_secs(30);

/// Why a link ended.
enum Outcome {
    /// The program has no more use for the session.
    Over,
    Fatal(ClientError),
    Lost(String),
}

pub(super) struct Session {
    pub(super) config: ClientConfig,
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    pub(super) conversation: Conversation,
    pub(super) driver: BusDriver,
}

impl Session {
    pub(super) async fn run(mut self) {
        let mut failures = 0;
        loop {
            let began = Instant::now();
            let reason = match self.connect().await {
                Some(Ok((mut stream, jid))) => {
                    let outcome = self.talk(&mut stream, jid).await;
                    self.conversation.link_down();
                    // What was accepted before the end shall arrive; a lost link is not waited for.
                    let patience = match outcome {
                        Outcome::Over => self.config.limits.write_timeout,
                        Outcome::Fatal(_) | Outcome::Lost(_) => Duration::ZERO,
                    };
                    stream.close_within(None, patience).await;
                    match outcome {
                        Outcome::Over => return,
                        Outcome::Fatal(e) => return self.fatal(e).await,
                        Outcome::Lost(reason) => reason,
                    }
                }
                Some(Err(LoginError::Fatal(e))) => return self.fatal(e).await,
                Some(Err(LoginError::Transient(reason))) => reason,
                None => return,
            };
            failures = if began.elapsed() >= GOOD_AFTER { 1 } else { failures + 1 };
            tracing::info!(host = self.config.host, user = self.config.user, reason, failures, "no link");
            if !self.driver.link_lost(reason).await || !self.pause(failures).await {
                return;
            }
        }
    }

    async fn fatal(mut self, e: ClientError) {
        tracing::warn!(error = %e, "session stops for good");
        self.driver.emit(BusEvent::Fatal(e)).await;
    }

    /// `None` if the program closes the session meanwhile.
    async fn connect(&mut self) -> Option<Result<(Stream, String), LoginError>> {
        let timeout = self.config.limits.connect_timeout;
        let connecting = tokio::time::timeout(timeout, login::connect(&self.config, self.tls.as_ref()));
        tokio::pin!(connecting);
        loop {
            tokio::select! {
                connected = &mut connecting => {
                    let late = |_| Err(LoginError::Transient(format!("no session within {timeout:?}")));
                    return Some(connected.unwrap_or_else(late));
                }
                command = self.driver.next_command() => {
                    if !apply_offline(&mut self.conversation, &mut self.driver, command).await {
                        return None;
                    }
                }
            }
        }
    }

    /// Waits before the next try; `false` if the program closes the session meanwhile.
    async fn pause(&mut self, failures: u32) -> bool {
        let until = Instant::now() + self.config.backoff.pause(failures);
        loop {
            tokio::select! {
                () = sleep_until(Some(until)) => return true,
                command = self.driver.next_command() => {
                    if !apply_offline(&mut self.conversation, &mut self.driver, command).await {
                        return false;
                    }
                }
            }
        }
    }

    async fn talk(&mut self, stream: &mut Stream, jid: String) -> Outcome {
        let own_jid = jid.clone();
        let mut actions = self.conversation.link_up(jid, Instant::now());
        loop {
            if let Some(outcome) = self.perform(stream, actions).await {
                return outcome;
            }
            let now = Instant::now();
            // Messages of the program wait for the rooms; wishes about rooms wait with them, so that order is kept.
            let settled = self.conversation.is_settled(now);
            let timer = self.conversation.next_timer(now);
            actions = tokio::select! {
                received = stream.next() => match received {
                    Ok(Received::Element(element)) => match stream_error_condition(&element) {
                        Some(condition) => return stream_error(&condition, &own_jid),
                        None => self.conversation.handle(&element, Instant::now()),
                    },
                    // Our own pings come sooner, unless they are switched off.
                    Ok(Received::Silent) => vec![Action::Send(self.conversation.ping())],
                    Ok(Received::Closed) => return Outcome::Lost("the server closed the stream".to_owned()),
                    Err(failure) => return Outcome::Lost(failure.to_string()),
                },
                command = self.driver.next_command_if(settled) => match command {
                    Some(command) => self.conversation.command(command, Instant::now()),
                    None => return Outcome::Over,
                },
                () = sleep_until(timer) => self.conversation.tick(Instant::now()),
            };
        }
    }

    /// Carries out actions: first writes what is to be sent, then tells the program.
    async fn perform(&mut self, stream: &mut Stream, actions: Vec<Action>) -> Option<Outcome> {
        let mut events = Vec::new();
        let mut stanzas = Vec::new();
        let mut outcome = None;
        for action in actions {
            match action {
                Action::Send(stanza) => stanzas.push(stanza),
                Action::Emit(event) => events.push(event),
                Action::Reconnect(reason) => outcome = Some(Outcome::Lost(reason)),
                Action::Fatal(e) => outcome = Some(Outcome::Fatal(e)),
                Action::Close => outcome = Some(Outcome::Over),
            }
        }
        if let Err(reason) = self.write(stream, &stanzas).await {
            outcome = outcome.or(Some(Outcome::Lost(reason)));
        }
        for event in events {
            if !self.driver.emit(event).await {
                return Some(Outcome::Over);
            }
        }
        outcome
    }

    async fn write(&mut self, stream: &mut Stream, stanzas: &[Element]) -> Result<(), String> {
        if stanzas.is_empty() {
            return Ok(());
        }
        let writing = async {
            for stanza in stanzas {
                stream.feed(stanza).await?;
            }
            stream.flush().await
        };
        let timeout = self.config.limits.write_timeout;
        match tokio::time::timeout(timeout, writing).await {
            Ok(written) => written.map_err(|e: std::io::Error| e.to_string()),
            Err(_) => Err(format!("the server took nothing for {timeout:?}")),
        }
    }
}

/// RFC 6120 §4.9.3.3: the one stream error after which coming back would throw the other one out.
fn stream_error(condition: &str, jid: &str) -> Outcome {
    match condition {
        "conflict" => Outcome::Fatal(ClientError::Conflict { jid: jid.to_owned() }),
        _ => Outcome::Lost(format!("the server ended the session: {condition}")),
    }
}

/// A command while there is no link; `false` ends the session.
async fn apply_offline(
    conversation: &mut Conversation,
    driver: &mut BusDriver,
    command: Option<Command>,
) -> bool {
    match command {
        Some(Command::Close) | None => false,
        // Its sender was waiting for a place in the queue when the link broke.
        Some(Command::Send(message)) => {
            let reason = "the link was lost".to_owned();
            driver.emit(BusEvent::Dropped { to: message.to, id: message.id, reason }).await
        }
        Some(other) => {
            // What is to be sent about a room is sent on entering the rooms again.
            conversation.command(other, Instant::now());
            true
        }
    }
}
