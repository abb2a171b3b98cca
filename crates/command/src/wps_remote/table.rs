//! Reading a section key by key, with all that its values refer to.

use crate::draft::{At, path_fault};
use crate::ini::{self, DEFAULT, Ini, Keys, Section};
use crate::report::Findings;
use crate::service::RUN_ID_TOKEN;
use crate::step::Place;
use crate::template::{Field, Owner, Template};
use crate::units;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Stands for the run's identifier while values are put together. Files can't hold it: the reader refuses control characters.
const RUN_ID: char = '\u{1}';

/// Stands for the run's folder.
const RUN_FOLDER: char = '\u{2}';

/// The file that all sections belong to.
pub(super) struct Context<'i> {
    pub(super) ini: &'i Ini,
    /// Where the file lies.
    pub(super) folder: &'i Path,
    /// `workdir` with [`RUN_ID`] in it.
    workdir: Option<String>,
    /// `wps_execution_shared_dir` of the agent's configuration.
    shared_folder: Option<String>,
}

impl<'i> Context<'i> {
    pub(super) fn new(ini: &'i Ini, folder: &'i Path) -> Self {
        let mut context = Self { ini, folder, workdir: None, shared_folder: shared_folder(folder) };
        let entry = ini.section(DEFAULT).and_then(|section| Some((section, section.entry("workdir")?)));
        // What is wrong with it is told when it is read.
        let workdir = entry.and_then(|(section, entry)| context.interpolate(section, entry).ok());
        context.workdir = workdir.filter(|path| !path.trim_matches(['/', '\\', '.']).is_empty());
        context
    }

    fn interpolate(&self, section: &Section, entry: &ini::Entry) -> Result<String, String> {
        let id = RUN_ID.to_string();
        let mut injected = vec![("unique_exe_id", id.as_str())];
        injected.extend(self.shared_folder.as_deref().map(|path| ("wps_execution_shared_dir", path)));
        self.ini.interpolate(section, entry, &injected)
    }

    /// `workdir` as another path of the run's folder; `None` where runs could not be told apart.
    pub(super) fn folder_link(&self) -> Option<String> {
        let workdir = self.workdir.as_ref().filter(|path| path.contains(RUN_ID))?;
        let path = self.folder.join(slashes(workdir));
        Some(path.to_string_lossy().replace(RUN_ID, RUN_ID_TOKEN))
    }
}

/// The shared folder that `remote.config` names, beside the file or one folder up, where the original keeps it.
fn shared_folder(folder: &Path) -> Option<String> {
    let candidates = [folder.join("remote.config"), folder.join("../remote.config")];
    let text = candidates.iter().find_map(|path| crate::folder::read_small(path).ok())?;
    let ini = ini::parse(&mut Findings::default(), &text, Keys::LowerCase);
    let section = ini.section(DEFAULT)?;
    ini.interpolate(section, section.entry("wps_execution_shared_dir")?, &[]).ok()
}

/// Paths written on Windows.
fn slashes(path: &str) -> String {
    if path.contains('/') { path.to_owned() } else { path.replace('\\', "/") }
}

/// A section that is being read.
pub(super) struct Table<'i> {
    context: &'i Context<'i>,
    section: &'i Section,
    known: Vec<&'static str>,
}

impl<'i> Table<'i> {
    pub(super) fn new(context: &'i Context<'i>, section: &'i Section) -> Self {
        Self { context, section, known: Vec::new() }
    }

