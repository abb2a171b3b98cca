//! The arguments of a run, built value by value. No shell reads them, so that no value can be more than a value.

use crate::folders::{InputFiles, output_folder};
use crate::service::{OutputSource, Service};
use crate::template::{Argument, Field, Owner, Part, Placeholder, Template};
use anabranch_model::{
    AllowedValue, DataDescription, Error, Fault, FaultKind, Inputs, LiteralDomain, LiteralType,
    OutputRequest, Subject, Value,
};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Longest argument, in bytes: Linux takes 128 KiB with the terminating zero (`MAX_ARG_STRLEN`).
pub(crate) const ARGUMENT_BYTES_MAX: usize = (128 << 10) - 1;

/// All arguments together, in bytes, each with its zero and pointer: Linux takes a quarter of the stack's limit, 2 MiB.
pub(crate) const ARGUMENTS_BYTES_MAX: usize = (2 << 20) - (256 << 10);

/// Longest complex data taken as text, in bytes: beyond, it belongs into a file.
pub(crate) const TEXT_BYTES_MAX: u64 = 16 << 20;

/// What placeholders are filled from.
pub(crate) struct Values<'a> {
    pub(crate) service: &'a Service,
    pub(crate) inputs: &'a Inputs,
    pub(crate) files: &'a InputFiles,
    pub(crate) outputs: &'a [OutputRequest],
    /// The run's folder.
    pub(crate) work: &'a Path,
    /// The run's identifier.
    pub(crate) run_id: &'a str,
}

