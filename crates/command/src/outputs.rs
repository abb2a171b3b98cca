//! The outputs of a run that has ended, or of one that goes on and says that a file is complete.

use crate::folders::Folders;
use crate::journal::Journal;
use crate::service::{Complete, OutputRule, OutputSource, Service};
use anabranch_model::bind::bind_fetched;
use anabranch_model::{
    ComplexValue, Data, DataDescription, Error, Format, FormatHint, InputDescription, Occurs,
    OutputDescription, OutputRequest, Value,
};
use bytes::Bytes;
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Longest literal or box that is read from a file or stream, in bytes.
const LITERAL_BYTES_MAX: u64 = 1 << 20;

/// Most files that one pattern may match: more are a mistake, and each is a chunk with an entry of its own.
const CHUNKS_MAX: usize = 1_000_000;

/// Gives the chunks of an output, without those `sent` already. Blocking.
///
/// # Errors
/// [`Error::ProcessFailed`] where it was not written, or is not what it should be.
pub(crate) fn collect(
    service: &Service,
    request: &OutputRequest,
    folders: &Folders,
    found: Option<&str>,
    sent: &HashSet<PathBuf>,
) -> Result<Vec<Value>, Error> {
    let id = request.id.as_str();
    let (Some(description), Some(rule)) = (service.description.output(id), service.output(id)) else {
        return Err(Error::internal(format!("output '{id}' is asked for and has no source")));
    };
    let format = format(description, request);
    match &rule.source {
        OutputSource::File(file) if Path::new(file).is_absolute() => {
            let path = Path::new(file);
            let is_file = path.metadata().is_ok_and(|metadata| metadata.is_file());
            if !is_file {
                let message = format!("output '{id}' was not written (expected file {file})");
                return Err(Error::process_failed(message));
            }
            Ok(vec![value(description, format, path)?])
        }
        OutputSource::Layers(outputs) => {
            let names = outputs.iter().map(|id| layer_name(service, id) + ";");
            Ok(vec![parsed(description, names.collect::<String>().as_bytes())?])
        }
        OutputSource::File(file) => {
            let path = confined(id, &folders.work, Path::new(file))?.ok_or_else(|| {
                Error::process_failed(format!("output '{id}' was not written (expected file {file})"))
            })?;
            Ok(vec![value(description, format, &path)?])
        }
        OutputSource::Glob { pattern, .. } => {
            let paths = matches(id, &folders.work, pattern)?;
            if paths.is_empty() && sent.is_empty() {
                let message = format!("output '{id}' was not written (no file matches {pattern})");
                return Err(Error::process_failed(message));
            }
            let rest = paths.iter().filter(|path| !sent.contains(*path));
            rest.map(|path| value(description, format.clone(), path)).collect()
        }
        // Handed over while they came.
        OutputSource::Records(_) => Ok(Vec::new()),
        OutputSource::Stdout => {
            let bytes = fs::metadata(&folders.stdout).map_or(0, |metadata| metadata.len());
            // No text is a text; whether it is a number or a date is judged with the value.
            if bytes == 0 && !matches!(description.data, DataDescription::Literal(_)) {
                return Err(Error::process_failed(format!("output '{id}': nothing came on standard output")));
            }
            Ok(vec![value(description, format, &folders.stdout)?])
        }
        OutputSource::Line { pattern, .. } => {
            let text = found.ok_or_else(|| {
                Error::process_failed(format!("output '{id}': no line matches {:?}", pattern.as_str()))
            })?;
            Ok(vec![parsed(description, text.as_bytes())?])
        }
    }
}

/// The name under which an output is published; its identifier where it has none.
fn layer_name(service: &Service, id: &str) -> String {
    let publication = service.description.output(id).and_then(|output| output.publication.as_ref());
    publication.and_then(|publication| publication.layer_name.clone()).unwrap_or_else(|| id.to_owned())
}

/// The chunk in a file that the executable has announced; `None` where it lies, or names what is no output.
pub(crate) fn announced(
    service: &Service,
    request: &OutputRequest,
    work: &Path,
    file: &str,
) -> Result<Option<(PathBuf, Value)>, Error> {
    let id = request.id.as_str();
    let (Some(description), Some(OutputRule { source: OutputSource::Glob { pattern, .. }, .. })) =
        (service.description.output(id), service.output(id))
    else {
        return Ok(None);
    };
    let relative = Path::new(file.trim());
    let fits = glob::Pattern::new(pattern).is_ok_and(|pattern| pattern.matches_path_with(relative, GLOB));
    if !fits {
        return Ok(None);
    }
    let Some(path) = confined(id, work, relative)? else { return Ok(None) };
    let value = value(description, format(description, request), &path)?;
    Ok(Some((path, value)))
}

/// The chunks in files that are complete while the run goes on, without those `sent` already. `closed` are names of files in the pattern's
/// folder that whoever wrote them has closed. Blocking.
pub(crate) fn completed(
    service: &Service,
    request: &OutputRequest,
    work: &Path,
    sent: &HashSet<PathBuf>,
    closed: &HashSet<OsString>,
) -> Result<Vec<(PathBuf, Value)>, Error> {
    let id = request.id.as_str();
    let (Some(description), Some(OutputRule { source: OutputSource::Glob { pattern, complete, .. }, .. })) =
        (service.description.output(id), service.output(id))
    else {
        return Ok(Vec::new());
    };
    let mut paths = matches(id, work, pattern)?;
    match complete {
        Complete::AtEnd => paths.clear(),
        Complete::Named => {}
        Complete::Closed => paths.retain(|path| path.file_name().is_some_and(|name| closed.contains(name))),
        // Of several written at the same time of the clock any may be the one that is being written.
        Complete::AtNext => {
            let written = |path: &PathBuf| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
            let last = paths.iter().filter_map(written).max();
            paths.retain(|path| written(path) < last);
        }
    }
    paths.retain(|path| !sent.contains(path));
    let chunk = |path: PathBuf| {
        let value = value(description, format(description, request), &path)?;
        Ok((path, value))
    };
    paths.into_iter().map(chunk).collect()
}

