//! What lies outside of the server and survives its death: what its clients were told, what agents hold, what runs did.

use super::clients::LOOKS;
use crate::{Engine, JobFilter, JobView, StateName};
use anabranch_model::{Data, Error, JobId, JobState, Outcome, Value, Viewer};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a job is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// May be repeated.
    Again,
    /// May not.
    Once,
    /// Runs elsewhere, and lives on there.
    Far,
    /// A stream that goes on after its chunks.
    Stream,
}

/// What one client was told of a job.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) number: u64,
    pub(super) kind: Kind,
    pub(super) sync: bool,
    /// Someone has asked for its end, and may not know what came of it.
    pub(super) is_dismissed: bool,
    view: Option<JobView>,
}

/// The world.
#[derive(Default)]
pub(super) struct World(Mutex<State>);

#[derive(Default)]
struct State {
    told: BTreeMap<JobId, Told>,
    /// Runs begun, by job and attempt.
    begun: BTreeMap<(JobId, u32), u32>,
    /// Chunks that were acknowledged to agents, by job and attempt.
    far: BTreeMap<(JobId, u32), u64>,
    jobs: u64,
    /// The server that lives.
    server: Option<Engine>,
    lost_power: bool,
    seen: Vec<String>,
}

/// How far a state is; nothing comes after the last one.
fn rank(state: &JobState) -> u8 {
    match state {
        JobState::Accepted => 0,
        JobState::Running { .. } => 1,
        JobState::Finished(_) => 2,
    }
}

