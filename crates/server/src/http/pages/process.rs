//! The page of a process: what it is, and the form that executes it, made from its description.

use super::{Page, kind, metadata_link};
use crate::http::execute_form::{CORNERS, CRS, FILE, FORMAT, LINK, MORE, UNTICKED, UOM, VALUE, name};
use crate::http::form::Fields;
use anabranch_model::{
    AllowedValue, BoundingBoxDomain, ComplexDomain, DataDescription, Fault, InputDescription, LiteralDomain,
    LiteralType, Occurs, OutputDescription, ProcessDescription, Subject,
};
use anabranch_ogc::ogcapi::processes::summary;
use anabranch_ogc::ogcapi::{BaseUrl, Link};
use askama::Template;
use std::sync::Arc;

/// Names of the four numbers of a box, for people: the axes stand in the order of the coordinate reference system.
const CORNER_LABELS: [&str; 4] = ["lower x", "lower y", "upper x", "upper y"];

#[derive(Template)]
#[template(path = "process.html")]
pub(crate) struct ProcessPage {
    page: Page,
    process: Arc<ProcessDescription>,
    /// Where the form is sent.
    action: String,
    metadata: Vec<Link>,
    fields: Vec<InputField>,
    /// What is wrong with what was sent, in the order found.
    faults: Vec<FaultLine>,
    /// Files were sent that have to be chosen again: no browser lets a page fill them in.
    files_lost: bool,
    outputs: Vec<Row>,
    /// Required inputs of the command line.
    example: String,
}

/// A fault in the summary.
struct FaultLine {
    text: String,
    /// The element it is about.
    anchor: Option<String>,
}

/// An output in the table.
struct Row {
    id: String,
    title: String,
    about: String,
    kind: String,
}

/// An input in the form.
struct InputField {
    /// Of its element.
    anchor: String,
    id: String,
    title: String,
    about: String,
    kind: String,
    occurs: String,
    required: bool,
    faults: Vec<String>,
    slots: Vec<Slot>,
    /// The name of the button for one more value.
    more: Option<String>,
}

/// Where one value is given.
struct Slot {
    anchor: String,
    label: String,
    control: Control,
    uoms: Option<Select>,
}

enum Control {
    Line(Line),
    Select(Select),
    Tick { name: String, unticked: String, ticked: bool },
    Corners { numbers: Vec<Number>, crs: Select },
    Data { text_name: String, text: String, file_name: String, link: Line, formats: Option<Select> },
}

/// One line of text of some type.
struct Line {
    name: String,
    kind: &'static str,
    value: String,
    min: Option<String>,
    max: Option<String>,
    step: Option<&'static str>,
    required: bool,
}

struct Number {
    anchor: String,
    name: String,
    label: &'static str,
    value: String,
}

struct Select {
    name: String,
    required: bool,
    choices: Vec<Choice>,
}

struct Choice {
    value: String,
    label: String,
    selected: bool,
}

impl ProcessPage {
    pub(crate) fn new(page: Page, process: Arc<ProcessDescription>, base: &BaseUrl) -> Self {
        let (links, metadata) = {
            let summary = summary(&process, base);
            let metadata = summary.metadata.iter().filter_map(metadata_link).collect();
            (summary.links, metadata)
        };
        let required = process.inputs.iter().filter(|input| input.occurs.min > 0);
        Self {
            page: page.linked(&links),
            action: base.execution(&process.id),
            metadata,
            fields: fields(&process, None, &[]),
            faults: Vec::new(),
            files_lost: false,
            outputs: process.outputs.iter().map(output_row).collect(),
            example: required.map(|input| format!(" -i {}=…", input.id)).collect(),
            process,
        }
    }

    /// With what was typed, and what is wrong with it.
    pub(crate) fn filled_in(mut self, typed: &Fields, faults: &[Fault]) -> Self {
        self.fields = fields(&self.process, Some(typed), faults);
        self.faults = faults
            .iter()
            .map(|fault| {
                let of_input = self.fields.iter().find(|field| is_about(fault, &field.id));
                FaultLine { text: fault.to_string(), anchor: of_input.map(|field| field.anchor.clone()) }
            })
            .collect();
        let files = self.process.inputs.iter().flat_map(|input| typed.files(&name(FILE, &input.id)));
        self.files_lost = files.into_iter().any(|file| !file.is_empty());
        self
    }
}

fn is_about(fault: &Fault, input: &str) -> bool {
    matches!(&fault.subject, Subject::Input(id) if id == input)
}

