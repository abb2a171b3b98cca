//! Several servers with one job store: nodes.
//!
//! Each job has one owner, the node whose number is in its row. A number is given for one start of one server and never again, so
//! that a node can't be mistaken for what it was before. Clocks of machines don't matter: a node is dead when another one has
//! seen no sign of life of it for [`DEAD_AFTER`] by its own monotonic clock, while it could reach the database itself. Who says
//! so writes it into the row that each transaction of the dead node would have to touch: from then on it writes nothing, and its
//! jobs may be claimed. A node that finds itself dead ends ([`crate::Engine::lost`]).

mod accounts;
mod claim;
mod elsewhere;
pub(crate) mod heartbeat;
mod keep;

use crate::engine::OpenError;
use crate::store::postgres::schema::migrate;
use crate::store::postgres::session::Session;
use crate::store::sql::{Row, StoreError};
use anabranch_model::{DismissedBy, Error};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use tokio_util::sync::CancellationToken;

pub(crate) use accounts::share;
pub(crate) use elsewhere::Elsewhere;
pub(crate) use keep::keep;

/// Time between two signs of life.
const BEAT: Duration = Duration::from_secs(1);

/// How long a node may give no sign of life: its jobs are to go on within 15 s, and a machine may be busy for some seconds.
const DEAD_AFTER: Duration = Duration::from_secs(8);

/// Time between two looks at what other nodes do and want: jobs that clients follow here, and dismissals of jobs that run here.
const LOOK: Duration = Duration::from_millis(250);

/// How PostgreSQL is reached.
#[derive(Clone, Debug)]
pub struct PostgresAccess {
    pub(crate) config: Config,
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
}

/// Why a database can't be reached as it is said to be.
#[derive(Debug, thiserror::Error)]
pub enum InvalidAccess {
    /// The text.
    #[error("the address of the database is none that PostgreSQL understands: {0}")]
    Address(#[from] tokio_postgres::Error),
    /// What it demands.
    #[error("the address of the database demands TLS (sslmode), and no certificate to trust is configured")]
    Tls,
}

impl PostgresAccess {
    /// `address` as `libpq` takes it: `postgres://user@host/database`, or `host=... user=... dbname=...`. With `tls` nothing is said
    /// without it.
    ///
    /// # Errors
    /// [`InvalidAccess`].
    pub fn new(
        address: &str,
        password: Option<&str>,
        tls: Option<Arc<rustls::ClientConfig>>,
    ) -> Result<Self, InvalidAccess> {
        let mut config: Config = address.parse()?;
        if let Some(password) = password {
            config.password(password);
        }
        if tls.is_some() {
            config.ssl_mode(SslMode::Require);
        } else if config.get_ssl_mode() == SslMode::Require {
            return Err(InvalidAccess::Tls);
        }
        Ok(Self { config, tls })
    }
}

/// PostgreSQL as job store, of one node or several.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    /// The database.
    pub access: PostgresAccess,
    /// Name of this node. A second one of the same name ends the first.
    pub node: String,
    /// Folder that all nodes have, for inputs, results and logs of jobs; `None` for a single node, which has its data folder.
    pub folder: Option<PathBuf>,
}

/// This node among the others.
pub(crate) struct Nodes {
    /// Its number.
    pub(crate) node: i64,
    pub(crate) access: Arc<PostgresAccess>,
    /// For what is asked of other nodes.
    session: Mutex<Session>,
    pub(crate) elsewhere: Elsewhere,
    /// Claimed, and not on the board yet; the last one comes next.
    claimed: Mutex<Vec<i64>>,
    /// This node is dead to the others.
    pub(crate) lost: CancellationToken,
    /// No more jobs are claimed.
    pub(crate) leaving: CancellationToken,
    /// No more signs of life are given.
    pub(crate) left: CancellationToken,
}

const ENTER: &str = "INSERT INTO nodes (name) VALUES (?1) RETURNING node";
/// The same server before, or another one that was given the same name: there must not be two.
const REPLACE: &str = "UPDATE nodes SET dead=1 WHERE name=?1 AND node<?2 AND dead=0";
const LIVING: &str = "SELECT node FROM nodes WHERE dead=0";
const LEAVE: &str = "UPDATE nodes SET dead=1 WHERE node=?1";
const ASK_DISMISSAL: &str =
    "INSERT INTO dismissals (sequence, who) VALUES (?1,?2) ON CONFLICT (sequence) DO NOTHING";

impl Nodes {
    /// Makes or migrates the tables, and enters this node.
    pub(crate) async fn enter(store: &PostgresStore) -> Result<Self, OpenError> {
        let access = Arc::new(store.access.clone());
        let mut session = Session::new(Arc::clone(&access), 0);
        migrate(&mut session).await?;
        let read = |row: Row<'_>| row.int(0);
        let entered = session.query(ENTER, &[store.node.as_str().into()], read).await?.pop();
        let node = entered.ok_or(StoreError::Null { column: 0 })?;
        session.execute(REPLACE, &[store.node.as_str().into(), node.into()]).await?;
        tracing::info!(name = store.node, node, "this node is entered");
        let (lost, leaving, left) = Default::default();
        let session = Mutex::new(Session::new(Arc::clone(&access), node));
        let (elsewhere, claimed) = Default::default();
        Ok(Self { node, access, session, elsewhere, claimed, lost, leaving, left })
    }

    /// A session of its own as this node.
    pub(crate) fn session(&self) -> Session {
        Session::new(Arc::clone(&self.access), self.node)
    }

    /// The others have taken this node for dead.
    pub(crate) fn lose(&self) {
        if !self.lost.is_cancelled() {
            tracing::error!(
                node = self.node,
                "the other nodes have taken this one for dead, and have its jobs"
            );
            self.lost.cancel();
        }
    }

    /// Nodes that are not dead.
    pub(crate) async fn living(&self) -> Result<Vec<i64>, Error> {
        Ok(self.session.lock().await.query(LIVING, &[], |row: Row<'_>| row.int(0)).await?)
    }

    /// Asks the owner of a job to dismiss it.
    pub(crate) async fn ask_dismissal(&self, sequence: i64, by: DismissedBy) -> Result<(), Error> {
        let params = [sequence.into(), keep::dismissed_by_code(by).into()];
        self.session.lock().await.execute(ASK_DISMISSAL, &params).await?;
        Ok(())
    }

    /// The last word: others may have the jobs that are left.
    pub(crate) async fn leave(&self) {
        self.left.cancel();
        if let Err(error) = self.session.lock().await.execute(LEAVE, &[self.node.into()]).await {
            tracing::warn!(%error, "this node could not say that it leaves; the others will find out");
        }
    }
}
