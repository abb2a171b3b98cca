//! Every service file of a folder, and what becomes of it while files come, change and go.
//!
//! Files are looked at, not listened to: folders on the network tell nobody of changes made elsewhere. A change counts once
//! the file has been the same for two looks, so that one that is half written or replaced in two strokes counts once, when it is
//! done. A file that is broken then keeps the last service that it gave: a slip of the finger must not take a process away.

use crate::dialect::{Dialect, check};
use crate::os::{self, Stamp};
use crate::report::{Findings, Report};
use crate::service::Service;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Largest service file, in bytes: people write them by hand.
pub const SERVICE_FILE_BYTES_MAX: u64 = 1 << 20;

/// Endings of service files: `toml` for native ones, the others for those of WPS Remote.
const ENDINGS: [&str; 3] = ["toml", "config", "ini"];

/// WPS Remote keeps each service in a folder of its own, in a file of this name.
pub(crate) const OWN_FOLDER_FILE: &str = "service.config";

/// Most service files of a folder: each is looked at again and again.
const FILES_MAX: usize = 10_000;

/// The services of a folder.
#[derive(Debug)]
pub struct ServiceFolder {
    path: PathBuf,
    files: BTreeMap<PathBuf, File>,
}

/// A file that has been seen.
#[derive(Debug)]
struct File {
    /// How it was at the last look; `None` where it was not there.
    seen: Option<Stamp>,
    /// How it was when it was read.
    read: Option<Stamp>,
    service: Option<Arc<Service>>,
}

/// What a look at the folder found.
#[derive(Debug, Default)]
pub struct Looked {
    /// Services are others than before.
    pub changed: bool,
    /// Files that were read and are at fault.
    pub refused: Vec<Report>,
}

impl ServiceFolder {
    /// Reads every service file of a folder: `*.toml`, `*.config`, `*.ini`, and `NAME/service.config`. A bad file takes nothing
    /// away from the others. Configurations of WPS Remote's agents (`remote.config`) and other INI files are passed over.
    ///
    /// # Errors
    /// Where the folder can't be listed.
    pub fn open(path: &Path) -> io::Result<(Self, Looked)> {
        let mut folder = Self { path: path.to_owned(), files: BTreeMap::new() };
        let mut looked = Looked::default();
        for (path, stamp) in list(&folder.path)? {
            let file = File { seen: Some(stamp), read: None, service: None };
            let file = folder.files.entry(path.clone()).or_insert(file);
            file.read(&path, &mut looked);
        }
        folder.refuse_doubles(&mut looked);
        Ok((folder, looked))
    }

    /// Looks again.
    ///
    /// # Errors
    /// Where the folder can't be listed; everything stays as it was.
    pub fn look(&mut self) -> io::Result<Looked> {
        let mut looked = Looked::default();
        let mut there: BTreeMap<PathBuf, Stamp> = list(&self.path)?.into_iter().collect();
        for path in there.keys() {
            self.files.entry(path.clone()).or_insert_with(|| File { seen: None, read: None, service: None });
        }
        self.files.retain(|path, file| {
            let now = there.remove(path);
            let is_settled = file.seen == now;
            file.seen = now;
            match now {
                _ if !is_settled => true,
                None => {
                    looked.changed |= file.service.is_some();
                    false
                }
                Some(_) => {
                    if file.read != now {
                        file.read(path, &mut looked);
                    }
                    true
                }
            }
        });
        if looked.changed {
            self.refuse_doubles(&mut looked);
        }
        Ok(looked)
    }

    /// The services to be published, in the order of their files. Of two with the same identifier it is the first one's.
    #[must_use]
    pub fn services(&self) -> Vec<Arc<Service>> {
        let mut services: Vec<Arc<Service>> = Vec::new();
        for service in self.active().map(|(_, service)| service) {
            if !services.iter().any(|first| first.description.id == service.description.id) {
                services.push(Arc::clone(service));
            }
        }
        services
    }

    fn active(&self) -> impl Iterator<Item = (&PathBuf, &Arc<Service>)> {
        let services = self.files.iter().filter_map(|(path, file)| Some((path, file.service.as_ref()?)));
        services.filter(|(_, service)| service.active)
    }

