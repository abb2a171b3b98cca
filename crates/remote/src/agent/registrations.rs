//! What servers are to know of our services, and what they have not confirmed yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anabranch_model::{ProcessDescription, ProcessId};

use super::AgentService;
use crate::message::{Message, Register, Registered, Unregister};
use crate::wire::{self, Envelope};

/// How long to wait for `Registered` before it is said again.
const AGAIN: Duration = Duration::from_secs(2);

/// Services as announced.
#[derive(Default)]
pub(super) struct Registrations {
    revision: u64,
    services: BTreeMap<ProcessId, Announced>,
}

struct Announced {
    /// `None` where the process is withdrawn.
    service: Option<(AgentService, Arc<ProcessDescription>)>,
    revision: u64,
    /// Servers that have confirmed it.
    confirmed: BTreeSet<String>,
    /// When it is said again to a server that has heard of it.
    again: BTreeMap<String, Instant>,
}

impl Announced {
    /// When it is to be said to a server; `None` where that has confirmed it.
    fn due(&self, server: &str, now: Instant) -> Option<Instant> {
        (!self.confirmed.contains(server)).then(|| self.again.get(server).copied().unwrap_or(now))
    }
}

impl Registrations {
    /// These are the services now.
    pub(super) fn replace(&mut self, services: &[AgentService]) {
        let mut gone: Vec<ProcessId> = self.services.keys().cloned().collect();
        for service in services {
            let description = service.process.description();
            gone.retain(|id| *id != description.id);
            let unchanged = self.services.get(&description.id).is_some_and(|announced| {
                announced.service.as_ref().is_some_and(|(before, described)| {
                    *described == description
                        && (before.runs_max, before.weight) == (service.runs_max, service.weight)
                        && before.preferred_labels == service.preferred_labels
                })
            });
            let (service, id) = (service.clone(), description.id.clone());
            if let Err(error) = wire::encode(&Envelope::session(register(0, &service, &description))) {
                tracing::error!(process = %id, %error, "a process can't be announced: its description is too large");
                continue;
            }
            match self.services.get_mut(&id) {
                // The process behind an unchanged description may still be a new one.
                Some(announced) if unchanged => announced.service = Some((service, description)),
                _ => self.announce(id, Some((service, description))),
            }
        }
        for id in gone {
            if self.services.get(&id).is_some_and(|announced| announced.service.is_some()) {
                self.announce(id, None);
            }
        }
    }

    /// A server greeted us, perhaps a new one: it is told everything.
    pub(super) fn repeat_all(&mut self, server: &str) {
        for announced in self.services.values_mut() {
            announced.confirmed.remove(server);
            announced.again.remove(server);
        }
    }

    /// What to say to a server now.
    pub(super) fn due(&mut self, server: &str, now: Instant) -> Vec<Message> {
        let is_due = |announced: &Announced| announced.due(server, now).is_some_and(|due| due <= now);
        let due = self.services.iter_mut().filter(|(_, announced)| is_due(announced));
        due.map(|(id, announced)| {
            announced.again.insert(server.to_owned(), now + AGAIN);
            let revision = announced.revision;
            match &announced.service {
                Some((service, description)) => register(revision, service, description),
                None => Message::Unregister(Unregister { revision, process: id.clone() }),
            }
        })
        .collect()
    }

    /// A server knows it. What is withdrawn is forgotten when all know it that are here.
    pub(super) fn confirmed(&mut self, server: &str, registered: &Registered, here: &[(String, String)]) {
        let Some(announced) = self.services.get_mut(&registered.process) else { return };
        if announced.revision != registered.revision {
            return;
        }
        if let Some(reason) = &registered.refused {
            tracing::error!(process = %registered.process, reason, "the server does not publish a process");
        }
        announced.confirmed.insert(server.to_owned());
        if announced.service.is_none() && here.iter().all(|(name, _)| announced.confirmed.contains(name)) {
            self.services.remove(&registered.process);
        }
    }

    /// The service that runs a process.
    pub(super) fn service(&self, process: &ProcessId) -> Option<&AgentService> {
        self.services.get(process)?.service.as_ref().map(|(service, _)| service)
    }

    /// When something is to be said to a server.
    pub(super) fn deadline(&self, server: &str, now: Instant) -> Option<Instant> {
        self.services.values().filter_map(|announced| announced.due(server, now)).min()
    }

    fn announce(&mut self, id: ProcessId, service: Option<(AgentService, Arc<ProcessDescription>)>) {
        self.revision += 1;
        let (confirmed, again) = Default::default();
        self.services.insert(id, Announced { service, revision: self.revision, confirmed, again });
    }
}

fn register(revision: u64, service: &AgentService, description: &Arc<ProcessDescription>) -> Message {
    Message::Register(Register {
        revision,
        description: Arc::clone(description),
        runs_max: service.runs_max,
        weight: service.weight,
        preferred_labels: service.preferred_labels.clone(),
    })
}
