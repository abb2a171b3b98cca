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

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[outputs.o]\ntype = 'string'\nstdout = true\n[command]\nprogram = '/bin/sh'\n";

    #[test]
    fn a_bad_file_takes_nothing_away_from_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("a.toml", &format!("identifier = 'a'\n{GOOD}"));
        write("b.toml", "identifier = ");
        write("c.toml", &format!("identifier = 'a'\n{GOOD}"));
        write("d.toml", &format!("identifier = 'd'\n{GOOD}"));
        write(".hidden.toml", "");
        write("notes.txt", "");
        write("e.toml", &"#".repeat(2 << 20));
        std::fs::write(folder.path().join("f.toml"), [0xff, 0xfe]).unwrap();
        let loaded = load_folder(folder.path()).unwrap();
        let names: Vec<_> =
            loaded.iter().map(|(path, _)| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["a.toml", "b.toml", "c.toml", "d.toml", "e.toml", "f.toml"]);
        let served: Vec<_> = loaded.iter().map(|(_, result)| result.is_ok()).collect();
        assert_eq!(served, [true, false, false, true, false, false]);
        let fault = |index: usize| loaded[index].1.as_ref().unwrap_err().faults[0].text.clone();
        assert!(fault(2).starts_with("identifier 'default:a' is that of "));
        assert!(fault(4).contains("are more than the 1048576 of a service file"));
        assert!(fault(5).starts_with("can't be read: "));
        assert!(load_folder(&folder.path().join("none")).is_err());
    }
}
