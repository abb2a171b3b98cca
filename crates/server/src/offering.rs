//! What an agent offers: the services of its folder, as far as its machine can run them.

use crate::local_services;
use crate::uploading::Uploads;
use anabranch_command::Service;
use anabranch_remote::{AgentService, Profile};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Services and machine, each of which may change while the agent runs.
pub(crate) struct Offering {
    pub(crate) offered: watch::Sender<Vec<AgentService>>,
    pub(crate) profile: watch::Sender<Profile>,
    services: Mutex<Vec<Arc<Service>>>,
    uploads: Uploads,
}

impl Offering {
    pub(crate) fn new(services: Vec<Arc<Service>>, uploads: Uploads, profile: Profile) -> Self {
        let (offered, profile) = (watch::Sender::new(Vec::new()), watch::Sender::new(profile));
        let offering = Self { offered, profile, services: Mutex::default(), uploads };
        offering.replace(services);
        offering
    }

    /// These are the services now.
    pub(crate) fn replace(&self, services: Vec<Arc<Service>>) {
        let profile = self.profile.borrow().clone();
        let mut kept = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = services;
        let can = kept.iter().filter(|service| has_labels(service, &profile));
        self.offered.send_replace(can.map(|service| self.offer(service, profile.capacity)).collect());
    }

    /// This is the machine now.
    pub(crate) fn set_profile(&self, profile: Profile) {
        if *self.profile.borrow() == profile {
            return;
        }
        // First, because the server takes no service that weighs more than the capacity it knows of.
        self.profile.send_replace(profile);
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.replace(services);
    }

    fn offer(&self, service: &Arc<Service>, capacity: u32) -> AgentService {
        let uploaded = match &self.uploads.uploader {
            Some(_) => self.uploads.of(service),
            None => Vec::new(),
        };
        AgentService {
            process: local_services::process(service, &self.uploads),
            runs_max: service.capacity.runs,
            weight: within(capacity, service),
            preferred_labels: service.labels.preferred.clone(),
            uploaded,
        }
    }
}

fn has_labels(service: &Service, profile: &Profile) -> bool {
    let missing = service.labels.required.iter().find(|label| !profile.labels.contains(label));
    if let Some(label) = missing {
        let id = &service.description.id;
        tracing::warn!(process.id = %id, label, "not offered: the machine does not have a label that it needs");
    }
    missing.is_none()
}

/// What weighs more than the machine can take, takes it whole: weights of WPS Remote count against a capacity of 100.
fn within(capacity: u32, service: &Service) -> u32 {
    let weight = slots(service.capacity.weight);
    if weight > capacity {
        let id = &service.description.id;
        tracing::warn!(process.id = %id, weight, capacity, "a run takes the whole capacity");
    }
    weight.min(capacity)
}

/// A service's weight in whole slots: what weighs anything takes one at least.
fn slots(weight: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded and clamped")]
    let slots = weight.ceil().clamp(1.0, 1_000_000.0) as u32;
    slots
}

#[cfg(test)]
mod tests {
    use super::*;
    use anabranch_command::load_file;

    #[test]
    fn weights_are_whole_slots() {
        assert_eq!([0.0, 0.5, 1.0, 1.5, 4.0].map(slots), [1, 1, 1, 2, 4]);
    }

    #[test]
    fn what_is_offered_follows_services_and_machine() {
        let folder = tempfile::tempdir().unwrap();
        let service = |name: &str, capacity: &str| {
            let file = folder.path().join(format!("{name}.toml"));
            let text = format!(
                "identifier = \"{name}\"\ntitle = \"{name}\"\n[outputs.out]\ntype = \"string\"\nstdout = true\n\
                 [command]\nprogram = \"/bin/true\"\n[capacity]\n{capacity}\n"
            );
            std::fs::write(&file, text).unwrap();
            load_file(&file).unwrap()
        };
        let services = vec![
            service("Any", "weight = 9"),
            service("Gpu", "required_labels = [\"gpu\"]\npreferred_labels = [\"data:x\"]"),
        ];
        let profile = |capacity, labels: &[&str]| Profile {
            capacity,
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        };
        let offering = Offering::new(services, Uploads::none(), profile(4, &["cpu"]));
        let shown = || {
            let offered = offering.offered.borrow();
            let shown = |one: &AgentService| (one.process.description().id.to_string(), one.weight);
            offered.iter().map(shown).collect::<Vec<_>>()
        };
        assert_eq!(shown(), [("default:Any".to_owned(), 4)]);
        offering.set_profile(profile(16, &["gpu"]));
        assert_eq!(shown(), [("default:Any".to_owned(), 9), ("default:Gpu".to_owned(), 1)]);
        assert_eq!(offering.offered.borrow()[1].preferred_labels, ["data:x"]);
    }
}