fn output_row(output: &OutputDescription) -> Row {
    Row {
        id: output.id.clone(),
        title: output.title.clone(),
        about: output.description.clone(),
        kind: kind(&output.data),
    }
}

fn fields(process: &ProcessDescription, typed: Option<&Fields>, faults: &[Fault]) -> Vec<InputField> {
    process.inputs.iter().enumerate().map(|(index, input)| field(index, input, typed, faults)).collect()
}

fn field(index: usize, input: &InputDescription, typed: Option<&Fields>, faults: &[Fault]) -> InputField {
    let anchor = format!("input-{index}");
    let slots: Vec<Slot> = (0..slots(input, typed)).map(|n| slot(&anchor, input, n, typed)).collect();
    let may_have_more = input.occurs.max.is_none_or(|max| slots.len() < max as usize);
    InputField {
        id: input.id.clone(),
        title: input.title.clone(),
        about: input.description.clone(),
        kind: kind(&input.data),
        occurs: match input.occurs {
            Occurs { max: Some(1), .. } => String::new(),
            Occurs { min, max: Some(max) } => format!("{min} to {max} values"),
            Occurs { min, max: None } => format!("{min} or more values"),
        },
        required: input.occurs.min > 0 && !has_default(input),
        faults: faults.iter().filter(|f| is_about(f, &input.id)).map(ToString::to_string).collect(),
        more: may_have_more.then(|| name(MORE, &input.id)),
        slots,
        anchor,
    }
}

fn has_default(input: &InputDescription) -> bool {
    matches!(&input.data, DataDescription::Literal(domain) if domain.default.is_some())
}

/// As many as were sent, one more where asked for; at least as many as are needed.
fn slots(input: &InputDescription, typed: Option<&Fields>) -> usize {
    let needed = usize::try_from(input.occurs.min).unwrap_or(usize::MAX).clamp(1, SLOTS_MAX);
    let Some(typed) = typed else { return needed };
    let sent = [VALUE, CORNERS[0], LINK].map(|what| typed.texts(&name(what, &input.id)).len());
    let sent = sent.into_iter().max().unwrap_or(0);
    let wanted = sent + typed.texts(&name(MORE, &input.id)).len();
    let allowed = input.occurs.max.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
    // What was typed is shown even if it is too much: its fault says so.
    wanted.min(allowed.max(sent)).max(needed)
}

/// Rows of one input on an empty form: more are given one by one; a page of thousands helps nobody.
const SLOTS_MAX: usize = 20;

fn slot(anchor: &str, input: &InputDescription, n: usize, typed: Option<&Fields>) -> Slot {
    let sent =
        |what: &str| typed.map(|typed| typed.texts(&name(what, &input.id)).get(n).copied().unwrap_or(""));
    let required = (n as u64) < u64::from(input.occurs.min) && !has_default(input);
    let anchor = format!("{anchor}-{n}");
    let label = if input.occurs.is_many() {
        format!("{}, value {}", input.title, n + 1)
    } else {
        input.title.clone()
    };
    let mut uoms = None;
    let control = match &input.data {
        DataDescription::Literal(domain) => {
            if domain.uoms.len() > 1 {
                uoms = Some(select(name(UOM, &input.id), false, &domain.uoms, sent(UOM)));
            }
            literal(input, domain, sent(VALUE), required && typed_once(input, typed))
        }
        DataDescription::BoundingBox(domain) => corners(input, domain, &anchor, &sent),
        DataDescription::Complex(domain) => data(input, domain, &sent),
    };
    Slot { anchor, label, control, uoms }
}

/// Where values come several times, an empty row of those needed is no reason for a browser to hold the form back: the server tells.
fn typed_once(input: &InputDescription, typed: Option<&Fields>) -> bool {
    !input.occurs.is_many() || typed.is_none()
}

