//! Signs of life: given, and looked for.

use super::{BEAT, DEAD_AFTER, Nodes};
use crate::store::postgres::session::Session;
use crate::store::sql::{Row, StoreError};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest time between two signs of our own after which those of others mean something. After a longer one the database, the
/// network or this machine has stood still, and others may have done no worse.
const GAP: Duration = Duration::from_secs(3);

const SIGN: &str = "UPDATE nodes SET beat=beat+1 WHERE node=?1 AND dead=0";
const OTHERS: &str = "SELECT node, beat, batch FROM nodes WHERE node<>?1 AND dead=0";
/// Only where it has given no sign since.
const DECLARE_DEAD: &str = "UPDATE nodes SET dead=1 WHERE node=?1 AND beat=?2 AND batch=?3 AND dead=0";

/// What changes as long as a node lives.
type Sign = (i64, i64);

/// Gives signs of life until this node leaves or is lost, and declares others dead.
pub(crate) async fn beat(nodes: Arc<Nodes>) {
    let mut session = Session::new(Arc::clone(&nodes.access), nodes.node);
    let mut others = Others::default();
    loop {
        match session.execute(SIGN, &[nodes.node.into()]).await {
            Ok(0) if nodes.left.is_cancelled() => return,
            Ok(0) => return nodes.lose(),
            Ok(_) => {
                if let Err(error) = others.look(&mut session, Instant::now()).await {
                    tracing::warn!(%error, "the other nodes can't be looked at");
                    others.seen.clear();
                }
            }
            Err(error) => {
                tracing::warn!(%error, "no sign of life could be given");
                others.seen.clear();
            }
        }
        tokio::select! {
            () = tokio::time::sleep(BEAT) => {}
            () = nodes.left.cancelled() => return,
        }
    }
}

/// The other nodes: their last signs, and since when.
#[derive(Default)]
struct Others {
    seen: HashMap<i64, (Sign, Instant)>,
    looked: Option<Instant>,
}

impl Others {
    async fn look(&mut self, session: &mut Session, now: Instant) -> Result<(), StoreError> {
        let read = |row: Row<'_>| Ok((row.int(0)?, (row.int(1)?, row.int(2)?)));
        let signs = session.query(OTHERS, &[session.node().into()], read).await?;
        for (node, (beat, batch)) in self.silent(&signs, now) {
            if session.execute(DECLARE_DEAD, &[node.into(), beat.into(), batch.into()]).await? > 0 {
                tracing::warn!(node, "a node has given no sign of life and is dead; its jobs are taken over");
            }
        }
        Ok(())
    }

    /// Those that have given no sign for too long.
    fn silent(&mut self, signs: &[(i64, Sign)], now: Instant) -> Vec<(i64, Sign)> {
        if self.looked.is_some_and(|at| now.saturating_duration_since(at) > GAP) {
            self.seen.clear();
        }
        self.looked = Some(now);
        self.seen.retain(|node, _| signs.iter().any(|(other, _)| other == node));
        let mut silent = Vec::new();
        for (node, sign) in signs {
            let (last, since) = self.seen.entry(*node).or_insert((*sign, now));
            if last != sign {
                (*last, *since) = (*sign, now);
            } else if now.saturating_duration_since(*since) >= DEAD_AFTER {
                silent.push((*node, *sign));
            }
        }
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gives_no_sign_is_silent_and_who_looks_rarely_does_not_know() {
        let (mut others, start) = (Others::default(), Instant::now());
        let at = |ms: u64| start + Duration::from_millis(ms);
        for n in 0..8 {
            let now = at(n * 1000);
            let batch = i64::try_from(n).unwrap();
            assert_eq!(others.silent(&[(1, (5, 5)), (2, (5, batch))], now), [], "{n}");
        }
        assert_eq!(others.silent(&[(1, (5, 5)), (2, (5, 9))], at(8000)), [(1, (5, 5))]);
        // This node stood still itself.
        assert_eq!(others.silent(&[(1, (5, 5)), (2, (5, 9))], at(20_000)), []);
        for second in [22, 24, 26] {
            assert_eq!(others.silent(&[(1, (5, 5))], at(second * 1000)), []);
        }
        assert_eq!(others.silent(&[(1, (5, 5))], at(28_000)), [(1, (5, 5))]);
    }
}
