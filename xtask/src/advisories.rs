//! Locked versions against the advisories that `advisories.toml` holds.

use anyhow::{Context as _, Result};
use semver::{Version, VersionReq};
use serde::Deserialize;

/// The list, as in `advisories.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct List {
    /// The day on which RustSec's list was looked through last.
    pub(crate) checked: String,
    /// The newest advisory that was there.
    pub(crate) newest: String,
    advisory: Vec<Advisory>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advisory {
    id: String,
    #[serde(rename = "crate")]
    name: String,
    patched: Vec<VersionReq>,
    unaffected: Vec<VersionReq>,
    why: String,
    accepted: Option<String>,
}

/// What of a lock file counts.
#[derive(Deserialize)]
pub(crate) struct Lock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: Version,
}

impl Advisory {
    fn affects(&self, version: &Version) -> bool {
        // A build's name is no part of the order; `matches` ignores it.
        !self.patched.iter().chain(&self.unaffected).any(|range| range.matches(version))
    }
}

impl List {
    /// Reads the list.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).context("advisories.toml")
    }

    pub(crate) fn len(&self) -> usize {
        self.advisory.len()
    }

    /// A line for each locked version that an advisory concerns, and for each entry that is of no use.
    pub(crate) fn broken(&self, locks: &[Lock]) -> Vec<String> {
        self.advisory.iter().flat_map(|advisory| broken(advisory, locks)).collect()
    }
}

fn broken(advisory: &Advisory, locks: &[Lock]) -> Vec<String> {
    let Advisory { id, name, why, accepted, .. } = advisory;
    let packages = || locks.iter().flat_map(|lock| &lock.package).filter(|package| package.name == *name);
    let mut affected: Vec<_> =
        packages().map(|package| &package.version).filter(|version| advisory.affects(version)).collect();
    affected.sort();
    affected.dedup();
    match (affected.is_empty(), accepted) {
        _ if packages().next().is_none() => vec![format!("{id}: {name} is locked no more; remove the entry")],
        (true, Some(_)) => vec![format!("{id}: nothing is left to accept of {name}; remove `accepted`")],
        (false, None) => affected.iter().map(|version| format!("{id}: {name} {version}: {why}")).collect(),
        (true, None) | (false, Some(_)) => Vec::new(),
    }
}

/// Reads a lock file.
pub(crate) fn lock(text: &str) -> Result<Lock> {
    toml::from_str(text).context("a Cargo.lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(more: &str) -> List {
        let text = "checked = \"2026-11-29\"\nnewest = \"x\"\n[[advisory]]\nid = \"R\"\ncrate = \"a\"\npatched = [\">= 1.2.3, < 2.0.0\"]\n\
                    unaffected = [\"< 1.0.0\"]\nwhy = \"it breaks\"\n";
        List::parse(&format!("{text}{more}")).unwrap()
    }

    fn locked(name: &str, version: &str) -> Lock {
        lock(&format!("version = 4\n[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n")).unwrap()
    }

    #[test]
    fn versions_that_are_neither_patched_nor_unaffected_are_named() {
        for (version, is_affected) in [
            ("0.9.9", false),
            ("1.0.0", true),
            ("1.2.2", true),
            ("1.2.3", false),
            ("1.3.0+x", false),
            ("2.0.0", true),
        ] {
            let broken = list("").broken(&[locked("a", version)]);
            assert_eq!(!broken.is_empty(), is_affected, "{version}: {broken:?}");
        }
        let several =
            [locked("a", "1.0.1"), locked("a", "1.0.1"), locked("a", "1.0.2"), locked("b", "1.0.1")];
        assert_eq!(list("").broken(&several), ["R: a 1.0.1: it breaks", "R: a 1.0.2: it breaks"]);
    }

    #[test]
    fn entries_of_no_use_are_named() {
        assert!(list("").broken(&[locked("b", "1.0.0")])[0].contains("locked no more"));
        let accepted = "accepted = \"nobody gets there\"\n";
        assert!(list(accepted).broken(&[locked("a", "1.0.0")]).is_empty());
        assert!(list(accepted).broken(&[locked("a", "1.2.3")])[0].contains("nothing is left"));
    }
}
