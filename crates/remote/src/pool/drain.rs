//! Agents that are to take no new runs, for maintenance.

use std::time::Instant;

use super::DrainError;
use super::agents::{Presence, Wire};
use super::owner::Pool;
use crate::dispatch::AgentKey;
use crate::message::Message;
use crate::wire::Envelope;

impl Pool {
    /// An operator wants it. Counts here at once; our own agents are told, so that they still know after a restart of the
    /// server. Those of WPS Remote have no word for it: simply nothing is sent to them.
    pub(super) fn drain(&mut self, name: &str, on: bool, now: Instant) -> Result<String, DrainError> {
        let key = self.find_agent(name)?;
        let runs = self.dispatch.change(&key, |worker| {
            worker.drain_order = Some(on);
            worker.slots.runs().len()
        });
        tracing::info!(agent = %key, on, runs, "an operator turns draining");
        self.say_drain_order(&key);
        self.agents_changed(now);
        Ok(key.to_string())
    }

    fn find_agent(&self, name: &str) -> Result<AgentKey, DrainError> {
        if let Some(key) = self.agents.keys().find(|key| key.to_string() == name) {
            return Ok(key.clone());
        }
        let there = |key: &AgentKey| {
            self.agents.get(key).is_some_and(|agent| !matches!(agent.presence(), Presence::Lost { .. }))
        };
        let mut named = self.agents.keys().filter(|key| key.instance == name && there(key));
        match (named.next(), named.next()) {
            (None, _) => Err(DrainError::NoSuchAgent(name.to_owned())),
            (Some(key), None) => Ok(key.clone()),
            (Some(first), Some(second)) => {
                let agents = [first, second].into_iter().chain(named).map(ToString::to_string).collect();
                Err(DrainError::Several { name: name.to_owned(), agents })
            }
        }
    }

    /// An agent has told how it stands: our order is fulfilled, or was not heard.
    pub(super) fn repeat_drain_order(&mut self, key: &AgentKey) {
        self.dispatch.change(key, |worker| worker.drain_order.take_if(|order| *order == worker.draining));
        self.say_drain_order(key);
    }

    fn say_drain_order(&self, key: &AgentKey) {
        let Some(agent) = self.agents.get(key) else { return };
        let order = self.dispatch.worker(key).and_then(|worker| worker.drain_order);
        if let (Wire::Native, true, Some(on)) = (agent.wire, agent.is_here(), order) {
            let order = if on { Message::Drain } else { Message::Undrain };
            self.say(&agent.address.clone(), &Envelope::session(order));
        }
    }
}