fn literal(input: &InputDescription, domain: &LiteralDomain, sent: Option<&str>, required: bool) -> Control {
    let name = name(VALUE, &input.id);
    let value = sent.map(str::to_owned).or_else(|| domain.default.clone()).unwrap_or_default();
    let choices: Option<Vec<String>> = domain.allowed.iter().map(exact).collect();
    match choices.filter(|choices| !choices.is_empty()) {
        Some(choices) => return Control::Select(choose(name, required, &choices, &value)),
        None if domain.data_type == LiteralType::Boolean => {
            if input.occurs.is_many() || (domain.default.is_none() && input.occurs.min == 0) {
                let choices = ["true", "false"].map(str::to_owned);
                return Control::Select(choose(name, required, &choices, &value));
            }
            let ticked = matches!(value.as_str(), "true" | "1");
            return Control::Tick { name, unticked: self::name(UNTICKED, &input.id), ticked };
        }
        None => {}
    }
    let (min, max) = match domain.allowed.as_slice() {
        [AllowedValue::Range { minimum, maximum, .. }] => (minimum.clone(), maximum.clone()),
        _ => (None, None),
    };
    let fits = value.is_empty();
    let (kind, step) = match domain.data_type {
        LiteralType::Integer if fits || value.parse::<i64>().is_ok() => ("number", Some("1")),
        LiteralType::Double if fits || is_decimal(&value) => ("number", Some("any")),
        LiteralType::DateTime if fits || is_local(&value) => ("datetime-local", Some("1")),
        LiteralType::Date if fits || value.len() == "2000-01-01".len() => ("date", None),
        LiteralType::Time if fits || is_local(&value) => ("time", Some("1")),
        LiteralType::AnyUri => ("url", None),
        _ => ("text", None),
    };
    let (min, max) = if kind == "text" || kind == "url" { (None, None) } else { (min, max) };
    Control::Line(Line { name, kind, value, min, max, step, required })
}

/// Controls of a type show nothing where the value is not of the type: what was typed is then shown as text.
fn is_decimal(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || c == '-')
        && text.parse::<f64>().is_ok_and(f64::is_finite)
}

/// A time without an offset, which no control for times knows.
fn is_local(text: &str) -> bool {
    let time = text.split_once('T').map_or(text, |(_, time)| time);
    time.chars().all(|c| c.is_ascii_digit() || c == ':' || c == '.')
}

fn exact(allowed: &AllowedValue) -> Option<String> {
    match allowed {
        AllowedValue::Value(value) => Some(value.clone()),
        AllowedValue::Range { .. } => None,
    }
}

/// One of some values, or none.
fn choose(name: String, required: bool, values: &[String], selected: &str) -> Select {
    let label = if required { "choose …" } else { "not given" };
    let mut choices =
        vec![Choice { value: String::new(), label: label.into(), selected: selected.is_empty() }];
    choices.extend(values.iter().map(|value| choice(value, value == selected)));
    if !selected.is_empty() && !values.iter().any(|value| value == selected) {
        choices.push(choice(selected, true));
    }
    Select { name, required, choices }
}

fn choice(value: &str, selected: bool) -> Choice {
    Choice { value: value.to_owned(), label: value.to_owned(), selected }
}

/// One of some values; the first where nothing was sent.
fn select(name: String, required: bool, values: &[String], sent: Option<&str>) -> Select {
    let choices = values.iter().map(|value| choice(value, sent == Some(value.as_str()))).collect();
    Select { name, required, choices }
}

fn corners<'a>(
    input: &InputDescription,
    domain: &BoundingBoxDomain,
    anchor: &str,
    sent: &impl Fn(&str) -> Option<&'a str>,
) -> Control {
    let number = |(corner, label): (&str, &'static str)| Number {
        anchor: format!("{anchor}-{corner}"),
        name: name(corner, &input.id),
        label,
        value: sent(corner).unwrap_or_default().to_owned(),
    };
    Control::Corners {
        numbers: CORNERS.into_iter().zip(CORNER_LABELS).map(number).collect(),
        crs: select(name(CRS, &input.id), false, &domain.crs, sent(CRS)),
    }
}

fn data<'a>(
    input: &InputDescription,
    domain: &ComplexDomain,
    sent: &impl Fn(&str) -> Option<&'a str>,
) -> Control {
    let media_types: Vec<String> = domain.formats.iter().map(|format| format.media_type.clone()).collect();
    let link = Line {
        name: name(LINK, &input.id),
        kind: "url",
        value: sent(LINK).unwrap_or_default().to_owned(),
        min: None,
        max: None,
        step: None,
        required: false,
    };
    Control::Data {
        text_name: name(VALUE, &input.id),
        text: sent(VALUE).unwrap_or_default().to_owned(),
        file_name: name(FILE, &input.id),
        link,
        formats: (media_types.len() > 1).then(|| {
            let mut formats = select(name(FORMAT, &input.id), false, &media_types, sent(FORMAT));
            let by_content = Choice {
                value: String::new(),
                label: "as its content shows".into(),
                selected: sent(FORMAT).is_none_or(str::is_empty),
            };
            formats.choices.insert(0, by_content);
            formats
        }),
    }
}
