//! The operators' page: what runs and waits, agents, limits, disk.

use super::{JobRow, Page, shown};
use crate::app::App;
use anabranch_engine::{LiveJob, Room};
use anabranch_remote::{AgentInfo, WaitingRuns};
use askama::Template;

#[derive(Template)]
#[template(path = "console.html")]
pub(crate) struct ConsolePage {
    pub(crate) page: Page,
    /// The server lets in no more jobs.
    pub(crate) is_draining: bool,
    pub(crate) queued: usize,
    pub(crate) running: usize,
    pub(crate) finished: u64,
    /// The first ones that wait or run.
    pub(crate) jobs: Vec<LiveRow>,
    /// How many more there are.
    pub(crate) more: usize,
    pub(crate) agents: Vec<AgentRow>,
    pub(crate) waiting: Vec<WaitingRuns>,
    pub(crate) limits: Vec<LimitRow>,
    /// Room where results are kept.
    pub(crate) disk: Option<String>,
}

/// A job that waits or runs.
pub(crate) struct LiveRow {
    job: JobRow,
    /// Empty for nobody in particular.
    owner: String,
    sync: bool,
    /// Since it was accepted.
    age: String,
}

impl LiveRow {
    pub(crate) fn new(app: &App, live: &LiveJob) -> Self {
        let age = anabranch_model::Timestamp::now().duration_since(live.view.job.created).as_secs();
        let owner = live.view.job.owner.as_ref().map(ToString::to_string).unwrap_or_default();
        Self { job: JobRow::new(app, &live.view), owner, sync: live.sync, age: duration(age.max(0)) }
    }
}

/// A limit and how much of it is used.
pub(crate) struct LimitRow {
    /// What is counted.
    pub(crate) name: &'static str,
    pub(crate) whose: String,
    pub(crate) used: u64,
    pub(crate) max: u64,
}

impl LimitRow {
    /// How full it is: 1 is all.
    pub(crate) fn share(&self) -> f64 {
        self.used as f64 / self.max.max(1) as f64
    }

    /// From here on an operator should look.
    fn is_near(&self) -> bool {
        self.share() >= 0.8
    }
}

/// Room on a disk, for people.
pub(crate) fn room_text(room: Room) -> String {
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    format!("{:.1} GiB free of {:.1} GiB", gib(room.free_bytes), gib(room.total_bytes))
}

/// Seconds for people: 45 s, 12 min, 3 h 5 min.
fn duration(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// An agent in the table.
pub(crate) struct AgentRow {
    name: String,
    connected: bool,
    draining: bool,
    /// Connected or not, or why it gets no runs.
    standing: String,
    labels: String,
    services: Vec<String>,
    running: u32,
    capacity: u32,
    cpu: String,
    memory: String,
    load_average: String,
    last_seen: String,
}

impl From<&AgentInfo> for AgentRow {
    fn from(agent: &AgentInfo) -> Self {
        let of_load =
            |read: fn(&anabranch_remote::Load) -> String| agent.load.as_ref().map(read).unwrap_or_default();
        Self {
            name: agent.name.clone(),
            connected: agent.connected,
            draining: agent.draining,
            standing: standing(agent).to_owned(),
            labels: agent.labels.join(", "),
            services: agent.services.iter().map(ToString::to_string).collect(),
            running: agent.running,
            capacity: agent.capacity,
            cpu: of_load(|load| format!("{:.0} %", load.cpu_percent)),
            memory: of_load(|load| format!("{:.0} %", load.memory_percent)),
            load_average: of_load(|load| format!("{:.2}", load.load_average)),
            last_seen: shown(agent.last_seen),
        }
    }
}

/// How an agent stands, in a word or a few.
fn standing(agent: &AgentInfo) -> &str {
    match &agent.obstacle {
        _ if !agent.connected => "lost",
        Some(obstacle) => obstacle,
        None => "connected",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_people_tell_them() {
        let told = [0, 59, 60, 3599, 3600, 11_100].map(duration);
        assert_eq!(told, ["0 s", "59 s", "1 min", "59 min", "1 h 0 min", "3 h 5 min"]);
    }
}
