//! Where an output comes from: one of `file`, `glob`, `stdout`, `pattern` and `layers`, and the keys that go with it.

use super::super::data::{self, Kind};
use super::super::section::{At, Section};
use crate::draft::path_fault;
use crate::report::Findings;
use crate::service::{Batch, Complete, OutputSource, RECORDS_MAX_DEFAULT, RECORDS_WAIT_DEFAULT, Stream};
use regex::Regex;
use std::path::Path;

/// What the keys say, each by itself.
struct Keys<'t> {
    file: Option<At<&'t str>>,
    glob: Option<At<&'t str>>,
    is_stdout: bool,
    pattern: Option<Regex>,
    announced: Option<Regex>,
    stream: Option<Stream>,
    layers: Vec<At<&'t str>>,
    complete: Option<Complete>,
    batch: Option<Batch>,
}

/// `kind` is that of the output's data, where it is known.
pub(super) fn read(
    findings: &mut Findings,
    section: &mut Section<'_>,
    kind: Option<&Kind>,
) -> Option<OutputSource> {
    let keys = Keys::read(findings, section);
    if let Err(fault) = keys.is_one(section) {
        section.fault(findings, &section.span, fault);
        return None;
    }
    for fault in keys.misfits(section, kind) {
        section.fault(findings, &section.span, fault);
    }
    keys.source(findings, section)
}

impl<'t> Keys<'t> {
    fn read(findings: &mut Findings, section: &mut Section<'t>) -> Self {
        Self {
            file: section.string(findings, "file"),
            glob: section.string(findings, "glob"),
            is_stdout: section.boolean(findings, "stdout").is_some_and(|at| at.value),
            pattern: data::pattern(findings, section, "pattern", 1),
            announced: data::pattern(findings, section, "announced", 1),
            stream: data::stream(findings, section),
            layers: section.strings(findings, "layers"),
            complete: complete(findings, section),
            batch: batch(findings, section),
        }
    }

    /// Names one source. A key counts as given also where its value is wrong: that is told already.
    fn is_one(&self, section: &Section<'_>) -> Result<(), &'static str> {
        let (has_pattern, has_layers) = (section.has("pattern"), section.has("layers"));
        let named = [self.file.is_some(), self.glob.is_some(), self.is_stdout, has_pattern, has_layers];
        match named.iter().filter(|given| **given).count() {
            0 => Err("has no source: file, glob, stdout = true, pattern or layers"),
            1 => Ok(()),
            _ => Err("has several sources: file, glob, stdout, pattern and layers exclude each other"),
        }
    }

    /// Keys that do not go with the source, or with the data.
    fn misfits(&self, section: &Section<'_>, kind: Option<&Kind>) -> impl Iterator<Item = &'static str> {
        let (announced, pattern) = (section.has("announced"), section.has("pattern"));
        let is_complex = matches!(kind, Some(Kind::Complex));
        let is_simple = kind.is_some() && !is_complex;
        let rules = [
            (announced && self.glob.is_none(), "announced goes with glob only"),
            (
                self.complete.is_some() && (self.glob.is_none() || announced),
                "complete goes with glob only, and not with announced",
            ),
            (self.batch.is_some() && !self.is_stdout, "records goes with stdout = true only"),
            (self.batch.is_some() && is_simple, "records is for complex data only"),
            (section.has("stream") && !pattern && !announced, "stream goes with pattern or announced only"),
            (pattern && is_complex, "complex data can't come from a line: pattern is for literals and boxes"),
            (self.glob.is_some() && is_simple, "glob is for complex data only"),
        ];
        rules.into_iter().filter(|(is_broken, _)| *is_broken).map(|(_, fault)| fault)
    }

    /// What they mean together.
    fn source(self, findings: &mut Findings, section: &Section<'_>) -> Option<OutputSource> {
        let stream = self.stream.unwrap_or(Stream::Stdout);
        if let Some(at) = self.file {
            return path(findings, section, "file", &at).map(OutputSource::File);
        }
        if let Some(at) = self.glob {
            let pattern = glob_pattern(findings, section, &at)?;
            let announced = self.announced.map(|regex| (stream, regex));
            let complete = self.complete.unwrap_or(Complete::AtEnd);
            return Some(OutputSource::Glob { pattern, announced, complete });
        }
        if self.is_stdout {
            return Some(self.batch.map_or(OutputSource::Stdout, OutputSource::Records));
        }
        if section.has("layers") {
            let outputs = self.layers.into_iter().map(|at| at.value.to_owned());
            return Some(OutputSource::Layers(outputs.collect()));
        }
        self.pattern.map(|pattern| OutputSource::Line { stream, pattern })
    }
}

fn complete(findings: &mut Findings, section: &mut Section<'_>) -> Option<Complete> {
    let at = section.string(findings, "complete")?;
    let found = Complete::ALL.iter().find(|(_, name)| *name == at.value);
    if found.is_none() {
        let text = format!("complete must be \"end\", \"next\", \"named\" or \"closed\", not {:?}", at.value);
        section.fault(findings, &at.span, text);
    }
    found.map(|(complete, _)| *complete)
}

fn batch(findings: &mut Findings, section: &mut Section<'_>) -> Option<Batch> {
    let mut part = section.section(findings, "records")?;
    let records_max = part.count(findings, "max");
    let wait_max = part.duration(findings, "wait").map_or(RECORDS_WAIT_DEFAULT, |at| at.value);
    if let Some(at) = records_max.as_ref().filter(|at| at.value == 0) {
        part.fault(findings, &at.span, "max must be at least 1");
    }
    part.finish(findings);
    Some(Batch { records_max: records_max.map_or(RECORDS_MAX_DEFAULT, |at| at.value), wait_max })
}

pub(super) fn path(
    findings: &mut Findings,
    section: &Section<'_>,
    key: &str,
    at: &At<&str>,
) -> Option<String> {
    match path_fault(at.value).filter(|_| !(key != "glob" && is_shared(at.value))) {
        Some(fault) => {
            section.fault(findings, &at.span, format!("{key} {:?} {fault}", at.value));
            None
        }
        None => Some(at.value.to_owned()),
    }
}

/// An absolute path, which is the author's choice: all runs share that file.
fn is_shared(path: &str) -> bool {
    let plain = |part: &str| part != "." && part != "..";
    Path::new(path).is_absolute() && !path.ends_with('/') && path.split('/').all(plain)
}

fn glob_pattern(findings: &mut Findings, section: &Section<'_>, at: &At<&str>) -> Option<String> {
    let pattern = path(findings, section, "glob", at)?;
    if let Err(error) = glob::Pattern::new(&pattern) {
        section.fault(findings, &at.span, format!("glob {pattern:?} is wrong: {}", error.msg));
        return None;
    }
    Some(pattern)
}