    fn refuse_doubles(&self, looked: &mut Looked) {
        let mut owners: BTreeMap<&str, &PathBuf> = BTreeMap::new();
        for (path, service) in self.active() {
            let id = service.description.id.as_str();
            match owners.get(id) {
                Some(first) => {
                    let text = format!("identifier '{id}' is that of {} too", first.display());
                    looked.refused.push(refusal(path, text));
                }
                None => {
                    owners.insert(id, path);
                }
            }
        }
    }
}

impl File {
    /// Reads what was seen. A file at fault keeps the service that it gave before.
    fn read(&mut self, path: &Path, looked: &mut Looked) {
        self.read = self.seen;
        match load_file(path) {
            Ok(service) => {
                looked.changed = true;
                self.service = Some(service);
            }
            Err(report) if is_none(&report) => {
                looked.changed |= self.service.take().is_some();
            }
            Err(report) => looked.refused.push(report),
        }
    }
}

/// It is not meant as a service: the configuration of an agent, or an INI file of some executable.
fn is_none(report: &Report) -> bool {
    match report.dialect {
        Dialect::AgentConfiguration => true,
        Dialect::Native => report.path.extension().is_none_or(|ending| ending != ENDINGS[0]),
        Dialect::WpsRemote | Dialect::Manual => false,
    }
}

/// Service files and how they are.
fn list(folder: &Path) -> io::Result<Vec<(PathBuf, Stamp)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
            continue;
        }
        let is_service = path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known));
        let path = if is_service { path } else { path.join(OWN_FOLDER_FILE) };
        // What vanishes between the list and this look was not there.
        let Ok(metadata) = std::fs::metadata(&path) else { continue };
        if metadata.is_file() {
            found.push((path, os::stamp(&metadata)));
        }
        if found.len() > FILES_MAX {
            return Err(io::Error::other(format!(
                "there are more than the {FILES_MAX} service files allowed"
            )));
        }
    }
    Ok(found)
}

/// Reads one service file; warnings go to the log.
///
/// # Errors
/// The report with its faults, also where the file can't be read.
pub fn load_file(path: &Path) -> Result<Arc<Service>, Report> {
    let text = read_small(path).map_err(|error| refusal(path, format!("can't be read: {error}")))?;
    let mut report = check(path, &text);
    for warning in &report.warnings {
        tracing::warn!("{warning}");
    }
    report.service.take().ok_or(report)
}

/// A small text file, such as a service file.
pub(crate) fn read_small(path: &Path) -> io::Result<String> {
    let bytes = std::fs::metadata(path)?.len();
    if bytes > SERVICE_FILE_BYTES_MAX {
        let rule = format!("{bytes} bytes are more than the {SERVICE_FILE_BYTES_MAX} of a service file");
        return Err(io::Error::other(rule));
    }
    std::fs::read_to_string(path)
}

