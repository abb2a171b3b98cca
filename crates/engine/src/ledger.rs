//! Who has how much: what is counted for the server, for each user and for each process, and who is refused for it.

use crate::fair::{Rank, Told};
use crate::hours::Hours;
use crate::quota::{Terms, find};
use anabranch_model::{Error, Limit, LimitKind, ProcessId, Timestamp, UserName};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Whose a job is; all jobs of nobody in particular together are one owner's.
pub(crate) type Owner = Option<UserName>;

/// What a client refused for want of room is told where no run has ended yet, seconds: jobs mostly take less.
const RETRY_AFTER_S: u32 = 10;
/// The longest time that they are told, seconds.
const RETRY_AFTER_S_MAX: f64 = 3600.0;

/// The accounts.
pub(crate) struct Ledger {
    server: Account,
    owners: HashMap<Owner, Account>,
    processes: HashMap<ProcessId, Account>,
    /// What is counted at other nodes.
    elsewhere: HashMap<UsageOf, Held>,
}

/// What is counted of one.
#[derive(Default)]
struct Account {
    /// Limits, as they were when it was last asked.
    limits: Arc<[Limit]>,
    /// Jobs whose run has not begun: in the queue, on their way to it, or waiting for their process.
    waiting: usize,
    /// Jobs that came, those of earlier servers among them.
    hours: Hours,
    /// Jobs that came here.
    own_hours: Hours,
    /// Of all nodes.
    stored_bytes: u64,
    /// Of the runs that ended, the later ones counting more; `None` before the first.
    run_s_mean: Option<f64>,
}

/// A job that wants to be let in.
pub(crate) struct Asked<'a> {
    pub(crate) owner: &'a Owner,
    pub(crate) process: &'a ProcessId,
    pub(crate) terms: &'a Terms,
    /// That come with the request and will be kept.
    pub(crate) input_bytes: u64,
}

/// Runs under way.
#[derive(Clone, Copy)]
pub(crate) struct Running {
    pub(crate) server: usize,
    pub(crate) owner: usize,
    pub(crate) process: usize,
}

/// What one has at a node, as that tells the others. Of the server only the jobs of the last hour: its slots are those of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) running: u64,
    pub(crate) waiting: u64,
    /// Accepted there within the last hour.
    pub(crate) hourly: u64,
    /// See [`Told`]; nodes of an earlier version don't tell it.
    #[serde(default)]
    pub(crate) served: u64,
    #[serde(default)]
    pub(crate) first: Option<Rank>,
}

impl Held {
    /// What of it the queue of a node has told.
    pub(crate) fn told(&self) -> Told {
        Told { running: at_most(self.running), served: self.served, first: self.first }
    }

    /// Counts what another node has, too.
    fn add(&mut self, other: &Self) {
        self.running += other.running;
        self.waiting += other.waiting;
        self.hourly += other.hourly;
    }
}

/// One who has jobs, beside the limits that hold for them.
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    /// Who.
    pub of: UsageOf,
    /// Runs under way.
    pub running: u64,
    /// Jobs that wait for a run.
    pub queued: u64,
    /// Jobs accepted within the last hour.
    pub hourly: u64,
    /// Bytes kept: inputs and outputs.
    pub stored_bytes: u64,
    /// The limits of these, as they were when the last job was accepted.
    pub limits: Arc<[Limit]>,
}

/// Whose jobs are counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum UsageOf {
    /// All.
    Server,
    /// Those of a user; `None` for all users who have not said who they are.
    User(Option<UserName>),
    /// Those of a process.
    Process(ProcessId),
}

impl Usage {
    /// How much there is of what a limit counts; `None` for limits of single jobs.
    #[must_use]
    pub fn used(&self, kind: LimitKind) -> Option<u64> {
        match kind {
            LimitKind::ParallelJobs => Some(self.running),
            LimitKind::QueuedJobs => Some(self.queued),
            LimitKind::HourlyJobs => Some(self.hourly),
            LimitKind::StoredBytes => Some(self.stored_bytes),
            LimitKind::InputBytes
            | LimitKind::OutputBytes
            | LimitKind::RunSeconds
            | LimitKind::QueueSeconds
            | LimitKind::CpuSeconds
            | LimitKind::FreeBytes => None,
        }
    }
}

impl Ledger {
    pub(crate) fn new(of_server: Vec<Limit>) -> Self {
        let server = Account { limits: of_server.into(), ..Account::default() };
        Self { server, owners: HashMap::new(), processes: HashMap::new(), elsewhere: HashMap::new() }
    }

    /// Lets a job in, which counts as waiting from then on, or refuses it.
    pub(crate) fn admit(&mut self, asked: &Asked<'_>, running: Running, now: Timestamp) -> Result<(), Error> {
        self.check(asked, running, now)?;
        self.each(asked.owner, asked.process, |account| {
            account.waiting += 1;
            account.hours.add(now, 1);
            account.own_hours.add(now, 1);
            account.stored_bytes += asked.input_bytes;
        });
        Ok(())
    }

