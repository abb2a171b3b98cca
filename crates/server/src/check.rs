//! `anabranch check`: every fault of service and configuration files.

use crate::agent_config;
use crate::config::Config;
use crate::remote_config;
use crate::terminal::line;
use anabranch_command::{Dialect, Located};
use anyhow::Context as _;
use std::path::{Path, PathBuf};

/// Checks files; true where all are good. Which sort a file is shows in its keys.
///
/// # Errors
/// Where a file can't be read.
pub(crate) fn check(files: &[PathBuf]) -> anyhow::Result<bool> {
    let mut good = true;
    for file in files {
        good &= check_file(file)?;
    }
    Ok(good)
}

fn check_file(file: &Path) -> anyhow::Result<bool> {
    let text = std::fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
    let fault = match sort_of(file, &text) {
        Sort::RemoteConfig => {
            let read = remote_config::read(file, &text);
            for fault in &read.faults {
                line(fault);
            }
            for Located { path, line: number, column, text } in &read.warnings {
                line(format_args!("{}:{number}:{column}: warning: {text}", path.display()));
            }
            if read.config.is_some() {
                line(format_args!("{}: good, an agent's configuration", file.display()));
            }
            return Ok(read.config.is_some());
        }
        Sort::Service => {
            let report = anabranch_command::check(file, &text);
            let findings = report.to_string();
            if !findings.is_empty() {
                line(findings.trim_end());
            }
            if let Some(service) = &report.service {
                let verb = if service.active { "publishes" } else { "is not active and would publish" };
                line(format_args!("{}: good, {verb} {}", file.display(), service.description.id));
            }
            return Ok(report.service.is_some());
        }
        Sort::Agent => agent_config::parse(&text).err(),
        Sort::Server => Config::parse(&text).err(),
    };
    match fault {
        None => line(format_args!("{}: good", file.display())),
        Some(ref error) => line(format_args!("{}: {error:#}", file.display())),
    }
    Ok(fault.is_none())
}

enum Sort {
    Service,
    Agent,
    Server,
    RemoteConfig,
}

/// A file that is no TOML at all counts as a service file, whose checker shows where it breaks.
fn sort_of(file: &Path, text: &str) -> Sort {
    match Dialect::of(file, text) {
        Dialect::AgentConfiguration => return Sort::RemoteConfig,
        Dialect::WpsRemote | Dialect::Manual => return Sort::Service,
        Dialect::Native => {}
    }
    let Ok(table) = toml::from_str::<toml::Table>(text) else { return Sort::Service };
    let has = |keys: &[&str]| keys.iter().any(|key| table.contains_key(*key));
    if has(&["identifier", "command", "inputs", "outputs"]) {
        Sort::Service
    } else if has(&["account", "rooms", "orchestrator", "labels", "load"]) {
        Sort::Agent
    } else if has(&[
        "http",
        "login",
        "audit",
        "xmpp",
        "limits",
        "callbacks",
        "egress",
        "balance",
        "service",
        "services",
        "geoserver",
    ]) {
        Sort::Server
    } else if has(&["upload"]) {
        // Of either.
        Sort::Agent
    } else {
        Sort::Service
    }
}
