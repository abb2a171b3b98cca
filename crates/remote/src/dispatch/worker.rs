//! What of an agent matters for which runs it gets.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use anabranch_model::ProcessId;

use super::candidates::Place;
use super::lane::LaneNumber;
use super::numbered::Number;
use super::standing::{Obstacle, Rank};
use crate::load::Load;
use crate::post::bare;
use crate::run_id::RunId;

/// Longest instance name, in characters: a host name has at most 253.
const INSTANCE_CHARS_MAX: usize = 253;

/// Who an agent is. The account is vouched for by the XMPP server; the instance is the agent's own word and tells apart
/// only agents of one account, which trust each other as they share its password.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentKey {
    pub account: String,
    pub instance: String,
}

impl AgentKey {
    /// `None` where nobody vouches for the account.
    #[must_use]
    pub fn new(real_jid: Option<&str>, instance: &str) -> Option<Self> {
        let account = bare(real_jid?);
        let instance = instance.chars().filter(|c| !c.is_control()).take(INSTANCE_CHARS_MAX).collect();
        Some(Self { account: account.to_owned(), instance })
    }
}

impl fmt::Display for AgentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.instance.as_str() {
            "" => f.write_str(&self.account),
            instance => write!(f, "{}/{instance}", self.account),
        }
    }
}

pub(super) type WorkerNumber = Number<Worker>;

/// One agent, as far as it takes runs.
#[derive(Debug)]
pub struct Worker {
    pub(super) key: Arc<AgentKey>,
    /// In reach.
    pub here: bool,
    /// Slots for runs.
    pub capacity: u32,
    pub load: Option<Load>,
    /// It takes no new runs, by its own word.
    pub draining: bool,
    /// What we told it of draining and it has not confirmed.
    pub drain_order: Option<bool>,
    /// Why it takes no new runs by its own rules.
    pub full: Option<String>,
    /// It refused a run, or left one unanswered: offered none until this is taken back.
    pub refuses_until: Option<Instant>,
    pub slots: Slots,
    pub(super) labels: BTreeSet<String>,
    pub(super) services: BTreeMap<ProcessId, Offered>,
    /// Their identifiers, since they were last asked for all together.
    pub(super) listed: OnceLock<Arc<[ProcessId]>>,
}

impl Worker {
    pub(super) fn new(key: Arc<AgentKey>) -> Self {
        Self {
            key,
            here: false,
            capacity: 0,
            load: None,
            draining: false,
            drain_order: None,
            full: None,
            refuses_until: None,
            slots: Slots::default(),
            labels: BTreeSet::new(),
            services: BTreeMap::new(),
            listed: OnceLock::new(),
        }
    }

    /// What we told it counts before it has confirmed; some have no word for it.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain_order.unwrap_or(self.draining)
    }

    #[must_use]
    pub fn labels(&self) -> &BTreeSet<String> {
        &self.labels
    }

    /// As it offers a process.
    #[must_use]
    pub fn service(&self, process: &ProcessId) -> Option<&Service> {
        self.services.get(process).map(|offered| &offered.service)
    }

    /// What it offers.
    pub fn processes(&self) -> impl ExactSizeIterator<Item = &ProcessId> {
        self.services.keys()
    }

    /// The same, to be kept: whoever shows it again and again shares one list as long as it is true.
    #[must_use]
    pub fn listed(&self) -> Arc<[ProcessId]> {
        Arc::clone(self.listed.get_or_init(|| self.processes().cloned().collect()))
    }

    /// A run takes its slots from now on; again where it does already.
    pub fn take_slot(&mut self, run: RunId, process: &ProcessId) {
        let weight = self.service(process).map_or(1, |service| service.weight);
        self.slots.insert(run, Slot { process: process.clone(), weight });
    }
}

/// A process as one agent offers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// See [`Register::revision`](crate::message::Register::revision).
    pub revision: u64,
    /// Runs of it at once.
    pub runs_max: u32,
    /// Slots that one run takes.
    pub weight: u32,
    /// Labels of agents that are preferred for it, besides those of [`Rules`](super::Rules); `None` where it names none.
    pub preferred: Option<Arc<[String]>>,
}

/// A service, and where it stands in the lane of its process.
#[derive(Debug)]
pub(super) struct Offered {
    pub(super) service: Service,
    pub(super) lane: LaneNumber,
    /// Among the lane's candidates.
    pub(super) place: Place,
    /// How many of the agent's labels are preferred.
    pub(super) matching: u32,
    /// What is in the way, as the lane counts it; `None` inside for nothing, outside where the lane has not counted it yet.
    pub(super) counted: Option<Option<Obstacle>>,
    /// As its candidates know it; `None` where it could take no run.
    pub(super) worth: Option<Rank>,
}

/// What a run takes of an agent.
#[derive(Clone, Debug)]
struct Slot {
    process: ProcessId,
    weight: u32,
}

/// The runs that take an agent's slots: sent to it, or held by it from before our start. Sums are kept, not counted anew.
#[derive(Debug, Default)]
pub struct Slots {
    runs: HashMap<RunId, Slot>,
    taken: u64,
    /// Only of processes with runs.
    running: HashMap<ProcessId, u32>,
}

impl Slots {
    fn insert(&mut self, run: RunId, slot: Slot) {
        self.remove(run);
        self.taken += u64::from(slot.weight);
        *self.running.entry(slot.process.clone()).or_default() += 1;
        self.runs.insert(run, slot);
    }

    /// A run takes none any more.
    pub fn remove(&mut self, run: RunId) {
        let Some(slot) = self.runs.remove(&run) else { return };
        self.taken -= u64::from(slot.weight);
        if let Some(running) = self.running.get_mut(&slot.process) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(&slot.process);
            }
        }
    }

    /// Only these runs go on taking slots.
    pub fn retain(&mut self, goes_on: impl Fn(&RunId) -> bool) {
        let gone: Vec<RunId> = self.runs().filter(|run| !goes_on(run)).collect();
        gone.into_iter().for_each(|run| self.remove(run));
    }

    pub fn runs(&self) -> impl ExactSizeIterator<Item = RunId> {
        self.runs.keys().copied()
    }

    #[must_use]
    pub fn has(&self, run: RunId) -> bool {
        self.runs.contains_key(&run)
    }

    /// Slots taken by all of them.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether so many runs are of one process.
    #[must_use]
    pub fn has_runs_of(&self, process: &ProcessId, runs_max: u32) -> bool {
        // Most agents have fewer runs than that of all processes together.
        self.runs.len() >= runs_max as usize
            && self.running.get(process).copied().unwrap_or_default() >= runs_max
    }
}
