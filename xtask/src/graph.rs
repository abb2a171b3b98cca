//! The dependency graph of the workspace, from one `cargo metadata` call.

use std::collections::{BTreeSet, HashMap, VecDeque};

use anyhow::{Context, Result};
use serde_json::Value;

/// Packages by name, with the names of what their normal dependencies are.
///
/// Two versions of one package are one node: a rule names a package, not a version. Development and build dependencies are
/// left out, since nothing of them is in the library. Features are those of the whole workspace together and of all
/// platforms, so that the graph holds more edges than any single build, never fewer.
#[derive(Default)]
pub(crate) struct Graph {
    edges: HashMap<String, BTreeSet<String>>,
    members: BTreeSet<String>,
}

impl Graph {
    pub(crate) fn parse(metadata: &[u8]) -> Result<Self> {
        let metadata: Value = serde_json::from_slice(metadata).context("cargo metadata is not JSON")?;
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();

        let names: HashMap<String, String> = list(&metadata["packages"])
            .iter()
            .map(|package| (text(&package["id"]), text(&package["name"])))
            .collect();
        let name = |id: &Value| {
            names.get(&text(id)).cloned().with_context(|| format!("cargo metadata names no package {id}"))
        };

        let mut graph = Self::default();
        for member in list(&metadata["workspace_members"]) {
            graph.members.insert(name(&member)?);
        }
        for node in list(&metadata["resolve"]["nodes"]) {
            let from = name(&node["id"])?;
            for dependency in list(&node["deps"]) {
                // A missing kind is cargo's way to say "normal".
                if list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null()) {
                    graph.insert(&from, &name(&dependency["pkg"])?);
                }
            }
        }
        Ok(graph)
    }

    pub(crate) fn insert(&mut self, from: &str, to: &str) {
        self.edges.entry(from.to_owned()).or_default().insert(to.to_owned());
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(String::as_str)
    }

    #[cfg(test)]
    pub(crate) fn insert_member(&mut self, name: &str) {
        self.members.insert(name.to_owned());
    }

    pub(crate) fn uses_directly(&self, from: &str, to: &str) -> bool {
        self.edges.get(from).is_some_and(|to_all| to_all.contains(to))
    }

    /// The shortest way from one package to another, both included.
    pub(crate) fn path(&self, from: &str, to: &str) -> Option<Vec<&str>> {
        let (from, _) = self.edges.get_key_value(from)?;
        let mut came_from: HashMap<&str, &str> = HashMap::new();
        let mut queue = VecDeque::from([from.as_str()]);
        while let Some(current) = queue.pop_front() {
            for next in self.edges.get(current).into_iter().flatten() {
                if next == from || came_from.contains_key(next.as_str()) {
                    continue;
                }
                came_from.insert(next, current);
                if next == to {
                    let mut path = vec![next.as_str()];
                    while let Some(previous) = path.last().and_then(|last| came_from.get(last)) {
                        path.push(previous);
                    }
                    path.reverse();
                    return Some(path);
                }
                queue.push_back(next);
            }
        }
        None
    }
}