    fn check(&mut self, asked: &Asked<'_>, running: Running, now: Timestamp) -> Result<(), Error> {
        let owner = self.owners.entry(asked.owner.clone()).or_default();
        owner.limits = Arc::clone(&asked.terms.owner);
        let process = self.processes.entry(asked.process.clone()).or_default();
        process.limits = Arc::clone(&asked.terms.process);
        let elsewhere = |of| self.elsewhere.get(&of).copied().unwrap_or_default();
        let (of_owner, of_process) =
            (UsageOf::User(asked.owner.clone()), UsageOf::Process(asked.process.clone()));
        let accounts = [
            (&mut self.server, running.server, elsewhere(UsageOf::Server)),
            (owner, running.owner, elsewhere(of_owner)),
            (process, running.process, elsewhere(of_process)),
        ]
        .map(|(account, running, elsewhere)| {
            (account, running.saturating_add(at_most(elsewhere.running)), elsewhere)
        });
        // A job that can begin at once does not wait: what is free for it is what its narrowest limit leaves.
        let free = accounts.iter().map(|(account, running, _)| account.free(*running)).min().unwrap_or(0);
        for (account, running, elsewhere) in accounts {
            account.check(asked.input_bytes, running, free, elsewhere, now)?;
        }
        Ok(())
    }

    /// What other nodes count now, one after the other.
    pub(crate) fn set_elsewhere(&mut self, told: &[(UsageOf, Held)]) {
        self.elsewhere.clear();
        for (of, held) in told {
            self.elsewhere.entry(of.clone()).or_default().add(held);
        }
    }

    /// What is counted here, for the other nodes, with what the queue has of each; those who have nothing are left out.
    pub(crate) fn held(&mut self, now: Timestamp, queued: impl Fn(&UsageOf) -> Told) -> Vec<(UsageOf, Held)> {
        let server = Held { hourly: self.server.own_hours.count(now), ..Held::default() };
        let owners = self.owners.iter_mut().map(|(owner, account)| (UsageOf::User(owner.clone()), account));
        let processes =
            self.processes.iter_mut().map(|(process, account)| (UsageOf::Process(process.clone()), account));
        let of_each = owners.chain(processes).map(|(of, account)| {
            let hourly = account.own_hours.count(now);
            let Told { running, served, first } = queued(&of);
            let (running, waiting) = (running as u64, account.waiting as u64);
            let held = Held { running, waiting, hourly, served, first };
            (of, held)
        });
        std::iter::once((UsageOf::Server, server))
            .chain(of_each)
            .filter(|(_, held)| *held != Held::default())
            .collect()
    }

    /// So many bytes are kept of each, by all nodes, whatever was counted before.
    pub(crate) fn recount(&mut self, stored: impl IntoIterator<Item = (Owner, ProcessId, u64)>) {
        self.server.stored_bytes = 0;
        self.owners
            .values_mut()
            .chain(self.processes.values_mut())
            .for_each(|account| account.stored_bytes = 0);
        for (owner, process, bytes) in stored {
            self.keep(&owner, &process, bytes);
        }
    }

    /// A job counts as waiting that was let in before: recovered, or to be repeated.
    pub(crate) fn wait(&mut self, owner: &Owner, process: &ProcessId) {
        self.each(owner, process, |account| account.waiting += 1);
    }

    /// A job waits no more: it has begun, or is gone.
    pub(crate) fn wait_no_more(&mut self, owner: &Owner, process: &ProcessId) {
        self.each(owner, process, |account| account.waiting -= 1);
    }

    /// A run has ended that took so long.
    pub(crate) fn ended(&mut self, owner: &Owner, process: &ProcessId, took: Duration) {
        let took = took.as_secs_f64();
        self.each(owner, process, |account| {
            let mean = account.run_s_mean.get_or_insert(took);
            *mean += (took - *mean) / 8.0;
        });
    }

    /// More bytes are kept of a job.
    pub(crate) fn grow(&mut self, owner: &Owner, process: &ProcessId, bytes: u64) -> Result<(), Error> {
        let accounts =
            [Some(&self.server), self.owners.get(owner), self.processes.get(process)].into_iter().flatten();
        for account in accounts {
            account.check_stored(bytes)?;
        }
        self.keep(owner, process, bytes);
        Ok(())
    }

    /// Bytes of a job are kept, whatever the limits say.
    pub(crate) fn keep(&mut self, owner: &Owner, process: &ProcessId, bytes: u64) {
        self.each(owner, process, |account| account.stored_bytes += bytes);
    }

    /// Bytes of a job are kept no more.
    pub(crate) fn shrink(&mut self, owner: &Owner, process: &ProcessId, bytes: u64) {
        self.each(owner, process, |account| {
            account.stored_bytes = account.stored_bytes.saturating_sub(bytes);
        });
    }

    /// What an earlier server left: bytes that are kept, and jobs of the last hour.
    pub(crate) fn recall(&mut self, recalled: Recalled) {
        for (owner, process, bytes) in recalled.stored {
            self.keep(&owner, &process, bytes);
        }
        for (owner, process, at, count) in recalled.hourly {
            self.each(&owner, &process, |account| account.hours.add(at, count));
        }
    }

