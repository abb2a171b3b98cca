//! PostgreSQL: a job store for one server or several.
//!
//! A transaction is sent in one go: a batch of a thousand statements takes two round trips. It begins by touching the row of this
//! node ([`TOUCH`]), which does three things: a node that is dead to the others writes nothing any more; who declares it dead
//! waits for the transaction under way; and after a lost connection the row tells whether the last transaction was committed.

pub(crate) mod schema;
pub(crate) mod session;

use super::sql::{Param, Row, Statement, StoreError};
use crate::engine::OpenError;
use crate::nodes::Nodes;
use bytes::BytesMut;
use futures_util::future::{try_join_all, try_join3};
use session::{Connected, Session};
use std::error::Error as StdError;
use std::sync::Arc;
use tokio::runtime::Runtime;
use tokio_postgres::Error;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

/// Changes no row where this node is dead to the others.
const TOUCH: &str = "UPDATE nodes SET batch=?2 WHERE node=?1 AND dead=0";

/// What the row of this node says of its last transaction.
const LAST: &str = "SELECT batch, dead FROM nodes WHERE node=?1";

impl ToSql for Param<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(int) => int.to_sql(ty, out),
            Self::Text(text) => text.to_sql(ty, out),
            Self::Bytes(bytes) => bytes.to_sql(ty, out),
        }
    }

    /// The tables have nothing else; what does not fit its column is a fault that the database finds.
    fn accepts(ty: &Type) -> bool {
        [Type::INT8, Type::TEXT, Type::BYTEA].contains(ty)
    }

    to_sql_checked!();
}

/// The connection that writes.
pub(super) struct Postgres {
    nodes: Arc<Nodes>,
    session: Session,
    /// Of its own, so that nothing else can hold it up, and that it outlives what waits for the last transaction.
    runtime: Runtime,
    /// Number of the last transaction.
    batch: i64,
    /// What a transaction has changed of which it is not known whether it was committed.
    unsure: Vec<usize>,
}

impl Postgres {
    pub(super) fn new(nodes: Arc<Nodes>) -> Result<Self, OpenError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| OpenError::Store(error.to_string()))?;
        Ok(Self { session: nodes.session(), nodes, runtime, batch: 0, unsure: Vec::new() })
    }

    fn lost(&self) -> StoreError {
        self.nodes.lose();
        StoreError::Lost
    }

    /// Writes all of it or nothing; tells how many rows each statement changed.
    ///
    /// # Errors
    /// [`StoreError::Lost`] where this node is dead to the others; [`StoreError::Unsure`], after which [`Postgres::outcome`] is to be
    /// asked.
    pub(super) fn commit(
        &mut self,
        statements: &[Statement<'_>],
        durable: bool,
    ) -> Result<Vec<usize>, StoreError> {
        self.batch += 1;
        let (node, batch) = (self.session.node(), self.batch);
        let mut counts = None;
        let transaction = self.session.talk(async |connected| {
            let written = write(connected, node, batch, statements, durable).await?;
            let Some(written) = written else { return Ok(false) };
            counts = Some(written);
            connected.client.batch_execute("COMMIT").await?;
            Ok(true)
        });
        let committed = self.runtime.block_on(transaction);
        match (committed, counts) {
            (Ok(true), counts) => Ok(counts.unwrap_or_default()),
            (Ok(false), _) => Err(self.lost()),
            (Err(error), Some(counts)) if error.is_cut() => {
                tracing::warn!(%error, "it is not known yet whether a transaction was committed");
                self.unsure = counts;
                Err(StoreError::Unsure)
            }
            (Err(error), _) => Err(error),
        }
    }

    /// What became of a transaction after [`StoreError::Unsure`]: as [`Postgres::commit`] would have said.
    pub(super) fn outcome(&mut self) -> Result<Vec<usize>, StoreError> {
        let node = self.session.node();
        let read = |row: Row<'_>| Ok((row.int(0)?, row.int(1)? != 0));
        let last = self.runtime.block_on(self.session.query(LAST, &[node.into()], read));
        let (batch, dead) = match last {
            Ok(mut last) => last.pop().ok_or_else(|| self.lost())?,
            Err(error) if error.is_cut() => return Err(StoreError::Unsure),
            Err(error) => return Err(error),
        };
        match (batch == self.batch, dead) {
            (true, _) => Ok(std::mem::take(&mut self.unsure)),
            (false, true) => Err(self.lost()),
            (false, false) => Err(StoreError::NotCommitted),
        }
    }
}

/// All of a transaction but its end; `None` where this node is dead to the others.
async fn write(
    connected: &mut Connected,
    node: i64,
    batch: i64,
    statements: &[Statement<'_>],
    durable: bool,
) -> Result<Option<Vec<usize>>, Error> {
    let touch = connected.prepare(TOUCH).await?;
    let mut prepared = Vec::with_capacity(statements.len());
    for statement in statements {
        prepared.push(connected.prepare(statement.sql).await?);
    }
    let client = &connected.client;
    // Sent in the order in which they are polled first.
    let begin = if durable { "BEGIN" } else { "BEGIN; SET LOCAL synchronous_commit = off" };
    let touched = client.execute_raw(&touch, [Param::Int(node), Param::Int(batch)]);
    let written = statements.iter().zip(&prepared);
    let written = written.map(|(statement, as_)| client.execute_raw(as_, statement.params.iter()));
    match try_join3(client.batch_execute(begin), touched, try_join_all(written)).await {
        Ok(((), 1, counts)) => {
            let count = |count| usize::try_from(count).unwrap_or(usize::MAX);
            Ok(Some(counts.into_iter().map(count).collect()))
        }
        Ok(_untouched) => client.batch_execute("ROLLBACK").await.map(|()| None),
        Err(error) => {
            // Where the connection has gone, so has the transaction.
            let _ = client.batch_execute("ROLLBACK").await;
            Err(error)
        }
    }
}
