//! The three dialects of service files, told apart by their content.

use crate::folder::OWN_FOLDER_FILE;
use crate::ini::{self, Ini, Keys};
use crate::report::{Findings, Report};
use crate::{manual, native, wps_remote};
use std::path::Path;
use std::sync::Arc;

/// How a service file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// TOML: `reference-service.toml`.
    Native,
    /// WPS Remote's `service.config`.
    WpsRemote,
    /// The older form in WPS Remote's manual.
    Manual,
    /// No service file, but the configuration of an agent of WPS Remote, `remote.config`.
    AgentConfiguration,
}

impl Dialect {
    /// `*.toml` is native; all else shows in its sections, and where it doesn't it is native too.
    #[must_use]
    pub fn of(path: &Path, text: &str) -> Self {
        if path.extension().is_some_and(|extension| extension == "toml") {
            return Self::Native;
        }
        let ini: Ini = ini::parse(&mut Findings::default(), text, Keys::CaseSensitive);
        if manual::is_dialect(&ini) {
            Self::Manual
        } else if wps_remote::is_dialect(&ini) {
            Self::WpsRemote
        } else if wps_remote::is_agent_configuration(&ini) {
            Self::AgentConfiguration
        } else if path.file_name().is_some_and(|name| name == OWN_FOLDER_FILE) {
            // Nothing in it is as it should be: then the name tells what is missed.
            Self::WpsRemote
        } else {
            Self::Native
        }
    }
}

/// Reads a service file and reports every fault at once. `path` is where it lies: relative paths in it start at its folder.
#[must_use]
pub fn check(path: &Path, text: &str) -> Report {
    let mut findings = Findings::default();
    let absolute = std::path::absolute(path).unwrap_or_else(|_no_working_folder| path.to_owned());
    let folder = absolute.parent().unwrap_or(&absolute);
    let dialect = Dialect::of(path, text);
    let service = match dialect {
        Dialect::Native => native::read(&mut findings, text, folder),
        Dialect::WpsRemote => wps_remote::read(&mut findings, text, folder),
        Dialect::Manual => manual::read(&mut findings, text, folder),
        Dialect::AgentConfiguration => {
            findings.fault(&(0..0), "is the configuration of an agent, not a service file");
            None
        }
    };
    let service = service.filter(|_| !findings.has_faults()).map(Arc::new);
    let (faults, warnings) = findings.locate(path, text);
    Report { path: path.to_owned(), faults, warnings, service, dialect }
}
