//! What agents and the server's own folder offer, published in the engine's registry.

use crate::local_services;
use crate::streams::Publishing;
use crate::uploading::Uploads;
use anabranch_command::Service;
use anabranch_engine::Engine;
use anabranch_model::{Process, ProcessId};
use anabranch_remote::Publisher;
use anyhow::Context as _;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

/// Publishes and withdraws the services of the server's own folder; built-in processes keep their names.
pub(crate) struct LocalPublisher {
    engine: Engine,
    publishing: Publishing,
    uploads: Uploads,
    published: Vec<Arc<Service>>,
}

impl LocalPublisher {
    pub(crate) fn new(engine: Engine, publishing: Publishing, uploads: Uploads) -> Self {
        Self { engine, publishing, uploads, published: Vec::new() }
    }

    /// These are the services now; those that are as they were are left alone.
    pub(crate) fn replace(&mut self, services: &[Arc<Service>]) {
        let registry = self.engine.registry();
        let before = std::mem::take(&mut self.published);
        let gone =
            before.iter().filter(|old| !services.iter().any(|new| new.description.id == old.description.id));
        for service in gone {
            self.publishing.withdraw(&service.description.id);
            tracing::info!(process.id = %service.description.id, "withdrawn");
        }
        for service in services {
            let id = &service.description.id;
            let known = before.iter().find(|old| old.description.id == *id);
            if known.is_none() && registry.get(id).is_ok() {
                tracing::error!(process.id = %id, "a service file has the identifier of another process: it is left out");
                continue;
            }
            self.published.push(Arc::clone(service));
            if known.is_some_and(|old| Arc::ptr_eq(old, service)) {
                continue;
            }
            self.publishing.publish(local_services::process(service, &self.uploads));
            tracing::info!(process.id = %id, "published, run by this server");
        }
    }
}

/// Which processes the agents of an account may offer, by patterns: of accounts that are not named, any.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offers(BTreeMap<String, Vec<glob::Pattern>>);

impl Offers {
    /// As configured.
    ///
    /// # Errors
    /// Names the pattern that is none.
    pub(crate) fn new(given: &BTreeMap<String, Vec<String>>) -> anyhow::Result<Self> {
        let pattern = |text: &String| {
            glob::Pattern::new(text)
                .with_context(|| format!("xmpp.offers: {text:?} is no pattern of identifiers"))
        };
        let patterns = |texts: &Vec<String>| texts.iter().map(pattern).collect::<anyhow::Result<Vec<_>>>();
        let all = given.iter().map(|(account, texts)| Ok((account.clone(), patterns(texts)?)));
        Ok(Self(all.collect::<anyhow::Result<_>>()?))
    }

    fn may(&self, account: &str, process: &ProcessId) -> bool {
        let name = account.split_once('@').map_or(account, |(name, _)| name);
        let named = self.0.get(name);
        named.is_none_or(|patterns| patterns.iter().any(|pattern| pattern.matches(process.as_str())))
    }
}

/// Publishes and withdraws remote processes; built-in ones keep their names.
pub(crate) struct RegistryPublisher {
    engine: Engine,
    publishing: Publishing,
    offers: Offers,
    /// What agents have published: nothing else may be replaced or withdrawn by them.
    remote: Mutex<HashSet<ProcessId>>,
}

impl RegistryPublisher {
    pub(crate) fn new(engine: Engine, publishing: Publishing, offers: Offers) -> Self {
        Self { engine, publishing, offers, remote: Mutex::default() }
    }
}

impl Publisher for RegistryPublisher {
    fn may_offer(&self, account: &str, process: &ProcessId) -> bool {
        self.offers.may(account, process)
    }

    fn publish(&self, process: Arc<dyn Process>) {
        let id = process.description().id.clone();
        let mut remote = self.remote.lock().unwrap_or_else(PoisonError::into_inner);
        if !remote.contains(&id) && self.engine.registry().get(&id).is_ok() {
            tracing::warn!(process.id = %id, "an agent offers a process that this server runs itself: it is left out");
            return;
        }
        remote.insert(id);
        self.publishing.publish(process);
    }

    fn withdraw(&self, process: &ProcessId) {
        if self.remote.lock().unwrap_or_else(PoisonError::into_inner).remove(process) {
            self.publishing.withdraw(process);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_that_are_named_offer_what_they_may() {
        let offers = Offers::new(&[("field-1".to_owned(), vec!["default:Gdal*".to_owned()])].into()).unwrap();
        let id = |text: &str| ProcessId::new(text).unwrap();
        assert!(offers.may("field-1@anabranch.local", &id("default:GdalContour")));
        assert!(!offers.may("field-1@anabranch.local", &id("default:Other")));
        assert!(offers.may("local@anabranch.local", &id("default:Other")));
        assert!(Offers::new(&[("x".to_owned(), vec!["[".to_owned()])].into()).is_err());
    }
}