    /// Jobs whose run has not begun.
    pub(crate) fn waiting(&self) -> usize {
        self.server.waiting
    }

    /// Everyone who has something; those who have nothing any more are forgotten.
    pub(crate) fn usage(&mut self, now: Timestamp, running: impl Fn(&UsageOf) -> usize) -> Vec<Usage> {
        for of in self.elsewhere.keys() {
            match of {
                UsageOf::Server => {}
                UsageOf::User(owner) => _ = self.owners.entry(owner.clone()).or_default(),
                UsageOf::Process(process) => _ = self.processes.entry(process.clone()).or_default(),
            }
        }
        let elsewhere = |of: &UsageOf| self.elsewhere.get(of).copied().unwrap_or_default();
        let mut all = vec![self.server.usage(UsageOf::Server, &running, elsewhere, now)];
        for (owner, account) in &mut self.owners {
            all.push(account.usage(UsageOf::User(owner.clone()), &running, elsewhere, now));
        }
        for (process, account) in &mut self.processes {
            all.push(account.usage(UsageOf::Process(process.clone()), &running, elsewhere, now));
        }
        all.sort_by(|a, b| a.of.cmp(&b.of));
        self.owners.retain(|_, account| !account.is_empty(now));
        self.processes.retain(|_, account| !account.is_empty(now));
        all
    }

    fn each(&mut self, owner: &Owner, process: &ProcessId, change: impl Fn(&mut Account)) {
        change(&mut self.server);
        change(self.owners.entry(owner.clone()).or_default());
        change(self.processes.entry(process.clone()).or_default());
    }
}

/// What the store knows of earlier jobs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Recalled {
    pub(crate) stored: Vec<(Owner, ProcessId, u64)>,
    /// With the minute in which they came.
    pub(crate) hourly: Vec<(Owner, ProcessId, Timestamp, u64)>,
}

impl Account {
    fn limit(&self, kind: LimitKind) -> Option<&Limit> {
        find(&self.limits, kind)
    }

    /// Runs that could begin at once, those who wait being let in first.
    fn free(&self, running: usize) -> usize {
        let max = self.limit(LimitKind::ParallelJobs).map_or(usize::MAX, |limit| at_most(limit.max));
        max.saturating_sub(running)
    }

    fn check(
        &mut self,
        input_bytes: u64,
        running: usize,
        free: usize,
        elsewhere: Held,
        now: Timestamp,
    ) -> Result<(), Error> {
        if let Some(limit) = self.limit(LimitKind::InputBytes).filter(|limit| input_bytes > limit.max) {
            return Err(Error::over(limit.clone()));
        }
        if let Some(limit) = self.limit(LimitKind::HourlyJobs).cloned()
            && self.hours.count(now).saturating_add(elsewhere.hourly) >= limit.max
        {
            let retry_after_s = Some(self.hours.below_in_s(limit.max.saturating_sub(elsewhere.hourly), now));
            return Err(Error::OverLimit { limit, retry_after_s });
        }
        if let Some(limit) = self.limit(LimitKind::QueuedJobs)
            && self.waiting.saturating_add(at_most(elsewhere.waiting))
                >= at_most(limit.max).saturating_add(free)
        {
            let retry_after_s = Some(self.next_end_s(running));
            return Err(Error::OverLimit { limit: limit.clone(), retry_after_s });
        }
        self.check_stored(input_bytes)
    }

    fn check_stored(&self, more_bytes: u64) -> Result<(), Error> {
        match self.limit(LimitKind::StoredBytes) {
            Some(limit) if more_bytes > limit.max.saturating_sub(self.stored_bytes) => {
                Err(Error::over(limit.clone()))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// When a run will end, as they have ended so far: seconds from now.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn next_end_s(&self, running: usize) -> u32 {
        let Some(mean) = self.run_s_mean else { return RETRY_AFTER_S };
        (mean / running.max(1) as f64).ceil().clamp(1.0, RETRY_AFTER_S_MAX) as u32
    }

    fn is_empty(&mut self, now: Timestamp) -> bool {
        self.waiting == 0 && self.stored_bytes == 0 && self.hours.count(now) == 0
    }

    fn usage(
        &mut self,
        of: UsageOf,
        running: impl Fn(&UsageOf) -> usize,
        elsewhere: impl Fn(&UsageOf) -> Held,
        now: Timestamp,
    ) -> Usage {
        let elsewhere = elsewhere(&of);
        Usage {
            running: running(&of) as u64 + elsewhere.running,
            queued: self.waiting as u64 + elsewhere.waiting,
            hourly: self.hours.count(now) + elsewhere.hourly,
            stored_bytes: self.stored_bytes,
            limits: Arc::clone(&self.limits),
            of,
        }
    }
}

/// A number of jobs as a count.
pub(crate) fn at_most(max: u64) -> usize {
    usize::try_from(max).unwrap_or(usize::MAX)
}