fn chunks(view: &JobView) -> u64 {
    view.outputs.iter().map(|output| output.chunks).sum()
}

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line of what was seen. Identifiers are left out: they differ each time.
    pub(super) fn say(&self, line: String) {
        self.state().seen.push(line);
    }

    pub(super) fn seen(&self) -> Vec<String> {
        self.state().seen.clone()
    }

    /// A client was told that there is a job.
    pub(super) fn accepted(&self, id: JobId, kind: Kind, sync: bool) {
        let mut state = self.state();
        state.jobs += 1;
        let told = Told { number: state.jobs, kind, sync, is_dismissed: false, view: None };
        state.told.insert(id, told);
    }

    pub(super) fn asks_for_end(&self, id: JobId) {
        if let Some(told) = self.state().told.get_mut(&id) {
            told.is_dismissed = true;
        }
    }

    /// It was removed with all that belongs to it.
    pub(super) fn removed(&self, id: JobId) {
        self.state().told.remove(&id);
    }

    /// A client was told how a job is: nothing may go back.
    pub(super) fn tell(&self, view: &JobView) {
        let mut state = self.state();
        let Some(told) = state.told.get_mut(&view.job.id) else { return };
        // Who waits for the answer is told the end only.
        if told.sync && !view.job.is_finished() {
            return;
        }
        if let Some(before) = &told.view {
            let (is_same_attempt, same) =
                (before.job.attempt == view.job.attempt, before.job.state == view.job.state);
            assert!(view.job.attempt >= before.job.attempt, "an attempt is gone: {before:?} {view:?}");
            assert!(!before.job.is_finished() || same, "nothing changes after the end: {before:?} {view:?}");
            if is_same_attempt {
                assert!(
                    rank(&view.job.state) >= rank(&before.job.state),
                    "it goes back: {before:?} {view:?}"
                );
            }
            let stays = is_same_attempt || matches!(told.kind, Kind::Stream);
            let is_cleared = view.job.is_finished() && !matches!(told.kind, Kind::Stream);
            assert!(
                !stays || is_cleared || chunks(view) >= chunks(before),
                "chunks are gone: {before:?} {view:?}"
            );
        }
        if let JobState::Finished(Outcome::Dismissed(_)) = &view.job.state {
            assert!(told.is_dismissed, "nobody has asked for that: {view:?}");
        }
        let line = format!(
            "{} {:?} {}: {} {}",
            told.number,
            told.kind,
            view.job.attempt,
            rank(&view.job.state),
            chunks(view)
        );
        told.view = Some(view.clone());
        state.seen.push(line);
    }

    /// A run begins.
    pub(super) fn begins(&self, kind: Kind, job: JobId, attempt: u32) {
        let mut state = self.state();
        let count = state.begun.entry((job, attempt)).or_default();
        *count += 1;
        let may_not = kind == Kind::Once || kind == Kind::Far;
        assert!(!may_not || *count == 1, "a run of {kind:?} was begun twice: {job} attempt {attempt}");
        let all: u32 = state.begun.iter().filter(|((of, _), _)| *of == job).map(|(_, count)| count).sum();
        assert!(kind != Kind::Once || all == 1, "{job} ran {all} times");
    }

    /// An agent has it.
    pub(super) fn holds(&self, job: JobId, attempt: u32) -> bool {
        self.state().begun.contains_key(&(job, attempt))
    }

    pub(super) fn acknowledged(&self, job: JobId, attempt: u32) {
        *self.state().far.entry((job, attempt)).or_default() += 1;
    }

    pub(super) fn lives(&self, server: &Engine) {
        self.state().server = Some(server.clone());
    }

    pub(super) fn server(&self) -> Option<Engine> {
        self.state().server.clone()
    }

    pub(super) fn died(&self, by_power_failure: bool) {
        let mut state = self.state();
        state.lost_power = by_power_failure;
        let _dropped_after_the_lock = state.server.take();
    }

    pub(super) fn lost_power(&self) -> bool {
        self.state().lost_power
    }

    /// All jobs that were told, in their order: identifiers are by chance.
    fn all(&self) -> Vec<(JobId, Told)> {
        let mut all: Vec<_> = self.state().told.iter().map(|(id, told)| (*id, told.clone())).collect();
        all.sort_by_key(|(_, told)| told.number);
        all
    }

    /// The next server knows, before it does anything, all that was told.
    pub(super) async fn confront(&self, engine: &Engine, lost_power: bool) {
        for (id, told) in self.all() {
            match engine.job(&Viewer::Operator, id).await {
                // What the client of a synchronous job is told may be undone by a power failure: see ARCHITECTURE.md.
                Ok(_) | Err(Error::NoSuchJob(_) | Error::Gone { .. }) if told.sync && lost_power => {
                    self.removed(id)
                }
                Err(Error::NoSuchJob(_) | Error::Gone { .. }) if told.view.is_none() && told.sync => {
                    self.removed(id)
                }
                Ok(view) => self.tell(&view),
                // One that was to be dismissed and had ended was removed; that the client was not told is another matter.
                Err(Error::NoSuchJob(_) | Error::Gone { .. }) if told.is_dismissed => self.removed(id),
                Err(error) => panic!("{told:?} was told, and is gone: {error}"),
            }
        }
    }

    /// Waits until every job that was ever told has ended, and reads what it has put out.
    pub(super) async fn until_all_ended(&self, engine: &Engine) {
        for (id, _) in self.all() {
            let may_be_gone = || self.state().told.get(&id).is_none_or(|told| told.is_dismissed);
            loop {
                let view = match engine.job(&Viewer::Operator, id).await {
                    Err(Error::NoSuchJob(_) | Error::Gone { .. }) if may_be_gone() => break,
                    view => view.unwrap(),
                };
                self.tell(&view);
                if view.job.state == JobState::Finished(Outcome::Succeeded) {
                    self.read(engine, id).await;
                }
                if view.job.is_finished() {
                    break;
                }
                tokio::time::sleep(LOOKS).await;
            }
        }
        // And those of which nobody was told: synchronous ones, whose clients died with an earlier server.
        let states = vec![StateName::Accepted, StateName::Running];
        let unfinished = JobFilter { states, ..JobFilter::all() };
        while !engine.jobs(&Viewer::Operator, unfinished.clone()).await.unwrap().jobs.is_empty() {
            tokio::time::sleep(LOOKS).await;
        }
    }

    /// What is announced is there.
    async fn read(&self, engine: &Engine, id: JobId) {
        let results = match engine.results(&Viewer::Operator, id).await {
            Err(Error::NoSuchJob(_) | Error::Gone { .. }) => return,
            results => results.unwrap(),
        };
        for (number, chunk) in results.outputs.iter().flat_map(|output| output.chunks.iter().enumerate()) {
            let Value::Complex(value) = chunk else { continue };
            if let Data::File(file) = &value.data {
                assert!(file.path.is_file(), "chunk {number} has no bytes");
            }
            assert!(!value.data.read_all(1 << 20).unwrap().is_empty());
        }
    }
}
