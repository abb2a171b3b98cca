//! What a node does for others all the time: claims the jobs of dead ones, dismisses what they are asked to dismiss, and looks at
//! jobs of others that clients follow here.

use super::{LOOK, Nodes, claim::claim};
use crate::engine::{Inner, Recovered};
use crate::store::postgres::session::Session;
use crate::store::sql::{Row, StoreError};
use anabranch_model::{DismissedBy, Error};
use std::sync::{Arc, Weak};

const DISMISSALS: &str = "SELECT jobs.sequence, jobs.id, who, (jobs.finished IS NOT NULL)::int::int8
    FROM dismissals JOIN jobs USING (sequence) WHERE jobs.node=?1";
const DISMISSED: &str = "DELETE FROM dismissals WHERE sequence=?1";

/// Does so until this node leaves or is lost.
pub(crate) async fn keep(engine: Weak<Inner>, nodes: Arc<Nodes>) {
    let (mut session, mut failing) = (nodes.session(), false);
    while let Some(engine) = engine.upgrade() {
        let looked = engine.look(&nodes, &mut session).await;
        drop(engine);
        if let Err(error) = &looked
            && !failing
        {
            tracing::warn!(%error, "other nodes can't be looked after at present");
        }
        failing = looked.is_err();
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = nodes.left.cancelled() => return,
            () = nodes.lost.cancelled() => return,
        }
    }
}

impl Inner {
    async fn look(self: &Arc<Self>, nodes: &Nodes, session: &mut Session) -> Result<(), Error> {
        if !nodes.leaving.is_cancelled() {
            self.take_over(nodes, session).await?;
        }
        self.dismiss_as_asked(session).await?;
        for id in nodes.elsewhere.ids() {
            nodes.elsewhere.show(id, self.store.readers.job(id).await?.map(|stored| stored.view));
        }
        Ok(())
    }

    /// Claims all jobs of dead nodes that no other node is claiming, and brings them to a true state.
    pub(crate) async fn take_over(
        self: &Arc<Self>,
        nodes: &Nodes,
        session: &mut Session,
    ) -> Result<Recovered, Error> {
        let mut recovered = Recovered::default();
        let mut claimed = nodes.claimed.lock().await;
        loop {
            // What could not be read the last time comes first.
            while let Some(sequence) = claimed.last() {
                let sequence = *sequence;
                let id = self.take_up(sequence, &mut recovered).await?;
                // From now on it is in memory, and must not be taken up again.
                claimed.pop();
                if let Some(id) = id
                    && let Err(error) = self.take_up_callbacks(id, sequence).await
                {
                    tracing::error!(job = %id, %error, "callbacks of a dead node's job are not made before the next start");
                }
            }
            *claimed = claim(session).await?;
            claimed.reverse();
            if claimed.is_empty() {
                break;
            }
        }
        if recovered != Recovered::default() {
            tracing::info!(?recovered, "jobs of dead nodes were taken over");
            self.pump();
        }
        Ok(recovered)
    }

    /// Jobs of this node that clients of other nodes want dismissed.
    async fn dismiss_as_asked(self: &Arc<Self>, session: &mut Session) -> Result<(), Error> {
        let read = |row: Row<'_>| Ok((row.int(0)?, row.id(1)?, row.int(2)?, row.int(3)? != 0));
        for (sequence, id, who, finished) in session.query(DISMISSALS, &[session.node().into()], read).await?
        {
            match self.board.find(id) {
                Some(live) => drop(self.dismiss_live(&live, dismissed_by(who)?)),
                None if finished => {}
                // It is being taken over at this moment.
                None => continue,
            }
            session.execute(DISMISSED, &[sequence.into()]).await?;
        }
        Ok(())
    }
}

pub(super) fn dismissed_by_code(by: DismissedBy) -> i64 {
    match by {
        DismissedBy::Client => 0,
        DismissedBy::Operator => 1,
        DismissedBy::Disconnect => 2,
    }
}

fn dismissed_by(int: i64) -> Result<DismissedBy, StoreError> {
    let all = [DismissedBy::Client, DismissedBy::Operator, DismissedBy::Disconnect];
    let by = all.into_iter().find(|by| dismissed_by_code(*by) == int);
    by.ok_or(StoreError::Unknown { column: 2, int })
}
