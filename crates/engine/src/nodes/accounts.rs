//! Accounts of all nodes: each tells the others what users and processes have there, so that limits hold for all nodes together.
//!
//! What a node counts is up to two seconds old for the others, half a second where they wait for each other. A burst that comes through
//! several nodes meanwhile may so get more than its limit, never more than the limit at each node.

use super::{BEAT, LOOK, Nodes};
use crate::clock;
use crate::engine::Inner;
use crate::ledger::{Held, UsageOf};
use crate::store::postgres::session::Session;
use crate::store::row::{from_json, to_json};
use crate::store::sql::Row;
use anabranch_model::Error;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Time between two counts of what is kept: they go through all jobs, a second's work where there are some millions.
const RECOUNT: Duration = Duration::from_secs(60);

/// Most users and processes that a node tells of, a megabyte: those who have jobs now, then those who had most within the hour.
const TOLD_MAX: usize = 10_000;

const TELL: &str =
    "INSERT INTO accounts (node, held) VALUES (?1,?2) ON CONFLICT (node) DO UPDATE SET held=excluded.held";
const OTHERS: &str = "SELECT held FROM accounts JOIN nodes USING (node) WHERE dead=0 AND node<>?1";
const FORGET: &str = "DELETE FROM accounts WHERE node NOT IN (SELECT node FROM nodes WHERE dead=0)";

/// Who has how much: as a list, because names are no keys of JSON objects where nobody has none.
type HeldByEach = Vec<(UsageOf, Held)>;

/// Tells and asks every second, more often where nodes wait for each other, until this node leaves or is lost.
pub(crate) async fn share(engine: Weak<Inner>, nodes: Arc<Nodes>) {
    let (mut session, mut told, mut failing) = (nodes.session(), String::new(), false);
    // At the start it has been counted.
    let mut counted = Instant::now();
    while let Some(engine) = engine.upgrade() {
        let mut shared = engine.share_accounts(&mut session, &mut told).await;
        if shared.is_ok() && counted.elapsed() >= RECOUNT {
            shared = session.execute(FORGET, &[]).await.map(drop).map_err(Error::from);
            shared = shared.and(engine.recount(nodes.node).await);
            counted = Instant::now();
        }
        // Seconds between the end of a run and the begin of the next are long where runs are short.
        let pause = if engine.dispatcher.is_contended() { LOOK } else { BEAT };
        drop(engine);
        if let Err(error) = &shared
            && !failing
        {
            tracing::warn!(%error, "what users and processes have at other nodes is not known at present");
        }
        failing = shared.is_err();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = nodes.left.cancelled() => return,
            () = nodes.lost.cancelled() => return,
        }
    }
}

impl Inner {
    async fn share_accounts(self: &Arc<Self>, session: &mut Session, told: &mut String) -> Result<(), Error> {
        let held = to_json(&worth_telling(self.dispatcher.held(clock::now())))?;
        if held != *told {
            session.execute(TELL, &[session.node().into(), held.as_str().into()]).await?;
            *told = held;
        }
        let read = |row: Row<'_>| from_json::<HeldByEach>(0, row.text(0)?);
        let told = session.query(OTHERS, &[session.node().into()], read).await?;
        self.dispatcher.set_elsewhere(told.into_iter().flatten().collect());
        self.pump();
        Ok(())
    }

    /// Counts what all nodes keep, of which this is one: any of them removes what any has accepted.
    pub(crate) async fn recount(&self, node: i64) -> Result<(), Error> {
        let stored = self.store.readers.stored_by_all(node).await?;
        // An end that is written in this moment is right the next time. One that is shown is among what is stored.
        let living = self.board.living();
        let living = living.iter().filter(|live| !live.view().job.is_finished());
        let living = living.map(|live| (live.owner.clone(), live.process().clone(), live.stored_bytes()));
        self.dispatcher.recount(stored.into_iter().chain(living));
        Ok(())
    }
}

/// In an order that changes only with what is told.
fn worth_telling(mut held: HeldByEach) -> HeldByEach {
    if held.len() > TOLD_MAX {
        held.sort_unstable_by_key(|(_, held)| {
            std::cmp::Reverse((held.running + held.waiting > 0, held.hourly))
        });
        held.truncate(TOLD_MAX);
    }
    held.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    held
}

#[cfg(test)]
mod tests {
    use super::*;
    use anabranch_model::UserName;

    #[test]
    fn of_too_many_those_are_told_of_who_have_jobs_now() {
        let of = |n: usize| UsageOf::User(Some(UserName::new(n.to_string()).unwrap()));
        let idle = |n: usize| (of(n), Held { hourly: n as u64, ..Held::default() });
        let busy = (of(TOLD_MAX + 1), Held { running: 1, ..Held::default() });
        let told = worth_telling((0..=TOLD_MAX).map(idle).chain([busy.clone()]).collect());
        assert_eq!(told.len(), TOLD_MAX);
        assert!(told.contains(&busy) && told.contains(&idle(TOLD_MAX)) && !told.contains(&idle(1)));
        assert_eq!(serde_json::from_str::<HeldByEach>(&to_json(&told).unwrap()).unwrap(), told);
    }
}
