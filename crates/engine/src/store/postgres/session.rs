//! One connection to PostgreSQL, made again when it is lost.

use super::super::sql::{Param, Row, StoreError};
use crate::nodes::PostgresAccess;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, NoTls, Socket, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Longest wait for a connection, and for an answer: a network that swallows packets says nothing by itself.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// What every session says first. A node that stands still within a transaction holds its row, for which waits who takes over its jobs:
/// the database ends such a session.
const SETTINGS: &str = "SET client_min_messages = warning; SET idle_in_transaction_session_timeout = '4s'; SET statement_timeout = '10s'";

/// Prepared statements kept by a connection. Beyond, all are forgotten: those of lists are of many forms.
const STATEMENTS_MAX: usize = 64;

/// A connection, or the means to have one.
pub(crate) struct Session {
    access: Arc<PostgresAccess>,
    /// As which node it writes; 0 for none yet.
    node: i64,
    connected: Option<Connected>,
}

/// A connection that has not failed yet.
pub(crate) struct Connected {
    pub(crate) client: Client,
    statements: HashMap<String, Statement>,
    driver: JoinHandle<()>,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connected {
    async fn open(access: &PostgresAccess, node: i64) -> Result<Self, Error> {
        let connected = match &access.tls {
            Some(tls) => Self::with_tls(access, MakeRustlsConnect::new((**tls).clone())).await?,
            None => Self::with_tls(access, NoTls).await?,
        };
        connected.client.batch_execute(&format!("{SETTINGS}; SET anabranch.node = '{node}'")).await?;
        Ok(connected)
    }

    async fn with_tls<T>(access: &PostgresAccess, tls: T) -> Result<Self, Error>
    where
        T: MakeTlsConnect<Socket>,
        T::Stream: Send + 'static,
        T::TlsConnect: Send,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        let (client, connection) = access.config.connect(tls).await?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to PostgreSQL has ended");
            }
        });
        Ok(Self { client, statements: HashMap::new(), driver })
    }

    /// A statement, prepared once a connection.
    pub(crate) async fn prepare(&mut self, sql: &str) -> Result<Statement, Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        if self.statements.len() >= STATEMENTS_MAX {
            self.statements.clear();
        }
        // Ours have no other question marks.
        let statement = self.client.prepare(&sql.replace('?', "$")).await?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

impl Session {
    pub(crate) fn new(access: Arc<PostgresAccess>, node: i64) -> Self {
        Self { access, node, connected: None }
    }

    pub(crate) fn node(&self) -> i64 {
        self.node
    }

    /// Says something on one connection, and waits for the answer; the next talk has a new one where this has failed.
    pub(crate) async fn talk<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Connected) -> Result<T, Error>,
    ) -> Result<T, StoreError> {
        let mut connected = match self.connected.take().filter(|connected| !connected.client.is_closed()) {
            Some(connected) => connected,
            None => {
                let opening = Connected::open(&self.access, self.node);
                timeout(ANSWER_WAIT, opening).await.map_err(|_elapsed| StoreError::Silent)??
            }
        };
        let answer = timeout(ANSWER_WAIT, work(&mut connected)).await;
        let answer = answer.map_err(|_elapsed| StoreError::Silent)?;
        if !connected.client.is_closed() {
            self.connected = Some(connected);
        }
        Ok(answer?)
    }

    /// Every row of an answer, read. Where the connection had been lost before, it is tried once more.
    pub(crate) async fn query<T>(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        mut read: impl FnMut(Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let idle = self.connected.is_some();
        let mut rows = self.rows(sql, params).await;
        if idle && rows.as_ref().is_err_and(StoreError::is_cut) {
            rows = self.rows(sql, params).await;
        }
        rows?.iter().map(|row| read(Row::Postgres(row))).collect()
    }

    async fn rows(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<tokio_postgres::Row>, StoreError> {
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|param| param as _).collect();
        self.talk(async |connected| {
            let statement = connected.prepare(sql).await?;
            connected.client.query(&statement, &params).await
        })
        .await
    }

    /// Executes one statement as a transaction of its own; tells how many rows it changed.
    pub(crate) async fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, StoreError> {
        self.talk(async |connected| {
            let statement = connected.prepare(sql).await?;
            connected.client.execute_raw(&statement, params.iter()).await
        })
        .await
    }
}