/// The folder whose files are watched for an output, where the system has to tell when they are closed.
pub(crate) fn watched_folder(service: &Service, id: &str, work: &Path) -> Option<PathBuf> {
    match &service.output(id)?.source {
        OutputSource::Glob { pattern, complete: Complete::Closed, .. } => {
            Some(Path::new(pattern).parent().map_or_else(|| work.to_owned(), |folder| work.join(folder)))
        }
        _ => None,
    }
}

/// Records as a chunk.
pub(crate) fn records(service: &Service, request: &OutputRequest, records: Vec<u8>) -> Option<Value> {
    let description = service.description.output(&request.id)?;
    let data = Data::Bytes(records.into());
    Some(Value::Complex(ComplexValue::new(data, format(description, request))))
}

/// `*` stays within a folder, and hidden files are nobody's output.
const GLOB: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

fn matches(id: &str, work: &Path, pattern: &str) -> Result<Vec<PathBuf>, Error> {
    let folder = work.to_str().ok_or_else(|| Error::internal("the run's folder is not UTF-8"))?;
    let whole = format!("{}/{pattern}", glob::Pattern::escape(folder));
    let found = glob::glob_with(&whole, GLOB).map_err(|error| Error::internal(error.msg))?;
    let mut paths = Vec::new();
    for path in found {
        let path = path.map_err(|error| Error::internal(format!("output '{id}': {error}")))?;
        let relative = path.strip_prefix(work).unwrap_or(&path);
        if path.is_dir() {
            continue;
        }
        paths.extend(confined(id, work, relative)?);
        if paths.len() > CHUNKS_MAX {
            let message = format!("output '{id}' has more than the {CHUNKS_MAX} files allowed");
            return Err(Error::process_failed(message));
        }
    }
    paths.sort();
    Ok(paths)
}

/// The regular file behind a path of the run's folder, links followed; `None` where there is none.
///
/// # Errors
/// Where it leads out of the folder, or is something else than a file.
fn confined(id: &str, work: &Path, relative: &Path) -> Result<Option<PathBuf>, Error> {
    let refuse = |why: &str| {
        let message = format!("output '{id}': {} {why}", relative.display());
        Err(Error::process_failed(message))
    };
    let failed = |error: io::Error| Error::internal(format!("output '{id}' can't be read: {error}"));
    let root = work.canonicalize().map_err(failed)?;
    let real = match work.join(relative).canonicalize() {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let Ok(inside) = real.strip_prefix(&root) else { return refuse("leads out of the run's folder") };
    // A pipe or device would be read for ever.
    if !fs::metadata(&real).map_err(failed)?.is_file() {
        return refuse("is no regular file");
    }
    Ok(Some(work.join(inside)))
}

/// The format asked for, which binding has resolved; else the default.
fn format(description: &OutputDescription, request: &OutputRequest) -> Format {
    let DataDescription::Complex(domain) = &description.data else { return Format::new("text/plain") };
    let hint = &request.format;
    match &hint.media_type {
        Some(media_type) => Format {
            media_type: media_type.clone(),
            encoding: hint.encoding.clone(),
            schema: hint.schema.clone(),
        },
        None => domain.formats.first().cloned().unwrap_or_else(|| Format::new("application/octet-stream")),
    }
}

fn value(description: &OutputDescription, format: Format, path: &Path) -> Result<Value, Error> {
    let id = &description.id;
    let failed = |error: io::Error| Error::internal(format!("output '{id}' can't be read: {error}"));
    if matches!(description.data, DataDescription::Complex(_)) {
        let data = Data::file(path).map_err(failed)?;
        return Ok(Value::Complex(ComplexValue::new(data, format)));
    }
    let mut text = Vec::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(LITERAL_BYTES_MAX + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > LITERAL_BYTES_MAX {
        let message = format!("output '{id}' is longer than the {LITERAL_BYTES_MAX} bytes of a literal");
        return Err(Error::process_failed(message));
    }
    parsed(description, &text)
}

/// A literal or box, held against the rules that hold for inputs.
fn parsed(description: &OutputDescription, text: &[u8]) -> Result<Value, Error> {
    let as_input = InputDescription::new(description.id.clone(), Occurs::ONE, description.data.clone());
    // Tools end what they print with a line feed.
    let text = Bytes::copy_from_slice(text.trim_ascii_end());
    bind_fetched(&as_input, Data::Bytes(text), &FormatHint::default()).map_err(|fault| {
        let value = fault.value.map(|value| format!(", not {value:?}")).unwrap_or_default();
        Error::process_failed(format!("output '{}' {}{value}", description.id, fault.rule))
    })
}

/// What the journal found for the outputs asked for.
pub(crate) fn found_in_lines(journal: &Journal<'_>, outputs: &[OutputRequest]) -> Vec<Option<String>> {
    outputs.iter().map(|request| journal.found(&request.id).map(str::to_owned)).collect()
}
