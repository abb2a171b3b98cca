//! `[store]`: which database has the jobs, and which node of several this server is.

use crate::xmpp_session::{read_secret, trust};
use anabranch_engine::{PostgresAccess, PostgresStore};
use anyhow::{Context as _, ensure};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Gives the password where the configuration names no file.
const PASSWORD_VARIABLE: &str = "ANABRANCH_STORE_PASSWORD";

/// Longest name of a node, in characters: it is part of a nickname.
const NODE_CHARS_MAX: usize = 40;

/// Where the jobs are written down.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Store {
    postgres: String,
    password_file: PathBuf,
    certificate: String,
    folder: PathBuf,
    pub(crate) node: String,
}

impl Store {
    /// Checks what can be checked without the database.
    ///
    /// # Errors
    /// Names the key, the rule and the value.
    pub(crate) fn check(&self, public_url: &str) -> anyhow::Result<()> {
        let is_in_names = |c: char| c.is_ascii_alphanumeric() || c == '-';
        ensure!(
            self.node.len() <= NODE_CHARS_MAX && self.node.chars().all(is_in_names),
            "store.node must be at most {NODE_CHARS_MAX} letters, digits and -, not {:?}",
            self.node
        );
        if self.postgres.is_empty() {
            let others = [("folder", self.folder.as_os_str().is_empty()), ("node", self.node.is_empty())];
            for (key, is_empty) in others {
                ensure!(is_empty, "store.{key} is for jobs in PostgreSQL, and store.postgres is empty");
            }
            return Ok(());
        }
        ensure!(
            self.node.is_empty() || !self.folder.as_os_str().is_empty(),
            "store.node needs store.folder: nodes have the files of jobs in common"
        );
        ensure!(
            self.node.is_empty() || !public_url.is_empty(),
            "store.node needs http.public_url: the address by which clients and agents reach whichever node is there"
        );
        Ok(())
    }

    /// Files are named relative to the configuration.
    pub(crate) fn relative_to(&mut self, folder: &Path) {
        for path in [&mut self.password_file, &mut self.folder] {
            if !path.as_os_str().is_empty() {
                *path = folder.join(&path);
            }
        }
    }

    /// The folder of what belongs to jobs: that of all nodes, else the data folder.
    pub(crate) fn folder<'a>(&'a self, data: &'a Path) -> &'a Path {
        if self.folder.as_os_str().is_empty() { data } else { &self.folder }
    }

    /// The database, where it is not the file in the data folder.
    ///
    /// # Errors
    /// Where the address, the password's file or the certificate can't be used.
    pub(crate) fn postgres(&self) -> anyhow::Result<Option<PostgresStore>> {
        if self.postgres.is_empty() {
            return Ok(None);
        }
        let password = match self.password_file.as_os_str().is_empty() {
            true => std::env::var(PASSWORD_VARIABLE).ok(),
            false => Some(read_secret(&self.password_file)?),
        };
        let tls = match self.certificate.as_str() {
            "" => None,
            certificate => Some(trust(certificate)?.client_config()?),
        };
        let access = PostgresAccess::new(&self.postgres, password.as_deref(), tls);
        let access = access.context("store.postgres")?;
        let node = if self.node.is_empty() { "only".to_owned() } else { self.node.clone() };
        ensure!(
            self.folder.as_os_str().is_empty() || !self.node.is_empty(),
            "store.folder is for several nodes, and this one has no name: store.node, --node or ANABRANCH_NODE"
        );
        let folder = Some(self.folder.clone()).filter(|folder| !folder.as_os_str().is_empty());
        Ok(Some(PostgresStore { access, node, folder }))
    }
}
