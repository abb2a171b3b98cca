//! Runs are noted before they are sent, outside of the pool's task: a slow disk holds up the runs that wait for it, and nothing else.

use std::time::Instant;

use anabranch_model::Error;

use super::agents::Wire;
use super::command::PoolCommand;
use super::owner::{Phase, Pool, Run};
use crate::dispatch::AgentKey;
use crate::run_id::RunId;

/// Runs noted together: they share what it takes to make them durable, and where that fails they fail together.
const TOGETHER_MAX: usize = 256;

/// Who is to be noted. Bounded by the slots of agents, which these runs take already.
#[derive(Debug, Default)]
pub(super) struct Noting {
    /// In the order in which they are sent.
    waiting: Vec<RunId>,
    /// Some are being noted: the next ones after these, so that the order stays.
    is_under_way: bool,
}

impl Pool {
    /// An agent gets a run, once that is noted.
    pub(super) fn note_then_send(&mut self, id: RunId, agent: &AgentKey, now: Instant) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let Phase::Queued { execute } = &run.phase else { return };
        run.phase = Phase::Noting { agent: agent.clone(), execute: execute.clone() };
        // A part of an attempt is not found again after a restart, noted or not.
        if id.part.is_some() {
            return self.send_noted(id, now);
        }
        self.noting.waiting.push(id);
    }

    /// Has those noted who wait for it. To be called after all that may have sent runs.
    pub(super) fn note_waiting(&mut self) {
        if self.noting.is_under_way || self.noting.waiting.is_empty() {
            return;
        }
        self.noting.is_under_way = true;
        let rest = self.noting.waiting.split_off(self.noting.waiting.len().min(TOGETHER_MAX));
        let runs = std::mem::replace(&mut self.noting.waiting, rest);
        let handle = self.handle.clone();
        tokio::spawn(async move {
            let noted = handle.data.note_sent(&runs).await;
            if handle.send(PoolCommand::Noted { runs: runs.clone(), noted }).await.is_err() {
                // The pool has gone.
                runs.iter().for_each(|run| handle.data.forget_sent(*run));
            }
        });
    }

    pub(super) fn on_noted(&mut self, runs: Vec<RunId>, noted: &Result<(), Error>, now: Instant) {
        self.noting.is_under_way = false;
        for id in runs {
            let Some(Run { phase: Phase::Noting { agent, .. }, .. }) = self.runs.get(&id) else {
                // Aborted, left to the next server, or found at an agent, where it was noted before.
                if !self.runs.contains_key(&id) {
                    self.handle.data.forget_sent(id);
                }
                continue;
            };
            match noted {
                Ok(()) => self.send_noted(id, now),
                Err(error) => self.cannot_be_sent(id, &agent.clone(), error.clone()),
            }
        }
    }

    /// Sends a run that is noted; back to its place in the queue where the agent has gone meanwhile.
    fn send_noted(&mut self, id: RunId, now: Instant) {
        let Some(Run { phase: Phase::Noting { agent, execute }, .. }) = self.runs.get(&id) else { return };
        let (agent, execute) = (agent.clone(), execute.clone());
        match self.agents.get(&agent).filter(|entry| entry.is_here()).map(|entry| entry.wire) {
            Some(Wire::WpsRemote { .. }) => self.wps_send_to(id, &agent, execute, now),
            Some(Wire::Native) => self.send_to(id, &agent, execute, now),
            None => {
                self.handle.data.forget_sent(id);
                self.put_back(id, &agent, execute, now);
            }
        }
    }
}
