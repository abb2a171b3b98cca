//! Who gets which run: agents, processes, and the runs that wait between them. Without IO and without a clock.
//!
//! What it costs does not depend on how many runs wait, and hardly on how many agents there are:
//!
//! - A run that comes while none of its process waits takes the best agent that offers it. What each agent is worth lies side by
//!   side in one array for each process, so that this costs about a microsecond for a thousand agents, and an agent that becomes
//!   better or worse changes one number for each of its processes, with no order to keep.
//! - An agent that can take more than before (a run has ended, it is less busy, it came) takes a run that waits for one of its
//!   processes: of those of the highest priority, and of the owner who has waited longest for their turn, the oldest. Nobody else could have taken it, else it would not
//!   wait: so only the processes of that agent are looked at.
//!
//! Every change goes through one method, which notes the agent; [`Dispatcher::decide`] is to be called until it gives nothing.
//!
//! Read first: `standing.rs` (which agent is better, and what may be in the way), `lane.rs`, [`Dispatcher::decide`].

mod candidates;
mod lane;
mod numbered;
mod owners;
mod queue;
mod standing;
mod worker;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use anabranch_model::ProcessId;

pub use lane::Ticket;
use lane::{Lane, LaneNumber};
use numbered::Numbered;
pub use owners::Claim;
use owners::Owners;
use queue::Next;
use standing::Situation;
pub use standing::{Obstacle, Rules, obstacle};
pub use worker::{AgentKey, Service, Slots, Worker};
use worker::{Offered, WorkerNumber};

use crate::pool::WaitingRuns;
use crate::run_id::RunId;

/// Owns what matters for who gets which run.
#[derive(Debug)]
pub struct Dispatcher {
    rules: Rules,
    workers: Numbered<Arc<AgentKey>, Worker>,
    lanes: Numbered<ProcessId, Lane>,
    owners: Owners,
    /// Runs that wait, in all lanes.
    queued: usize,
    /// Agents of which something has changed since they were last looked at.
    changed: BTreeSet<WorkerNumber>,
    /// Processes to which a run came.
    fresh: BTreeSet<ProcessId>,
    /// Processes of which agents came or went.
    reviews: BTreeSet<ProcessId>,
    /// Processes whose runs may wait for another reason now, or are not all told.
    news: BTreeSet<ProcessId>,
    /// Whose turn it was last.
    news_last: Option<ProcessId>,
    looked_at: u64,
}

/// A run and the agent that gets it. Its slots are taken already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub run: RunId,
    pub process: ProcessId,
    pub agent: Arc<AgentKey>,
}

/// Why runs wait that have not been told so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    pub reason: Arc<str>,
    pub runs: Vec<RunId>,
}

/// Agents that offer a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offering {
    pub all: usize,
    /// Of these, in reach.
    pub here: usize,
}