fn refusal(path: &Path, text: String) -> Report {
    let mut findings = Findings::default();
    findings.fault(&(0..0), text);
    let (faults, warnings) = findings.locate(path, "");
    Report { path: path.to_owned(), faults, warnings, service: None, dialect: Dialect::Native }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const GOOD: &str = "[outputs.o]\ntype = 'string'\nstdout = true\n[command]\nprogram = '/bin/sh'\n";

    fn write(folder: &tempfile::TempDir, name: &str, text: &str) {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn service(name: &str, more: &str) -> String {
        format!("identifier = '{name}'\n{more}\n{GOOD}")
    }

    fn ids(folder: &ServiceFolder) -> Vec<String> {
        folder.services().iter().map(|service| service.description.id.to_string()).collect()
    }

    #[test]
    fn a_bad_file_takes_nothing_away_from_the_others() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder, "a.toml", &service("a", ""));
        write(&folder, "b.toml", "identifier = ");
        write(&folder, "c.toml", &service("a", ""));
        write(&folder, "d.toml", &service("d", ""));
        write(&folder, ".hidden.toml", "");
        write(&folder, "notes.txt", "");
        write(&folder, "e.toml", &"#".repeat(2 << 20));
        write(&folder, "off.toml", &service("off", "active = false"));
        fs::write(folder.path().join("f.toml"), [0xff, 0xfe]).unwrap();
        let (opened, looked) = ServiceFolder::open(folder.path()).unwrap();
        assert_eq!(ids(&opened), ["default:a", "default:d"]);
        let faults: Vec<_> = looked.refused.iter().map(|report| report.faults[0].to_string()).collect();
        let of = |name: &str| faults.iter().find(|fault| fault.contains(name)).unwrap();
        assert!(of("c.toml").contains("identifier 'default:a' is that of "));
        assert!(of("e.toml").contains("are more than the 1048576 of a service file"));
        assert!(of("f.toml").contains("can't be read: "));
        assert_eq!(faults.len(), 4, "{faults:#?}");
        assert!(ServiceFolder::open(&folder.path().join("none")).is_err());
    }

    #[test]
    fn every_dialect_is_found_where_it_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
        let text = |name: &str| fs::read_to_string(testdata.join(name)).unwrap();
        write(&folder, "native.toml", &service("native", ""));
        write(&folder, "contour/service.config", &text("contour/service.config"));
        write(&folder, "manual.ini", &text("manual/service.ini"));
        write(&folder, "settings.ini", "[limits]\nmemory = 3\n");
        write(&folder, "broken/service.config", "[DEFAULT]\nservise = x\n");
        write(&folder, "remote.config", "[DEFAULT]\nbus_class_name = xmppBus.XMPPBus\nmucService = x\n");
        let (opened, looked) = ServiceFolder::open(folder.path()).unwrap();
        assert_eq!(ids(&opened), ["default:GdalContour", "default:Welcome", "default:native"]);
        let refused: Vec<_> = looked.refused.iter().map(|report| report.path.clone()).collect();
        assert_eq!(refused, [folder.path().join("broken/service.config")]);
        let fault = looked.refused[0].to_string();
        assert!(fault.contains("[DEFAULT]: service is missing (is servise meant?)"), "{fault}");
    }

    #[test]
    fn changes_count_once_the_file_stands_still() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder, "a.toml", &service("a", ""));
        let (mut opened, _) = ServiceFolder::open(folder.path()).unwrap();
        let title = |opened: &ServiceFolder| opened.services()[0].description.title.clone();
        assert!(!opened.look().unwrap().changed);
        // Half written, then whole: never seen half.
        write(&folder, "a.toml", "identifier = 'a'\ntitle = 'one'\n");
        assert!(!opened.look().unwrap().changed);
        write(&folder, "a.toml", &service("a", "title = 'one'"));
        assert!(!opened.look().unwrap().changed);
        let looked = opened.look().unwrap();
        assert!(looked.changed && looked.refused.is_empty());
        assert_eq!(title(&opened), "one");
        // Broken for good: told once, and what it gave stays.
        write(&folder, "a.toml", "identifier = 'a'\ntitle = ");
        opened.look().unwrap();
        let looked = opened.look().unwrap();
        assert_eq!((looked.changed, looked.refused.len()), (false, 1));
        assert!(opened.look().unwrap().refused.is_empty());
        assert_eq!(title(&opened), "one");
        // Switched off, on, moved away.
        for (text, there) in [("active = false", 0), ("active = true", 1)] {
            write(&folder, "a.toml", &service("a", text));
            opened.look().unwrap();
            assert!(opened.look().unwrap().changed);
            assert_eq!(opened.services().len(), there);
        }
        fs::rename(folder.path().join("a.toml"), folder.path().join("a.off")).unwrap();
        assert!(!opened.look().unwrap().changed);
        assert!(opened.look().unwrap().changed);
        assert!(opened.services().is_empty());
    }

    #[test]
    fn a_file_that_is_replaced_in_two_strokes_never_goes() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder, "a.toml", &service("a", ""));
        let (mut opened, _) = ServiceFolder::open(folder.path()).unwrap();
        fs::remove_file(folder.path().join("a.toml")).unwrap();
        opened.look().unwrap();
        write(&folder, "a.toml", &service("a", "title = 'new'"));
        opened.look().unwrap();
        assert_eq!(ids(&opened), ["default:a"]);
        opened.look().unwrap();
        assert_eq!(opened.services()[0].description.title, "new");
    }

    #[test]
    fn the_second_file_of_an_identifier_steps_in_when_the_first_goes() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder, "a.toml", &service("a", "title = 'first'"));
        write(&folder, "b.toml", &service("a", "title = 'second'"));
        let (mut opened, looked) = ServiceFolder::open(folder.path()).unwrap();
        assert_eq!(looked.refused.len(), 1);
        fs::remove_file(folder.path().join("a.toml")).unwrap();
        opened.look().unwrap();
        assert!(opened.look().unwrap().changed);
        assert_eq!(opened.services()[0].description.title, "second");
    }
}