    pub(super) fn span(&self) -> &'i Range<usize> {
        &self.section.span
    }

    pub(super) fn fault(&self, findings: &mut Findings, span: &Range<usize>, text: impl AsRef<str>) {
        findings.fault(span, shown(&format!("[{}]: {}", self.section.name, text.as_ref())));
    }

    pub(super) fn warn(&self, findings: &mut Findings, span: &Range<usize>, text: impl AsRef<str>) {
        findings.warn(span, shown(&format!("[{}]: {}", self.section.name, text.as_ref())));
    }

    /// The value of a key with all that it refers to; nothing where it is empty.
    pub(super) fn text(&mut self, findings: &mut Findings, key: &'static str) -> Option<At<String>> {
        self.known.push(key);
        let entry = self.section.entry(key)?;
        match self.context.interpolate(self.section, entry) {
            Ok(value) if value.is_empty() => None,
            Ok(value) => Some(At { value: self.with_folder(value), span: entry.span.clone() }),
            Err(fault) => {
                self.fault(findings, &entry.span, format!("{key} {fault}"));
                None
            }
        }
    }

    /// `workdir` itself is not replaced by what takes its place.
    fn with_folder(&self, value: String) -> String {
        match &self.context.workdir {
            Some(workdir) => value.replace(workdir.as_str(), &RUN_FOLDER.to_string()),
            None => value,
        }
    }

    /// It has that key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.section.has(key)
    }

    /// `workdir` does not tell runs apart.
    pub(super) fn folder_is_shared(&self) -> bool {
        self.context.folder_link().is_none()
    }

    /// As [`Table::text`], and a fault where it is missing.
    pub(super) fn required(&mut self, findings: &mut Findings, key: &'static str) -> Option<At<String>> {
        let found = self.text(findings, key);
        if found.is_none() && self.section.entry(key).is_none_or(|entry| entry.value.is_empty()) {
            let keys = self.section.entries.iter().map(|entry| entry.key.as_str());
            let hint = match units::nearest(key, keys.filter(|near| *near != key)) {
                Some(near) => format!(" (is {near} meant?)"),
                None => String::new(),
            };
            self.fault(findings, self.span(), format!("{key} is missing{hint}"));
        }
        found
    }

    /// Text in which the run's folder and identifier mean nothing.
    pub(super) fn plain(&mut self, findings: &mut Findings, key: &'static str) -> Option<At<String>> {
        let at = self.text(findings, key)?;
        if at.value.contains([RUN_ID, RUN_FOLDER]) {
            self.fault(findings, &at.span, format!("{key} {:?} is read before there is a run", at.value));
            return None;
        }
        Some(at)
    }

    /// A whole number.
    pub(super) fn number(&mut self, findings: &mut Findings, key: &'static str) -> Option<At<u32>> {
        let at = self.plain(findings, key)?;
        match at.value.trim().parse() {
            Ok(value) => Some(At { value, span: at.span }),
            Err(_) => {
                self.fault(
                    findings,
                    &at.span,
                    format!("{key} must be a whole number from 0, not {:?}", at.value),
                );
                None
            }
        }
    }

    /// `true` in any case; all else is no.
    pub(super) fn boolean(&mut self, findings: &mut Findings, key: &'static str) -> Option<bool> {
        Some(self.plain(findings, key)?.value.trim().eq_ignore_ascii_case("true"))
    }

    /// A file in the run's folder: `%(workdir)s/x`, or `x`.
    pub(super) fn run_path(&self, findings: &mut Findings, key: &str, at: &At<String>) -> Option<String> {
        let path = at.value.strip_prefix(RUN_FOLDER).unwrap_or(&at.value);
        let path = slashes(path);
        let path =
            if at.value.starts_with(RUN_FOLDER) { path.trim_start_matches('/') } else { path.as_str() };
        let fault = match path_fault(&path.replace(RUN_ID, "0")) {
            _ if path.contains(RUN_FOLDER) || path.starts_with('/') => {
                Some("must lie in the run's folder: %(workdir)s/…")
            }
            fault => fault,
        };
        if let Some(fault) = fault {
            self.fault(findings, &at.span, format!("{key} {:?} {fault}", at.value));
            return None;
        }
        Some(path.replace(RUN_ID, RUN_ID_TOKEN))
    }

    /// A file in the run's folder, or an absolute path that all runs share.
    pub(super) fn result_path(&self, findings: &mut Findings, key: &str, at: &At<String>) -> Option<String> {
        if !at.value.starts_with('/') {
            return self.run_path(findings, key, at);
        }
        self.warn(
            findings,
            &at.span,
            format!(
                "{key} {:?} lies outside of the run's folder: runs at once write the same file",
                at.value
            ),
        );
        let whole: PathBuf = Path::new(&at.value).components().collect();
        Some(whole.to_string_lossy().replace(RUN_ID, RUN_ID_TOKEN))
    }

    /// A file to be read: in the run's folder, or the author's, whose relative paths start at the service file.
    pub(super) fn place(&self, findings: &mut Findings, key: &str, at: &At<String>) -> Option<Place> {
        if at.value.starts_with(RUN_FOLDER) {
            return self.run_path(findings, key, at).map(Place::Run);
        }
        if at.value.contains([RUN_ID, RUN_FOLDER]) {
            self.fault(
                findings,
                &at.span,
                format!("{key} {:?} is neither a file of the run nor of the service", at.value),
            );
            return None;
        }
        let path: PathBuf = self.context.folder.join(slashes(&at.value)).components().collect();
        if !path.is_file() {
            self.warn(
                findings,
                &at.span,
                format!("{key} '{}' does not exist on this machine", path.display()),
            );
        }
        Some(Place::Host(path))
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self, findings: &mut Findings) {
        for entry in &self.section.entries {
            if self.known.contains(&entry.key.as_str()) {
                continue;
            }
            let hint = match units::nearest(&entry.key, self.known.iter().copied()) {
                Some(near) => format!(", did you mean {near}?"),
                None => String::new(),
            };
            self.warn(findings, &entry.span, format!("{} means nothing here{hint}", entry.key));
        }
    }
}

/// Text with the run's folder and identifier as placeholders.
pub(super) fn push(template: &mut Template, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find([RUN_ID, RUN_FOLDER]) {
        template.push_text(&rest[..at]);
        let field = if rest[at..].starts_with(RUN_ID) { Field::RunId } else { Field::RunFolder };
        template.push(Owner::Run, field);
        rest = &rest[at + 1..];
    }
    template.push_text(rest);
}

/// Text for people.
fn shown(text: &str) -> String {
    text.replace(RUN_ID, "%(unique_exe_id)s")
        .replace(RUN_FOLDER, "%(workdir)s")
        .replace("\\u{1}", "%(unique_exe_id)s")
        .replace("\\u{2}", "%(workdir)s")
}
