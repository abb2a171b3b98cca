//! SIGHUP: the configuration file is read again. What can change while the server runs is put in force; what can't is named in the
//! log. A file with a fault changes nothing.

use crate::config::Config;
use crate::log::Log;
use crate::serve::quotas;
use anabranch_egress::{Egress, Rule};
use anabranch_engine::Engine;
use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};
use toml::{Table, Value};

/// Keys that are put in force, with all below them. The rest is what sockets, stores and agents were set up with.
const LIVE: [&str; 5] = ["egress", "limits.each_user", "log.level", "processes", "roles"];

/// What a running server can be told.
pub(crate) struct Reload {
    /// The file, if there is one.
    pub(crate) file: Option<PathBuf>,
    /// All keys as they are in force.
    pub(crate) keys: Table,
    pub(crate) log: Log,
    pub(crate) egress: Egress,
    /// Rules of the command line, which hold beside those of the file.
    pub(crate) allow: Vec<Rule>,
    pub(crate) engine: Engine,
}

impl Reload {
    /// Reads the file again at each SIGHUP, as long as the runtime lives.
    ///
    /// # Errors
    /// Where the system gives no signal handler.
    pub(crate) fn at_signals(mut self) -> anyhow::Result<()> {
        let mut signals = signal(SignalKind::hangup())?;
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                if let Err(error) = self.reload() {
                    tracing::error!("the configuration stays as it is: {error:#}");
                }
            }
        });
        Ok(())
    }

    fn reload(&mut self) -> anyhow::Result<()> {
        let file = self.file.as_deref();
        let (mut config, keys) = (Config::load(file)?, Config::keys(file)?);
        let (live, later): (Vec<_>, Vec<_>) =
            changes(&self.keys, &keys).into_iter().partition(|key| is_live(key));
        self.log.set_level(&config.log)?;
        if live.iter().any(|key| key.starts_with("egress")) {
            config.egress.allow.extend(self.allow.iter().cloned());
            self.egress.replace_policy(std::mem::take(&mut config.egress));
        }
        self.engine.replace_quotas(quotas(&config));
        tracing::info!(changed = live.join(", "), "the configuration was read again");
        if !later.is_empty() {
            tracing::warn!(keys = later.join(", "), "changed in the file, and in force after a restart only");
        }
        // What waits for a restart is named again next time.
        for key in LIVE {
            replace(&mut self.keys, &keys, key);
        }
        Ok(())
    }
}

fn is_live(key: &str) -> bool {
    LIVE.iter()
        .any(|live| key.strip_prefix(live).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// Takes one key over, given with dots.
fn replace(old: &mut Table, new: &Table, key: &str) {
    match key.split_once('.') {
        Some((table, rest)) => {
            if let (Some(Value::Table(old)), Some(Value::Table(new))) = (old.get_mut(table), new.get(table)) {
                replace(old, new, rest);
            }
        }
        None => match new.get(key) {
            Some(value) => drop(old.insert(key.to_owned(), value.clone())),
            None => drop(old.remove(key)),
        },
    }
}

/// Keys whose values differ, with dots, in order.
fn changes(old: &Table, new: &Table) -> Vec<String> {
    let mut changed = Vec::new();
    let mut keys: Vec<&String> = old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))).collect();
    keys.sort();
    for key in keys {
        match (old.get(key), new.get(key)) {
            (old, new) if old == new => {}
            (Some(Value::Table(old)), Some(Value::Table(new))) => {
                changed.extend(changes(old, new).into_iter().map(|below| format!("{key}.{below}")));
            }
            _ => changed.push(key.clone()),
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_named_and_the_live_ones_taken_over() {
        let mut old: Table =
            toml::from_str("[log]\nlevel = 'info'\nformat = 'text'\n[egress]\nallow = []\n[http]\na = 1")
                .unwrap();
        let new: Table = toml::from_str(
            "[log]\nlevel = 'debug'\nformat = 'json'\n[egress]\nallow = ['10.0.0.1']\n[upload]\nb = 1",
        )
        .unwrap();
        let changed = changes(&old, &new);
        assert_eq!(changed, ["egress.allow", "http", "log.format", "log.level", "upload"]);
        let live: Vec<_> = changed.iter().filter(|key| is_live(key)).collect();
        assert_eq!(live, ["egress.allow", "log.level"]);
        assert!(!is_live("log.levels") && !is_live("egressing"));
        for key in LIVE {
            replace(&mut old, &new, key);
        }
        assert_eq!(changes(&old, &new), ["http", "log.format", "upload"]);
    }
}