impl Values<'_> {
    /// The arguments behind the program's name.
    ///
    /// # Errors
    /// [`Error::Invalid`] for values that can't be arguments.
    pub(crate) fn arguments(&self) -> Result<Vec<OsString>, Error> {
        let (mut built, mut bytes, mut only_operands) = (Vec::new(), 0, false);
        for argument in &self.service.command.arguments {
            let templates = argument.templates();
            only_operands |= matches!(argument, Argument::One(one) if one.as_text() == Some("--"));
            for index in 0..self.repetitions(templates) {
                for template in templates {
                    let text = self.fill(template, index)?;
                    self.check(template, index, &text, only_operands)?;
                    bytes += text.len() + 1 + size_of::<usize>();
                    built.push(text.into());
                }
            }
        }
        if bytes > ARGUMENTS_BYTES_MAX {
            let rule =
                format!("are together longer than the {ARGUMENTS_BYTES_MAX} bytes a command line may have");
            let subject = Subject::Parameter("inputs".into());
            return Err(Error::invalid(Fault::new(subject, FaultKind::TooLarge, rule)));
        }
        Ok(built)
    }

    /// The variables that the service file sets; without those whose input has no value.
    ///
    /// # Errors
    /// [`Error::Invalid`] for values that can't be in an environment.
    pub(crate) fn environment(&self) -> Result<Vec<(OsString, OsString)>, Error> {
        let mut variables = Vec::new();
        for (name, template) in &self.service.command.environment {
            if self.repetitions(std::slice::from_ref(template)) > 0 {
                let text = self.fill(template, 0)?;
                // The environment is no list of arguments: a dash at its beginning means nothing.
                self.check(template, 0, &text, true)?;
                variables.push((name.into(), text.into()));
            }
        }
        Ok(variables)
    }

    /// What a template becomes: once, or for each value of the input in it that has several; not at all where one has none.
    ///
    /// # Errors
    /// [`Error::Invalid`] for values that it can't hold.
    pub(crate) fn texts(&self, template: &Template) -> Result<Vec<String>, Error> {
        (0..self.repetitions(std::slice::from_ref(template)))
            .map(|index| self.fill(template, index))
            .collect()
    }

    /// 0 where an input has no value, else as many as the one input with several has values.
    fn repetitions(&self, templates: &[Template]) -> usize {
        let counts = templates.iter().flat_map(Template::inputs).map(|id| self.count(id));
        counts.reduce(|a, b| if a == 0 || b == 0 { 0 } else { a.max(b) }).unwrap_or(1)
    }

    fn count(&self, input: &str) -> usize {
        self.paths(input).map_or_else(|| self.inputs.all(input).len(), <[PathBuf]>::len)
    }

    fn paths(&self, input: &str) -> Option<&[PathBuf]> {
        self.files.iter().find(|(id, _)| id == input).map(|(_, paths)| paths.as_slice())
    }

    fn fill(&self, template: &Template, index: usize) -> Result<String, Error> {
        let mut text = String::new();
        for part in &template.parts {
            text.push_str(&self.part(part, index)?);
        }
        Ok(text)
    }

    fn part(&self, part: &Part, index: usize) -> Result<String, Error> {
        match part {
            Part::Text(text) => Ok(text.clone()),
            Part::Placeholder(Placeholder { owner, field }) => match owner {
                Owner::Constant(name) => Ok(self.service.constant(name).unwrap_or_default().to_owned()),
                Owner::Output(id) => self.output(id, *field),
                Owner::Input(id) => self.input(id, *field, index),
                Owner::Run if *field == Field::RunId => Ok(self.run_id.to_owned()),
                Owner::Run => path_text(self.work),
            },
        }
    }

    fn input(&self, id: &str, field: Field, index: usize) -> Result<String, Error> {
        let missing = || Error::internal(format!("input '{id}' has no {field:?}"));
        let index = if self.count(id) > 1 { index } else { 0 };
        if let Some(path) = self.paths(id).and_then(|paths| paths.get(index)) {
            return match (field, self.inputs.all(id).get(index)) {
                (Field::Name, _) => Ok(last_part(path)),
                (Field::MediaType, Some(Value::Complex(value))) => Ok(value.format.media_type.clone()),
                (Field::MediaType, _) => self.default_media_type(id).ok_or_else(missing),
                (Field::Text, _) => content(id, path),
                (_, _) => path_text(path),
            };
        }
        match (self.inputs.all(id).get(index).ok_or_else(missing)?, field) {
            (Value::Literal(literal), Field::Uom) => Ok(literal.uom.clone().unwrap_or_default()),
            (Value::Literal(literal), _) => {
                match self.service.input(id).and_then(|rule| rule.date_format.as_ref()) {
                    Some(format) => date(id, &literal.text, format),
                    None => Ok(literal.text.clone()),
                }
            }
            (Value::BoundingBox(area), Field::Corner { upper, axis }) => {
                let corner = if upper { &area.upper } else { &area.lower };
                corner.get(axis).map(f64::to_string).ok_or_else(|| {
                    let rule = "must have three dimensions";
                    Error::invalid(Fault::new(Subject::Input(id.into()), FaultKind::Malformed, rule))
                })
            }
            (Value::BoundingBox(area), Field::Crs) => {
                area.crs.clone().or_else(|| self.default_crs(id)).ok_or_else(missing)
            }
            (Value::BoundingBox(area), _) => {
                let numbers = area.lower.iter().chain(&area.upper).map(f64::to_string);
                Ok(numbers.collect::<Vec<_>>().join(","))
            }
            (Value::Complex(_), _) => Err(missing()),
        }
    }

    fn default_media_type(&self, id: &str) -> Option<String> {
        match &self.service.description.input(id)?.data {
            DataDescription::Complex(domain) => Some(domain.formats.first()?.media_type.clone()),
            _ => None,
        }
    }

    fn default_crs(&self, id: &str) -> Option<String> {
        match &self.service.description.input(id)?.data {
            DataDescription::BoundingBox(domain) => domain.crs.first().cloned(),
            _ => None,
        }
    }

    fn output(&self, id: &str, field: Field) -> Result<String, Error> {
        let missing = || Error::internal(format!("output '{id}' has no {field:?}"));
        let rule = self.service.output(id).ok_or_else(missing)?;
        let media_type = || self.output_media_type(id);
        match field {
            Field::MediaType => media_type().ok_or_else(missing),
            Field::Format => {
                let media_type = media_type().ok_or_else(missing)?;
                let named = rule.format_names.iter().find(|(format, _)| format.media_type == media_type);
                Ok(named.map_or(media_type, |(_, name)| name.clone()))
            }
            Field::Name => match &rule.source {
                OutputSource::File(path) => Ok(last_part(Path::new(path))),
                _ => Err(missing()),
            },
            _ => match &rule.source {
                OutputSource::File(path) => path_text(&self.work.join(path)),
                source => path_text(&self.work.join(output_folder(source).ok_or_else(missing)?)),
            },
        }
    }

    /// The one asked for; of an output not asked for the default, because the executable writes it all the same.
    fn output_media_type(&self, id: &str) -> Option<String> {
        let asked = self.outputs.iter().find(|request| request.id == id);
        if let Some(media_type) = asked.and_then(|request| request.format.media_type.clone()) {
            return Some(media_type);
        }
        match &self.service.description.output(id)?.data {
            DataDescription::Complex(domain) => Some(domain.formats.first()?.media_type.clone()),
            _ => None,
        }
    }

    fn check(&self, template: &Template, index: usize, text: &str, is_operand: bool) -> Result<(), Error> {
        let subject = || {
            let input = template.inputs().next();
            input.map_or_else(|| Subject::Parameter("inputs".into()), |id| Subject::Input(id.into()))
        };
        let fail =
            |kind, rule: String| Err(Error::invalid(Fault::new(subject(), kind, rule).with_value(text)));
        if text.contains('\0') {
            return fail(FaultKind::Malformed, "must not hold NUL characters".into());
        }
        if text.len() > ARGUMENT_BYTES_MAX {
            let rule = format!("is longer than the {ARGUMENT_BYTES_MAX} bytes an argument may have");
            return fail(FaultKind::TooLarge, rule);
        }
        if text.starts_with('-') && !is_operand && self.is_from_client(template, index)? {
            let rule = "must not start with '-': the executable would take it for an option";
            return fail(FaultKind::NotAllowed, rule.into());
        }
        Ok(())
    }

    /// The argument's first character comes from a value that a client may choose freely.
    fn is_from_client(&self, template: &Template, index: usize) -> Result<bool, Error> {
        for part in &template.parts {
            if self.part(part, index)?.is_empty() {
                continue;
            }
            let Part::Placeholder(Placeholder { owner: Owner::Input(id), .. }) = part else {
                return Ok(false);
            };
            let allows = self.service.input(id).is_some_and(|rule| rule.allow_leading_dash);
            let data = self.service.description.input(id).map(|input| &input.data);
            return Ok(match data {
                Some(DataDescription::Literal(domain)) => !allows && is_free(domain),
                // Elsewhere it is a path of ours.
                Some(DataDescription::Complex(_)) => is_text(part),
                _ => false,
            });
        }
        Ok(false)
    }
}

