//! Runs the steps before the executable.

mod ini;
mod json;

pub(crate) use json::compile as compile_schema;

use crate::arguments::Values;
use crate::step::{Place, Step};
use crate::template::Template;
use anabranch_model::{Error, Fault, FaultKind, Subject};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

/// Largest file that a step reads, in bytes: configurations are small, and they are held whole.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Makes the files of all steps. Blocking.
///
/// # Errors
/// [`Error::Invalid`] for values that don't fit, [`Error::ProcessFailed`] for templates of the service that don't.
pub(crate) fn run(values: &Values<'_>) -> Result<(), Error> {
    values.service.steps.iter().try_for_each(|step| run_step(values, step))
}

fn run_step(values: &Values<'_>, step: &Step) -> Result<(), Error> {
    match step {
        Step::Copy { from, to } => {
            let content = read(values.work, from)?;
            write(values.work, to, &content)
        }
        Step::WriteJson { value, schema, name_from, to } => {
            for text in values.texts(value)? {
                let document = json::parse(value, &text)?;
                if let Some(schema) = schema {
                    json::fulfils(value, &document, schema)?;
                }
                let name =
                    name_from.as_ref().map(|path| json::name_at(value, &document, path)).transpose()?;
                let to = name.map_or_else(|| to.clone(), |name| to.replace(crate::step::NAME_TOKEN, &name));
                write(values.work, &to, &text)?;
            }
            Ok(())
        }
        Step::SetJson { value, path, from, to } => {
            let Some(value) = json::value(values, value)? else { return Ok(()) };
            let mut document = json::parse_own(to, &existing(values.work, to, from.as_ref())?)?;
            json::set(to, &mut document, path, value)?;
            write(values.work, to, &json::text(&document)?)
        }
        Step::SetIni { value, list, section, option, from, to } => {
            let texts = values.texts(value)?;
            if texts.is_empty() {
                return Ok(());
            }
            let text = texts.join(",");
            if text.contains(['\n', '\r', '\0']) {
                return Err(unfit(value, "must be a single line, to be written to an INI file", &text));
            }
            let text = if *list { ini::list(&text) } else { text };
            let before = existing(values.work, to, from.as_ref())?;
            let after = ini::set(&before, section, option, &text).ok_or_else(|| {
                Error::process_failed(format!("{to} has no section [{section}] to set {option} in"))
            })?;
            write(values.work, to, &after)
        }
    }
}

/// A value that the service can't do with.
fn unfit(template: &Template, rule: impl Into<String>, value: &str) -> Error {
    let input = template.inputs().next();
    let subject = input.map_or_else(|| Subject::Parameter("inputs".into()), |id| Subject::Input(id.into()));
    Error::invalid(Fault::new(subject, FaultKind::Malformed, rule).with_value(value))
}

/// The target as it is, or what it starts from.
fn existing(work: &Path, to: &str, from: Option<&Place>) -> Result<String, Error> {
    let path = work.join(to);
    match from {
        Some(from) if !path.exists() => read(work, from),
        _ => read(work, &Place::Run(to.to_owned())),
    }
}

fn read(work: &Path, place: &Place) -> Result<String, Error> {
    let (path, name) = match place {
        Place::Host(path) => {
            (path.clone(), path.file_name().unwrap_or_default().to_string_lossy().into_owned())
        }
        Place::Run(path) => (work.join(path), path.clone()),
    };
    let failed = |error: &io::Error| {
        Error::process_failed(format!("file {name} of the service can't be read: {error}"))
    };
    let file = File::open(&path).map_err(|error| failed(&error))?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Error::process_failed(format!(
            "file {name} is longer than the {FILE_BYTES_MAX} bytes of a template"
        )));
    }
    String::from_utf8(bytes)
        .map_err(|_no_text| Error::process_failed(format!("file {name} is no text in UTF-8")))
}

fn write(work: &Path, to: &str, text: &str) -> Result<(), Error> {
    let path = work.join(to);
    let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text));
    made.map_err(|error| Error::internal(format!("{} can't be written: {error}", path.display())))
}
