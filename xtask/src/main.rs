//! `cargo run -p xtask -- rules` checks who may use whom (ARCHITECTURE.md, "Layout"), `-- advisories` the lock files against the known
//! faults of `advisories.toml`.
//!
//! Reviewers forget; this list does not. A crate that is in the workspace and not in the list fails too: a new crate needs
//! a sentence of its own.

mod advisories;
mod graph;
mod rules;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};

fn main() -> ExitCode {
    let argument = std::env::args().nth(1);
    let result = match argument.as_deref() {
        Some("rules") => check(),
        Some("advisories") => check_advisories(),
        _ => Err(anyhow::anyhow!("usage: cargo run -p xtask -- rules | advisories")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn check() -> Result<()> {
    let graph = graph::Graph::parse(&metadata()?)?;
    let broken = rules::broken(&graph);
    for line in &broken {
        eprintln!("{line}");
    }
    match broken.len() {
        0 => Ok(()),
        n => bail!("{n} broken dependency rule(s)"),
    }
}

#[expect(clippy::print_stdout, reason = "a developer's tool: what it says is its result")]
fn check_advisories() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |name: &str| fs::read_to_string(root.join(name)).with_context(|| name.to_owned());
    let list = advisories::List::parse(&read("advisories.toml")?)?;
    let locks = [advisories::lock(&read("Cargo.lock")?)?, advisories::lock(&read("fuzz/Cargo.lock")?)?];
    let broken = list.broken(&locks);
    for line in &broken {
        eprintln!("{line}");
    }
    ensure!(broken.is_empty(), "{} fault(s) by advisories.toml", broken.len());
    println!(
        "advisories: {} of RustSec's hold for no locked version (list of {}, up to {})",
        list.len(),
        list.checked,
        list.newest
    );
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a developer's tool that starts cargo, not a server that starts what a client names"
)]
fn metadata() -> Result<Vec<u8>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = std::process::Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked"])
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    ensure!(output.status.success(), "cargo metadata failed");
    Ok(output.stdout)
}