fn is_text(part: &Part) -> bool {
    matches!(part, Part::Placeholder(Placeholder { field: Field::Text, .. }))
}

/// Texts that are no numbers or dates, and not from a list of the service's author.
fn is_free(domain: &LiteralDomain) -> bool {
    let is_text = matches!(domain.data_type, LiteralType::String | LiteralType::AnyUri);
    let is_listed = !domain.allowed.is_empty()
        && domain.allowed.iter().all(|allowed| matches!(allowed, AllowedValue::Value(_)));
    is_text && !is_listed
}

/// A date as the executable wants it. Without an offset it stays local time.
fn date(id: &str, text: &str, format: &str) -> Result<String, Error> {
    let written = match jiff::fmt::temporal::DateTimeParser::new().parse_timestamp(text) {
        Ok(timestamp) => jiff::fmt::strtime::format(format, &timestamp.to_zoned(jiff::tz::TimeZone::UTC)),
        Err(_no_offset) => {
            text.parse::<jiff::civil::DateTime>().and_then(|date| jiff::fmt::strtime::format(format, date))
        }
    };
    written.map_err(|error| {
        let rule = format!("can't be written as {format}: {error}");
        Error::invalid(Fault::new(Subject::Input(id.into()), FaultKind::Malformed, rule).with_value(text))
    })
}

/// The text of complex data, no longer than what may be done with it.
fn content(id: &str, path: &Path) -> Result<String, Error> {
    let failed = |error: io::Error| Error::internal(format!("input '{id}' can't be read: {error}"));
    let fault = |kind, rule: String| Error::invalid(Fault::new(Subject::Input(id.into()), kind, rule));
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > TEXT_BYTES_MAX {
        return Err(fault(
            FaultKind::TooLarge,
            format!("is longer than the {TEXT_BYTES_MAX} bytes taken as text"),
        ));
    }
    String::from_utf8(bytes).map_err(|_no_text| fault(FaultKind::Malformed, "must be text in UTF-8".into()))
}