impl Dispatcher {
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            workers: Numbered::default(),
            lanes: Numbered::default(),
            owners: Owners::default(),
            queued: 0,
            changed: BTreeSet::new(),
            fresh: BTreeSet::new(),
            reviews: BTreeSet::new(),
            news: BTreeSet::new(),
            news_last: None,
            looked_at: 0,
        }
    }

    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    #[must_use]
    pub fn worker(&self, agent: &AgentKey) -> Option<&Worker> {
        self.workers.get(agent)
    }

    /// Changes what is known of an agent, which is made where it is not known; its services and labels have methods of their own.
    pub fn change<T>(&mut self, agent: &AgentKey, change: impl FnOnce(&mut Worker) -> T) -> T {
        let number = self.workers.number(agent).unwrap_or_else(|| {
            let key = Arc::new(agent.clone());
            self.workers.insert(Arc::clone(&key), Worker::new(key))
        });
        self.changed.insert(number);
        change(&mut self.workers[number])
    }

    /// Forgets an agent.
    pub fn forget(&mut self, agent: &AgentKey) {
        self.retain(agent, |_| false);
        if let Some(number) = self.workers.remove(agent) {
            self.changed.remove(&number);
        }
    }

    /// What an agent's owner says of the machine.
    pub fn label(&mut self, agent: &AgentKey, labels: BTreeSet<String>) {
        self.change(agent, |worker| worker.labels = labels);
        let Some(worker) = self.workers.get_mut(agent) else { return };
        for (process, offered) in &mut worker.services {
            offered.matching = matching(&self.rules, process, &offered.service, &worker.labels);
        }
    }

    /// An agent offers a process, or in another way than before.
    pub fn offer(&mut self, agent: &AgentKey, process: &ProcessId, service: Service) {
        let Some(holder) = self.workers.number(agent) else { return };
        let worker = &mut self.workers[holder];
        self.changed.insert(holder);
        let matching = matching(&self.rules, process, &service, &worker.labels);
        if let Some(offered) = worker.services.get_mut(process) {
            (offered.service, offered.matching) = (service, matching);
            return;
        }
        let number = self.lane(process);
        let lane = &mut self.lanes[number];
        let place = lane.candidates.add(holder);
        self.reviews.insert(process.clone());
        let offered = Offered { service, lane: number, place, matching, counted: None, worth: None };
        // One text for all agents.
        let name = lane.process.clone();
        let worker = &mut self.workers[holder];
        worker.services.insert(name, offered);
        worker.listed.take();
    }

    /// An agent offers a process no more.
    pub fn unoffer(&mut self, agent: &AgentKey, process: &ProcessId) {
        let Some(worker) = self.workers.get_mut(agent) else { return };
        let Some(offered) = worker.services.remove(process) else { return };
        worker.listed.take();
        let lane = &mut self.lanes[offered.lane];
        lane.recount(offered.counted.flatten(), None);
        if let Some(moved) = lane.candidates.remove(offered.place)
            && let Some(moved) = self.workers[moved].services.get_mut(process)
        {
            moved.place = offered.place;
        }
        self.reviews.insert(process.clone());
        if !lane.queue.is_empty() {
            self.news.insert(process.clone());
        }
        self.close_idle(process);
    }

    /// An agent offers nothing more but these.
    pub fn retain(&mut self, agent: &AgentKey, kept: impl Fn(&ProcessId) -> bool) {
        let Some(worker) = self.workers.get(agent) else { return };
        let gone: Vec<_> = worker.processes().filter(|process| !kept(process)).cloned().collect();
        for process in gone {
            self.unoffer(agent, &process);
        }
    }

    /// A run waits for an agent, with a ticket that no other one has. Those of the highest priority go first; of these, owners take turns.
    pub fn queue(&mut self, process: &ProcessId, ticket: Ticket, run: RunId, claim: Claim) {
        self.unqueue(process, ticket);
        let number = self.lane(process);
        let owner = self.owners.enter(claim);
        let queue = &mut self.lanes[number].queue;
        queue.insert(ticket, run, owner, self.owners.turn(owner));
        self.owners.set_oldest(owner, number, queue.oldest_of(owner));
        self.queued += 1;
        // Where others wait already, no agent could take it either, unless it came before them and they for it.
        self.fresh.insert(process.clone());
    }

    /// A run waits no more.
    pub fn unqueue(&mut self, process: &ProcessId, ticket: Ticket) -> Option<RunId> {
        let number = self.lanes.number(process)?;
        let lane = &mut self.lanes[number];
        let (run, owner) = lane.unqueue(ticket)?;
        self.owners.set_oldest(owner, number, lane.queue.oldest_of(owner));
        self.owners.leave(owner);
        self.queued -= 1;
        self.close_idle(process);
        Some(run)
    }

    /// Takes all runs of a process out of the queue.
    pub fn unqueue_all(&mut self, process: &ProcessId) -> Vec<RunId> {
        let Some(lane) = self.lanes.get(process) else { return Vec::new() };
        let tickets: Vec<_> = lane.queue.after(0).map(|(ticket, _)| ticket).collect();
        tickets.into_iter().filter_map(|ticket| self.unqueue(process, ticket)).collect()
    }

    /// Runs that wait, of all processes.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Runs that wait, of one process.
    #[must_use]
    pub fn queued_of(&self, process: &ProcessId) -> usize {
        self.lanes.get(process).map_or(0, |lane| lane.queue.len())
    }

    /// Processes with runs that wait, how many, and why; by name.
    #[must_use]
    pub fn waiting(&self) -> Vec<WaitingRuns> {
        let waiting = |lane: &Lane| WaitingRuns {
            process: lane.process.clone(),
            runs: lane.queue.len(),
            reason: lane.text(&self.rules),
        };
        let lanes = self.lanes.iter().filter(|lane| !lane.queue.is_empty());
        let mut all: Vec<_> = lanes.map(waiting).collect();
        all.sort_by(|a, b| a.process.cmp(&b.process));
        all
    }

    /// Agents that offer a process. Only true when [`Dispatcher::decide`] has given nothing.
    #[must_use]
    pub fn offering(&self, process: &ProcessId) -> Offering {
        let lane = self.lanes.get(process);
        lane.map_or_else(Offering::default, |lane| Offering { all: lane.candidates.len(), here: lane.here() })
    }

    /// Processes of which agents came or went since the last call. To be called when [`Dispatcher::decide`] has given nothing.
    pub fn take_reviews(&mut self) -> BTreeSet<ProcessId> {
        std::mem::take(&mut self.reviews)
    }

    /// The lane of a process, which is made where there is none.
    fn lane(&mut self, process: &ProcessId) -> LaneNumber {
        let known = self.lanes.number(process);
        known.unwrap_or_else(|| self.lanes.insert(process.clone(), Lane::new(process.clone())))
    }

    /// Gives up a lane of which nobody has anything.
    fn close_idle(&mut self, process: &ProcessId) {
        if self.lanes.get(process).is_some_and(Lane::is_idle) {
            self.lanes.remove(process);
        }
    }

    /// Who gets which run next. To be called until it gives nothing, after every change.
    pub fn decide(&mut self) -> Option<Decision> {
        while let Some(agent) = self.changed.first().copied() {
            if let Some((ticket, process)) = self.next_for(agent) {
                return self.assign(process, ticket, agent);
            }
            self.changed.remove(&agent);
            self.settle(agent);
        }
        while let Some(process) = self.fresh.first().cloned() {
            if let Some((ticket, agent)) = self.best_for(&process) {
                return self.assign(process, ticket, agent);
            }
            self.fresh.remove(&process);
        }
        None
    }

    /// Agents and processes that were looked at to decide, so far: what decisions cost, whatever the machine.
    #[must_use]
    pub fn looked_at(&self) -> u64 {
        self.looked_at
    }

    fn assign(&mut self, process: ProcessId, ticket: Ticket, agent: WorkerNumber) -> Option<Decision> {
        if let Some(owner) = self.lanes.get(&process).and_then(|lane| lane.queue.owner(ticket)) {
            self.owners.served(owner);
        }
        let run = self.unqueue(&process, ticket)?;
        self.changed.insert(agent);
        let worker = &mut self.workers[agent];
        worker.take_slot(run, &process);
        Some(Decision { run, process, agent: Arc::clone(&worker.key) })
    }

    /// Of the runs that an agent could take, the one whose turn it is.
    fn next_for(&mut self, agent: WorkerNumber) -> Option<(Ticket, ProcessId)> {
        if self.queued == 0 {
            return None;
        }
        let worker = &self.workers[agent];
        let situation = Situation::of(worker, &self.rules);
        if situation.takes_nothing() {
            return None;
        }
        self.looked_at += worker.services.len() as u64;
        let lanes = &self.lanes;
        let can_take = worker.services.iter().filter_map(|(process, offered)| {
            if lanes[offered.lane].queue.is_empty() {
                return None;
            }
            let full = || worker.slots.has_runs_of(process, offered.service.runs_max);
            situation.standing(&offered.service, offered.matching, full).ok()?;
            Some(offered.lane)
        });
        let mut can_take: Vec<LaneNumber> = can_take.collect();
        can_take.sort_unstable();
        let (ticket, lane) = self.next_in(&can_take)?;
        Some((ticket, self.lanes[lane].process.clone()))
    }

    /// Of the runs that wait in these lanes, which are in order, the one whose turn it is.
    fn next_in(&mut self, lanes: &[LaneNumber]) -> Option<(Ticket, LaneNumber)> {
        // Most of the time whoever is first of all has something in one of many lanes, and what the lanes know of turns is put right when
        // it is asked for: that would cost more for each that is asked.
        if lanes.len() > 1
            && let Some(next) = self.owners.next_in(lanes)
        {
            return Some(next);
        }
        let owners = &self.owners;
        let next = lanes.iter().filter_map(|lane| Some((self.lanes[*lane].queue.next(owners)?, *lane)));
        next.min().map(|(next, lane)| (next.ticket, lane))
    }

    /// The run of a process whose turn it is, and the best agent for it. All changed agents have to be settled.
    fn best_for(&mut self, process: &ProcessId) -> Option<(Ticket, WorkerNumber)> {
        let lane = self.lanes.get_mut(process)?;
        if lane.free() == 0 {
            return None;
        }
        let Next { ticket, .. } = lane.queue.next(&self.owners)?;
        self.looked_at += lane.candidates.len() as u64;
        Some((ticket, lane.candidates.best()?))
    }

    /// Makes the lanes of an agent's processes agree with it: what is in the way is counted, and what it is worth noted.
    fn settle(&mut self, agent: WorkerNumber) {
        let worker = &mut self.workers[agent];
        let situation = Situation::of(worker, &self.rules);
        let Worker { services, slots, .. } = worker;
        for (process, offered) in services {
            let full = || slots.has_runs_of(process, offered.service.runs_max);
            let standing = situation.standing(&offered.service, offered.matching, full);
            let (obstacle, worth) = (standing.err(), standing.ok());
            if offered.worth != worth {
                offered.worth = worth;
                self.lanes[offered.lane].candidates.set(offered.place, agent, worth);
            }
            if offered.counted == Some(obstacle) {
                continue;
            }
            let lane = &mut self.lanes[offered.lane];
            let before = offered.counted.replace(obstacle).flatten();
            if before != obstacle {
                lane.recount(before, obstacle);
                if !lane.queue.is_empty() {
                    self.news.insert(process.clone());
                }
                if [before, obstacle].contains(&Some(Obstacle::Away)) {
                    self.reviews.insert(process.clone());
                }
            }
        }
    }

    /// Why runs of a process wait now.
    pub fn reason(&mut self, process: &ProcessId) -> Arc<str> {
        let Some(lane) = self.lanes.get_mut(process) else { return "none offers the process".into() };
        let reason = lane.reason(&self.rules);
        if lane.has_untold() {
            self.news.insert(process.clone());
        }
        reason
    }

    /// Some runs that have not been told why they wait now, at most so many; process by process in turn. To be called when
    /// [`Dispatcher::decide`] has given nothing.
    pub fn next_news(&mut self, runs_max: usize) -> Option<News> {
        let behind =
            self.news_last.as_ref().and_then(|last| self.news.range(last..).find(|next| *next != last));
        let process = behind.or_else(|| self.news.first()).cloned()?;
        self.news.remove(&process);
        let lane = self.lanes.get_mut(&process);
        let news = lane.map_or_else(
            || News { reason: "".into(), runs: Vec::new() },
            |lane| {
                let reason = lane.reason(&self.rules);
                let news = News { reason, runs: lane.next_told(runs_max) };
                if lane.has_untold() {
                    self.news.insert(process.clone());
                }
                news
            },
        );
        self.news_last = Some(process);
        Some(news)
    }

    /// Whether [`Dispatcher::next_news`] may have something.
    #[must_use]
    pub fn has_news(&self) -> bool {
        !self.news.is_empty()
    }
}

/// How many of an agent's labels are preferred for a process.
fn matching(rules: &Rules, process: &ProcessId, service: &Service, labels: &BTreeSet<String>) -> u32 {
    let by_rule = rules.preferred_labels.get(process);
    let by_service = service.preferred.as_deref().unwrap_or_default();
    let preferred =
        |label: &&String| by_rule.is_some_and(|all| all.contains(*label)) || by_service.contains(label);
    u32::try_from(labels.iter().filter(preferred).count()).unwrap_or(u32::MAX)
}
