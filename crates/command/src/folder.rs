//! Every service file of a folder.

use crate::native::check;
use crate::report::{Findings, Report};
use crate::service::Service;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Largest service file, in bytes: people write them by hand.
pub const SERVICE_FILE_BYTES_MAX: u64 = 1 << 20;

/// A file of a services folder, and what it gave.
pub type Loaded = (PathBuf, Result<Arc<Service>, Report>);

/// Reads every `*.toml` of a folder, in the order of their names. A bad file takes nothing away from the others.
/// Two files with the same identifier: the second one is at fault.
///
/// # Errors
/// Where the folder can't be listed.
pub fn load_folder(folder: &Path) -> io::Result<Vec<Loaded>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.extension().is_some_and(|extension| extension == "toml") && !hidden && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    let mut loaded: Vec<Loaded> = Vec::with_capacity(paths.len());
    for path in paths {
        let mut result = load_file(&path);
        if let Ok(service) = &result
            && let Some(first) = owner(&loaded, service)
        {
            let text = format!("identifier '{}' is that of {} too", service.description.id, first.display());
            result = Err(refusal(&path, text));
        }
        loaded.push((path, result));
    }
    Ok(loaded)
}

/// Reads one service file; warnings go to the log.
///
/// # Errors
/// The report with its faults, also where the file can't be read.
pub fn load_file(path: &Path) -> Result<Arc<Service>, Report> {
    let text = read(path).map_err(|error| refusal(path, format!("can't be read: {error}")))?;
    let mut report = check(path, &text);
    for warning in &report.warnings {
        tracing::warn!("{warning}");
    }
    report.service.take().ok_or(report)
}

fn read(path: &Path) -> io::Result<String> {
    let bytes = std::fs::metadata(path)?.len();
    if bytes > SERVICE_FILE_BYTES_MAX {
        let rule = format!("{bytes} bytes are more than the {SERVICE_FILE_BYTES_MAX} of a service file");
        return Err(io::Error::other(rule));
    }
    std::fs::read_to_string(path)
}

fn owner<'a>(loaded: &'a [Loaded], service: &Service) -> Option<&'a Path> {
    let same = |other: &Arc<Service>| other.description.id == service.description.id;
    loaded.iter().find(|(_, result)| result.as_ref().is_ok_and(same)).map(|(path, _)| path.as_path())
}

fn refusal(path: &Path, text: String) -> Report {
    let mut findings = Findings::default();
    findings.fault(&(0..0), text);
    let (faults, warnings) = findings.locate(path, "");
    Report { path: path.to_owned(), faults, warnings, service: None }
}