fn last_part(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn path_text(path: &Path) -> Result<String, Error> {
    let text = path.to_str().ok_or_else(|| {
        Error::internal(format!("the run's folder {} has a name that is not UTF-8", path.display()))
    })?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::check;
    use anabranch_model::{BoundingBox, LiteralValue};

    const FILE: &str = r#"
identifier = "x"
[inputs.name]
type = "string"
min_occurs = 0
[inputs.many]
type = "string"
min_occurs = 0
max_occurs = "unbounded"
[inputs.kind]
type = "string"
min_occurs = 0
allowed = ["-a", "b"]
[inputs.number]
type = "double"
min_occurs = 0
[inputs.area]
type = "bounding_box"
crs = ["EPSG:4326"]
min_occurs = 0
[outputs.out]
type = "complex"
formats = [{ media_type = "application/geo+json", name = "GeoJSON" }]
file = "sub/out.json"
[constants]
zone = "-32"
[command]
program = "/bin/true"
"#;

    fn values(id: &str, texts: &[&str]) -> (String, Vec<Value>) {
        let value = |text: &&str| Value::Literal(LiteralValue::new(LiteralType::String, *text));
        (id.into(), texts.iter().map(value).collect())
    }

    fn build(arguments: &str, inputs: Vec<(String, Vec<Value>)>) -> Result<Vec<String>, String> {
        let report = check(Path::new("/s/f.toml"), &format!("{FILE}arguments = {arguments}"));
        let service = report.service.clone().unwrap_or_else(|| panic!("{report}"));
        let inputs = Inputs::new(inputs);
        let values = Values {
            service: &service,
            inputs: &inputs,
            files: &Vec::new(),
            outputs: &[],
            work: Path::new("/w"),
            run_id: "r1",
        };
        let built = values.arguments().map_err(|error| error.to_string())?;
        Ok(built.into_iter().map(|argument| argument.into_string().unwrap()).collect())
    }

    #[test]
    fn a_value_is_one_argument_whatever_it_holds() {
        for text in ["a b", "'\"$(rm -rf /);`x`", "two\nlines", "Zürich 東京", "*", ""] {
            let built = build(r#"["{name}", "n={name}"]"#, vec![values("name", &[text])]);
            assert_eq!(built.unwrap(), [text.to_owned(), format!("n={text}")]);
        }
    }

    #[test]
    fn what_has_no_value_is_left_out_whole() {
        let template = r#"["a", ["--name", "{name}"], "{many}", "--n={number}", "{{}}"]"#;
        assert_eq!(build(template, vec![]).unwrap(), ["a", "{}"]);
    }

    #[test]
    fn several_values_repeat_their_item() {
        let many = || vec![values("many", &["x", "y z"]), values("name", &["n"])];
        assert_eq!(build(r#"[["-m", "{many}"]]"#, many()).unwrap(), ["-m", "x", "-m", "y z"]);
        assert_eq!(build(r#"["--m={name}:{many}"]"#, many()).unwrap(), ["--m=n:x", "--m=n:y z"]);
    }

    #[test]
    fn free_texts_are_no_options() {
        let dash = || vec![values("name", &["-rf"])];
        let refused = "invalid request: input 'name' must not start with '-': the executable would take it for an option, not \"-rf\"";
        assert_eq!(build(r#"["{name}"]"#, dash()).unwrap_err(), refused);
        assert_eq!(build(r#"[["--name", "{name}"]]"#, dash()).unwrap_err(), refused);
        assert_eq!(build(r#"["--name={name}"]"#, dash()).unwrap(), ["--name=-rf"]);
        assert_eq!(build(r#"["--", "{name}"]"#, dash()).unwrap(), ["--", "-rf"]);
        // An empty value before it does not hide it.
        let both = vec![values("name", &[""]), values("many", &["-x"])];
        assert!(build(r#"["{name}{many}"]"#, both).is_err());
        // What the author of the service wrote is his.
        assert_eq!(build(r#"["{kind}", "{zone}"]"#, vec![values("kind", &["-a"])]).unwrap(), ["-a", "-32"]);
        assert_eq!(build(r#"["{number}"]"#, vec![values("number", &["-5"])]).unwrap(), ["-5"]);
    }

    #[test]
    fn what_no_argument_can_hold_is_refused() {
        let nul = build(r#"["n={name}"]"#, vec![values("name", &["a\0b"])]);
        assert!(nul.unwrap_err().contains("must not hold NUL characters"));
        let long = "x".repeat(ARGUMENT_BYTES_MAX);
        assert!(build(r#"["{name}"]"#, vec![values("name", &[&long])]).is_ok());
        let longer = build(r#"["y{name}"]"#, vec![values("name", &[&long])]);
        assert!(longer.unwrap_err().contains("is longer than the 131071 bytes an argument may have"));
        let all = build(r#"["{many}"]"#, vec![values("many", &[long.as_str(); 15])]);
        assert!(all.unwrap_err().contains("are together longer than"));
    }

    #[test]
    fn boxes_and_outputs_have_parts() {
        let area = BoundingBox { crs: None, lower: vec![-10.5, 40.0], upper: vec![1e6, 50.25] };
        let built = build(
            r#"["{area.minx}", "{area.maxy}", "{area.crs}", "{area}", "{out}", "{out.name}", "{out.format}", "{out.media_type}"]"#,
            vec![("area".into(), vec![Value::BoundingBox(area)])],
        );
        assert_eq!(
            built.unwrap(),
            [
                "-10.5",
                "50.25",
                "EPSG:4326",
                "-10.5,40,1000000,50.25",
                "/w/sub/out.json",
                "out.json",
                "GeoJSON",
                "application/geo+json",
            ]
        );
    }
}
