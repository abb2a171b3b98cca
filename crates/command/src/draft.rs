//! The parts of a service file while it is read, with their places: what every dialect is read into, before the parts are
//! held against each other.

use crate::report::Findings;
use crate::service::{CommandLine, Delivery, InputRule, OutputRule, OutputSource};
use anabranch_model::bind::bind_fetched;
use anabranch_model::{
    Data, DataDescription, Format, FormatHint, InputDescription, LiteralDomain, Occurs, OutputDescription,
};
use regex::Regex;
use std::ops::Range;
use std::path::{Component, Path};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

/// An input and where it stands.
pub(crate) struct Input {
    pub(crate) span: Range<usize>,
    pub(crate) description: InputDescription,
    pub(crate) rule: InputRule,
}

/// A format, and what the executable calls it.
pub(crate) type NamedFormat = (Format, Option<String>);

/// An output and where it stands.
pub(crate) struct Output {
    pub(crate) span: Range<usize>,
    pub(crate) description: OutputDescription,
    /// `None` after a fault.
    pub(crate) source: Option<OutputSource>,
    pub(crate) formats: Vec<NamedFormat>,
    pub(crate) delivery: Option<Delivery>,
}

impl Output {
    pub(crate) fn into_rule(self) -> Option<OutputRule> {
        let named = self.formats.into_iter().filter_map(|(format, name)| Some((format, name?)));
        Some(OutputRule {
            id: self.description.id,
            source: self.source?,
            format_names: named.collect(),
            delivery: self.delivery,
        })
    }
}

/// The command line, and where its parts stand.
pub(crate) struct Command {
    pub(crate) line: CommandLine,
    /// One for each argument.
    pub(crate) argument_spans: Vec<Range<usize>>,
    /// One for each variable of the environment.
    pub(crate) environment_spans: Vec<Range<usize>>,
}

/// The rule of the domain that a value breaks: binding's own judgement, so that no default is refused later.
pub(crate) fn broken_rule(domain: &LiteralDomain, value: &str) -> Option<String> {
    let input = InputDescription::new("", Occurs::ONE, DataDescription::Literal(domain.clone()));
    let bytes = Data::Bytes(value.to_owned().into());
    let fault = bind_fetched(&input, bytes, &FormatHint::default()).err()?;
    // "is not a double" reads better than "must be a double".
    Some(match fault.rule.strip_prefix("must be a") {
        Some(kind) if kind.ends_with(domain.data_type.name()) => format!("is not a{kind}"),
        _ => fault.rule,
    })
}

/// Why a path can't be one of the run's folder; `None` where it can.
pub(crate) fn path_fault(path: &str) -> Option<&'static str> {
    let parts = Path::new(path).components();
    if path.is_empty() || path.ends_with('/') {
        return Some("must name a file");
    }
    if path.starts_with('-') {
        return Some("must not start with '-': it would be taken for an option");
    }
    if path.contains('\0') {
        return Some("must not hold NUL characters");
    }
    parts
        .into_iter()
        .any(|part| !matches!(part, Component::Normal(_)))
        .then_some("must be relative to the run's folder and stay in it")
}

/// Why a section or option can't be one of an INI file; `None` where it can.
pub(crate) fn ini_name_fault(name: &str) -> Option<&'static str> {
    let fits = !name.is_empty() && !name.contains(['\n', '\r', ']', '[', '=', ':', '\0']);
    (!fits).then_some("can't stand in an INI file")
}

/// A regular expression, or why it is none.
pub(crate) fn regex(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| {
        // The library draws a picture over several lines; its last line says what is wrong.
        let error = error.to_string();
        error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
    })
}

/// Why a format of dates can't be used; `None` where it can.
pub(crate) fn date_format_fault(format: &str) -> Option<String> {
    let sample = jiff::civil::date(2000, 1, 1).at(0, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    let error = jiff::fmt::strtime::format(format, &sample).err()?;
    Some(format!("is no format of dates as of strftime: {error}"))
}

/// Warns where a working folder is not there: runs would not start.
pub(crate) fn check_working_folder(findings: &mut Findings, span: &Range<usize>, folder: &Path) {
    if !folder.is_dir() {
        findings.warn(span, format!("working folder '{}' does not exist on this machine", folder.display()));
    }
}
