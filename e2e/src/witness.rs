//! A witness: notes what a server tells of jobs, and confronts a later server with it.

use crate::work::{Services, TILES, Work};
use crate::{Server, eventually, try_get};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// What has been told.
#[derive(Default)]
pub struct Witness {
    pub jobs: BTreeMap<String, Told>,
    /// Tokens that were given out, with what they were for; of some of them no answer came.
    tokens: BTreeMap<String, Work>,
}

/// What has been told of one job: each of it must stay true.
#[derive(Clone, Debug)]
pub struct Told {
    pub work: Work,
    pub token: String,
    /// Its last state.
    pub status: String,
    /// Someone has asked for its end.
    pub is_dismissed: bool,
    /// Chunks that a playlist has listed.
    pub chunks: usize,
}

fn is_end(status: &str) -> bool {
    matches!(status, "successful" | "failed" | "dismissed")
}

impl Told {
    pub fn has_ended(&self) -> bool {
        is_end(&self.status)
    }
}

impl Witness {
    /// A text that is in the arguments of one job only.
    pub fn token(&mut self, work: Work) -> String {
        let token = format!("token{}", self.tokens.len());
        self.tokens.insert(token.clone(), work);
        token
    }

    /// A server has said that it accepted a job.
    pub fn accepted(&mut self, id: String, work: Work, token: String) {
        let told = Told { work, token, status: "accepted".into(), is_dismissed: false, chunks: 0 };
        assert!(self.jobs.insert(id, told).is_none(), "two jobs of one name");
    }

    /// Looks at every job that has not ended yet, as far as the server answers.
    pub async fn look(&mut self, server: &Server) {
        for (id, told) in self.jobs.iter_mut().filter(|(_, told)| !told.has_ended()) {
            // A playlist first: the end may come in between.
            if told.work == Work::Tiles
                && let Some(chunks) = chunks(server, id).await
            {
                told.chunks = told.chunks.max(chunks);
            }
            if let Ok(reply) = try_get(&server.url(&format!("/jobs/{id}"))).await
                && let Ok(job) = serde_json::from_slice::<Value>(&reply.body)
                && let Some(status) = job["status"].as_str().filter(|_| reply.status == 200)
            {
                told.status = status.to_owned();
            }
        }
    }

    /// All that was told is so, and everything has come, or comes, to a true end.
    pub async fn confirm(&mut self, server: &Server, within: Duration) {
        for (id, told) in &mut self.jobs {
            let before = told.clone();
            let job = eventually(&format!("an end of job {id}, {before:?}"), within, async || {
                let reply = try_get(&server.url(&format!("/jobs/{id}"))).await.ok()?;
                assert_eq!(reply.status, 200, "job {id} was {before:?}, and is {}", reply.text());
                let job: Value = serde_json::from_slice(&reply.body).ok()?;
                is_end(job["status"].as_str()?).then_some(job)
            })
            .await;
            told.status = job["status"].as_str().unwrap().to_owned();
            assert!(!before.has_ended() || before.status == told.status, "{before:?} has become {job}");
            told.check(server, id, &job).await;
        }
    }

    /// Nothing has run twice that may not.
    pub fn check_runs(&self, services: &Services) {
        let runs = services.runs();
        for (token, count) in &runs {
            let work = self.tokens[token];
            assert!(work.is_idempotent() || *count == 1, "{work:?} of {token} ran {count} times");
        }
        for told in self.jobs.values().filter(|told| told.status == "successful" && told.work != Work::Echo) {
            assert!(runs.contains_key(&told.token), "{told:?} without a run");
        }
    }
}

impl Told {
    /// Its end is a true one.
    async fn check(&self, server: &Server, id: &str, job: &Value) {
        match (self.status.as_str(), self.work) {
            ("successful", Work::Tiles) => assert_eq!(chunks(server, id).await, Some(TILES), "{job}"),
            ("successful", Work::Fails) => panic!("it can't have succeeded: {job}"),
            ("successful", work) => {
                let path = format!("/jobs/{id}/results/{}", work.output());
                let reply = server.get(&path).await;
                assert_eq!(reply.status, 200, "{self:?}: {job} {}", reply.text());
                let said = reply.json_text().unwrap_or(reply.body);
                assert!(
                    said == work.result(&self.token),
                    "{self:?}: its result is not what it put out: {job}"
                );
            }
            ("failed", _) => assert!(job["message"].as_str().is_some_and(|text| !text.is_empty()), "{job}"),
            ("dismissed", _) => assert!(self.is_dismissed, "nobody has dismissed {job}"),
            _ => panic!("no end: {job}"),
        }
        // It has no results any more: they were not asked for as a stream, of which what was shown stays.
        let chunks = if self.status == "dismissed" { 0 } else { self.chunks };
        for number in 1..=chunks {
            let reply = server.get(&format!("/jobs/{id}/results/tiles/chunks/{number}")).await;
            assert_eq!(reply.status, 200, "chunk {number} of {self:?}, {job}: {}", reply.text());
            assert!(reply.body == Work::tile(number), "chunk {number} of {self:?} has changed");
        }
    }
}

/// Chunks that the playlist lists. What has ended has an end there.
async fn chunks(server: &Server, id: &str) -> Option<usize> {
    let reply = try_get(&server.url(&format!("/jobs/{id}/results/tiles/playlist"))).await.ok()?;
    let playlist: Value = serde_json::from_slice(&reply.body).ok()?;
    Some(playlist["chunks"].as_array()?.len())
}
