//! Everything at once: jobs by all interfaces, and meanwhile server and agents are killed, stopped for a while, and cut off.
//!
//! `ANABRANCH_CHAOS_S` says for how many seconds, `ANABRANCH_SEED` which choices are made; both in `make chaos`.

#![allow(clippy::unwrap_used)]

use e2e::link::Link;
use e2e::witness::Witness;
use e2e::work::{INTERFACES, Services, WORKS, Work};
use e2e::{Agent, DEADLINE, Random, Server, check_store, eventually, processes_with, try_get};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// Longest wait for the true end of a job after the last fault: agents that are gone are given up after 13 s, runs that nobody tells
/// of after a restart 60 s later.
const END: Duration = Duration::from_secs(120);

/// Longest wait for an answer: the server may be stopped.
const ANSWER: Duration = Duration::from_secs(3);

/// The agents, each behind a link of its own.
struct Site {
    server: Server,
    agents: Vec<(Agent, Link, Vec<String>)>,
    services: Services,
    witness: Witness,
    faults: Vec<&'static str>,
}

impl Site {
    async fn new() -> Self {
        let services = Services::new();
        let server = Server::start().await;
        let line = std::fs::read_to_string(server.data_folder().join("local.join")).unwrap();
        let mut agents = Vec::new();
        for name in ["a1", "a2"] {
            let link = Link::to(server.xmpp).await;
            let line =
                line.replace(&format!(":{}?", server.xmpp.port()), &format!(":{}?", link.address.port()));
            let arguments = vec!["--join".to_owned(), line];
            let files = services.files();
            let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
            agents.push((Agent::start_with(name, &files, &arguments), link, arguments));
        }
        for work in WORKS {
            server.published(work.process(), true).await;
        }
        Self { server, agents, services, witness: Witness::default(), faults: Vec::new() }
    }

    /// One job, however it is asked for.
    async fn ask(&mut self, random: &mut Random) {
        let (work, interface) = (*random.pick(&WORKS), *random.pick(&INTERFACES));
        let token = self.witness.token(work);
        if random.one_in(6) {
            if let Ok(Some(reply)) = tokio::time::timeout(ANSWER, work.execute(&self.server, &token)).await
                && reply.status == 200
                && work != Work::Tiles
            {
                assert!(reply.body == work.result(&token), "{work:?}: {}", reply.text());
            }
        } else if let Ok(Ok(id)) =
            tokio::time::timeout(ANSWER, work.submit(&self.server, interface, &token)).await
        {
            self.witness.accepted(id, work, token);
        }
    }

    async fn break_something(&mut self, random: &mut Random) {
        let fault = *random.pick(&[
            "kill the server",
            "kill an agent",
            "stop the server for a while",
            "stop an agent for a while",
            "cut a link",
            "dismiss a job",
            "dismiss a job",
            "restart the server in order",
        ]);
        self.faults.push(fault);
        let which = random.below(self.agents.len());
        let pause = Duration::from_millis(200 + random.below(3000) as u64);
        let (agent, link, arguments) = &mut self.agents[which];
        match fault {
            "kill the server" => {
                self.server.kill().await;
                tokio::time::sleep(pause / 4).await;
                self.server.start_again().await;
            }
            "restart the server in order" => {
                self.server.stop().await;
                self.server.start_again().await;
            }
            "kill an agent" => {
                agent.kill().await;
                tokio::time::sleep(pause / 4).await;
                agent.start_again_with(&format!("a{}", which + 1), arguments);
            }
            "stop the server for a while" => pause_process(self.server.pid(), pause).await,
            "stop an agent for a while" => pause_process(agent.pid(), pause * 3).await,
            "cut a link" => link.cut_for(pause * 2).await,
            _ => self.dismiss(random).await,
        }
    }

    async fn dismiss(&mut self, random: &mut Random) {
        let living: Vec<_> =
            self.witness.jobs.iter().filter(|(_, told)| !told.has_ended() && !told.is_dismissed).collect();
        if living.is_empty() {
            return;
        }
        let id = random.pick(&living).0.clone();
        if let Some(told) = self.witness.jobs.get_mut(&id) {
            told.is_dismissed = true;
        }
        let _answer_is_looked_for =
            tokio::time::timeout(ANSWER, self.server.try_delete(&format!("/jobs/{id}"))).await;
    }

    async fn confirm(&mut self) {
        // Those that ended before they were to be dismissed were removed, as their clients asked.
        let mut gone = Vec::new();
        for (id, told) in self.witness.jobs.iter().filter(|(_, told)| told.is_dismissed) {
            let reply = try_get(&self.server.url(&format!("/jobs/{id}"))).await.unwrap();
            if reply.status == 404 || reply.status == 410 {
                assert!(told.status != "dismissed", "{told:?} is gone");
                gone.push(id.clone());
            }
        }
        gone.iter().for_each(|id| drop(self.witness.jobs.remove(id)));
        self.witness.confirm(&self.server, END).await;
        self.witness.check_runs(&self.services);
        for (id, told) in self.witness.jobs.iter().filter(|(_, told)| told.work == Work::Tiles) {
            let playlist = self.server.get(&format!("/jobs/{id}/results/tiles/playlist?f=playlist")).await;
            let text = playlist.text();
            let is_over = playlist.status == 410 || playlist.status == 404 && told.chunks == 0;
            assert!(is_over || text.ends_with("#PLAYLIST-END\n"), "{told:?}: {text}");
        }
        let marker = self.services.marker();
        eventually("no process of a run", DEADLINE, async || {
            processes_with(&marker).is_empty().then_some(())
        })
        .await;
        let checked = check_store(&self.server.data_folder()).await;
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    }
}

async fn pause_process(pid: rustix::process::Pid, pause: Duration) {
    rustix::process::kill_process(pid, Signal::STOP).unwrap();
    tokio::time::sleep(pause).await;
    rustix::process::kill_process(pid, Signal::CONT).unwrap();
}

#[tokio::test]
async fn chaos() {
    let mut random = Random::from_environment();
    let seconds = std::env::var("ANABRANCH_CHAOS_S").map_or(15, |text| text.parse().unwrap());
    let mut site = Site::new().await;
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        for _ in 0..=random.below(4) {
            site.ask(&mut random).await;
        }
        let _the_server_may_be_stopped = tokio::time::timeout(ANSWER, site.witness.look(&site.server)).await;
        if random.one_in(4) {
            site.break_something(&mut random).await;
        }
    }
    println!("{} jobs accepted, {} faults: {:?}", site.witness.jobs.len(), site.faults.len(), site.faults);
    site.confirm().await;
    let mut ends = std::collections::BTreeMap::<_, usize>::new();
    site.witness.jobs.values().for_each(|told| *ends.entry(told.status.clone()).or_default() += 1);
    println!("all came to a true end: {ends:?}");
}
