//! Binding: an execute request against a description, once, with all faults in one answer.
//!
//! Accepted on purpose: surrounding white space of literals that are no strings, `1`/`0` for booleans, numbers given as JSON
//! strings (WPS has no other way). Refused on purpose: a JSON number or boolean for a string, a JSON object for a literal.

use crate::description::{
    AllowedValue, BoundingBoxDomain, ComplexDomain, DataDescription, Format, InputDescription, LiteralDomain,
    LiteralType, OutputDescription, ProcessDescription, RangeClosure, media_types_match,
};
use crate::error::{Error, Fault, FaultKind, Subject};
use crate::group::GroupDescription;
use crate::request::{
    ExecuteRequest, ExecutionMode, FormatHint, InputData, InputItem, OutputRequest, Reference, ResponseForm,
    TextForm, Transmission,
};
use crate::value::{BoundingBox, ComplexValue, Data, Inputs, LiteralValue, Value};
use base64::Engine as _;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// Most faults listed in one answer: enough to mend a request, too few to fill a log.
pub const FAULTS_MAX: usize = 50;

/// A request that fits its process: only references are left to be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoundRequest {
    /// Every input that has values, in the order of the description.
    pub inputs: Vec<(String, Vec<BoundValue>)>,
    /// Outputs asked for, formats resolved; all outputs where the request named none.
    pub outputs: Vec<OutputRequest>,
}

/// A value, or where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BoundValue {
    /// At hand.
    Value(Value),
    /// To be read when the job starts.
    Reference {
        /// Where it is.
        reference: Reference,
        /// The format the client says it has.
        format: FormatHint,
    },
}

impl BoundRequest {
    /// The inputs, where no reference is left.
    #[must_use]
    pub fn into_inputs(self) -> Option<Inputs> {
        let inputs = self.inputs.into_iter().map(|(id, values)| {
            let values = values.into_iter().map(|value| match value {
                BoundValue::Value(value) => Some(value),
                BoundValue::Reference { .. } => None,
            });
            Some((id, values.collect::<Option<Vec<_>>>()?))
        });
        Some(Inputs::new(inputs.collect::<Option<Vec<_>>>()?))
    }
}

/// Checks a request against the description of its process: cardinality, types, formats, allowed values, outputs, mode.
///
/// # Errors
/// [`Error::NoSuchMode`], or [`Error::Invalid`] with every fault (at most [`FAULTS_MAX`]).
pub fn bind(process: &ProcessDescription, request: &ExecuteRequest) -> Result<BoundRequest, Error> {
    check_mode(process, request.mode)?;
    let mut faults = Vec::new();
    for item in &request.inputs {
        if process.input(&item.id).is_none() {
            faults.push(unknown_input(process, &item.id));
        }
    }
    check_groups(process, request, &mut faults);
    let mut inputs = Vec::new();
    for description in &process.inputs {
        let given: Vec<_> = request.inputs.iter().filter(|item| item.id == description.id).collect();
        let values = bind_input(description, &given, &mut faults);
        if !values.is_empty() {
            inputs.push((description.id.clone(), values));
        }
    }
    let outputs = bind_outputs(process, request, &mut faults);
    if faults.is_empty() {
        return Ok(BoundRequest { inputs, outputs });
    }
    faults.truncate(FAULTS_MAX);
    Err(Error::Invalid(faults))
}

/// Makes a value of bytes that were read from a reference.
///
/// # Errors
/// The fault, where the bytes are no value of that input.
pub fn bind_fetched(input: &InputDescription, data: Data, format: &FormatHint) -> Result<Value, Fault> {
    match &input.data {
        DataDescription::Complex(domain) => {
            let format = resolve_format(&Subject::Input(input.id.clone()), domain, format)?;
            complex_value(input, domain, data, format)
        }
        DataDescription::Literal(_) | DataDescription::BoundingBox(_) => {
            let bytes = data
                .read_all(LITERAL_BYTES_MAX)
                .map_err(|error| malformed(input, format!("can't be read as text: {error}"), ""))?;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let item = InputItem {
                id: input.id.clone(),
                data: InputData::Text { text, form: TextForm::Untyped },
                format: FormatHint::default(),
                data_type: None,
                uom: None,
            };
            match bind_value(input, &item)? {
                BoundValue::Value(value) => Ok(value),
                BoundValue::Reference { .. } => {
                    Err(malformed(input, "must not be a reference to a reference", ""))
                }
            }
        }
    }
}

/// Longest literal read from a reference, in bytes: literals are numbers, names and dates.
pub const LITERAL_BYTES_MAX: u64 = 1 << 20;

fn check_mode(process: &ProcessDescription, mode: ExecutionMode) -> Result<(), Error> {
    let refused = match mode {
        ExecutionMode::Sync if !process.sync_execute => "synchronously",
        ExecutionMode::Async if !process.async_execute => "asynchronously",
        ExecutionMode::Sync | ExecutionMode::Async | ExecutionMode::Auto => return Ok(()),
    };
    Err(Error::NoSuchMode { process: process.id.clone(), mode: refused.into() })
}

fn unknown<'a>(subject: Subject, known: impl Iterator<Item = &'a str>) -> Fault {
    let known: Vec<_> = known.collect();
    let rule = if known.is_empty() {
        "is unknown: the process has none".to_owned()
    } else {
        format!("is unknown: the process has {}", known.join(", "))
    };
    Fault::new(subject, FaultKind::Unknown, rule)
}

fn unknown_input(process: &ProcessDescription, id: &str) -> Fault {
    let subject = Subject::Input(id.to_owned());
    match process.group(id) {
        Some(_group) => Fault::new(subject, FaultKind::Malformed, "is a group: its members have values"),
        None => unknown(subject, process.inputs.iter().map(|input| input.id.as_str())),
    }
}

/// Groups of which a part is given need what they say they need.
fn check_groups(process: &ProcessDescription, request: &ExecuteRequest, faults: &mut Vec<Fault>) {
    let is_given = |id: &str| request.inputs.iter().any(|item| item.id == id);
    for group in process.groups.iter().filter(|group| request.inputs.iter().any(|item| group.holds(&item.id)))
    {
        for missing in group.needs.iter().filter(|id| !is_given(id)) {
            let rule = format!("is required with the other inputs of '{}'", group.id);
            faults.push(Fault::new(Subject::Input(missing.clone()), FaultKind::Missing, rule));
        }
    }
}

fn bind_input(
    description: &InputDescription,
    given: &[&InputItem],
    faults: &mut Vec<Fault>,
) -> Vec<BoundValue> {
    let subject = || Subject::Input(description.id.clone());
    if given.is_empty() {
        let default = match &description.data {
            DataDescription::Literal(domain) => {
                domain.default.clone().map(|text| literal(domain, text, None))
            }
            DataDescription::BoundingBox(_) | DataDescription::Complex(_) => None,
        };
        if default.is_none() && description.occurs.min > 0 {
            faults.push(Fault::new(subject(), FaultKind::Missing, "is required"));
        }
        return default.map(|value| BoundValue::Value(Value::Literal(value))).into_iter().collect();
    }
    let count = u32::try_from(given.len()).unwrap_or(u32::MAX);
    if count < description.occurs.min {
        let rule = format!("needs at least {} values, {count} given", description.occurs.min);
        faults.push(Fault::new(subject(), FaultKind::Missing, rule));
    }
    if let Some(max) = description.occurs.max.filter(|max| count > *max) {
        let rule =
            format!("takes at most {max} {}, {count} given", if max == 1 { "value" } else { "values" });
        faults.push(Fault::new(subject(), FaultKind::TooMany, rule));
    }
    let mut values = Vec::with_capacity(given.len());
    for item in given {
        match bind_value(description, item) {
            Ok(value) => values.push(value),
            Err(fault) => faults.push(fault),
        }
    }
    values
}

fn bind_value(input: &InputDescription, item: &InputItem) -> Result<BoundValue, Fault> {
    if let InputData::Reference(reference) = &item.data {
        if let DataDescription::Complex(domain) = &input.data {
            resolve_format(&Subject::Input(input.id.clone()), domain, &item.format)?;
        }
        return Ok(BoundValue::Reference { reference: reference.clone(), format: item.format.clone() });
    }
    let value = match &input.data {
        DataDescription::Literal(domain) => Value::Literal(bind_literal(input, domain, item)?),
        DataDescription::BoundingBox(domain) => Value::BoundingBox(bind_bounding_box(input, domain, item)?),
        DataDescription::Complex(domain) => bind_complex(input, domain, item)?,
    };
    Ok(BoundValue::Value(value))
}

fn malformed(input: &InputDescription, rule: impl Into<String>, value: &str) -> Fault {
    let fault = Fault::new(Subject::Input(input.id.clone()), FaultKind::Malformed, rule);
    if value.is_empty() { fault } else { fault.with_value(value) }
}

fn literal(domain: &LiteralDomain, text: String, uom: Option<String>) -> LiteralValue {
    LiteralValue { text, data_type: domain.data_type, uom: uom.or_else(|| domain.uoms.first().cloned()) }
}

fn bind_literal(
    input: &InputDescription,
    domain: &LiteralDomain,
    item: &InputItem,
) -> Result<LiteralValue, Fault> {
    let subject = || Subject::Input(input.id.clone());
    let InputData::Text { text, form } = &item.data else {
        return Err(malformed(input, format!("must be a literal of type {}", domain.data_type.name()), ""));
    };
    if let Some(named) = &item.data_type
        && LiteralType::from_name(named).is_some_and(|t| t != domain.data_type && t != LiteralType::String)
        && !(domain.data_type == LiteralType::Double
            && LiteralType::from_name(named) == Some(LiteralType::Integer))
    {
        let rule = format!("has the type {}", domain.data_type.name());
        return Err(Fault::new(subject(), FaultKind::Malformed, rule).with_value(named));
    }
    if let Some(uom) = item.uom.as_ref().filter(|uom| !domain.uoms.contains(uom)) {
        let rule = if domain.uoms.is_empty() {
            "has no unit of measure".into()
        } else {
            format!("has the unit of measure {}", domain.uoms.join(" or "))
        };
        return Err(Fault::new(subject(), FaultKind::Unsupported, rule).with_value(uom));
    }
    let text = lexical(domain.data_type, text, *form).map_err(|rule| malformed(input, rule, text))?;
    if !domain.allowed.is_empty()
        && !domain.allowed.iter().any(|allowed| allows(allowed, domain.data_type, &text))
    {
        let rule = format!("must be {}", allowed_text(&domain.allowed));
        return Err(Fault::new(subject(), FaultKind::NotAllowed, rule).with_value(text));
    }
    Ok(literal(domain, text, item.uom.clone()))
}

/// Checks the lexical form and gives the canonical one, or the rule that is broken.
fn lexical(data_type: LiteralType, text: &str, form: TextForm) -> Result<String, String> {
    let article = if matches!(data_type, LiteralType::Integer | LiteralType::AnyUri) { "an" } else { "a" };
    let rule = || format!("must be {article} {}", data_type.name());
    let fits = match form {
        TextForm::Json => false,
        TextForm::JsonNumber => matches!(data_type, LiteralType::Integer | LiteralType::Double),
        TextForm::JsonBoolean => data_type == LiteralType::Boolean,
        TextForm::Untyped | TextForm::Xml | TextForm::JsonString => true,
    };
    if !fits {
        return Err(rule());
    }
    let trimmed = text.trim();
    let valid = match data_type {
        LiteralType::String => {
            if text.contains('\0') {
                return Err("must not hold NUL characters".into());
            }
            return Ok(text.to_owned());
        }
        LiteralType::Boolean => match trimmed {
            "true" | "1" => return Ok("true".into()),
            "false" | "0" => return Ok("false".into()),
            _ => false,
        },
        LiteralType::Integer => return integer(trimmed).map(|n| n.to_string()).ok_or_else(rule),
        LiteralType::Double => return double(trimmed).then(|| trimmed.to_owned()).ok_or_else(rule),
        LiteralType::DateTime => {
            trimmed.parse::<jiff::Timestamp>().is_ok()
                || (trimmed.contains(['T', 't']) && trimmed.parse::<jiff::civil::DateTime>().is_ok())
        }
        LiteralType::Date => trimmed.parse::<jiff::civil::Date>().is_ok(),
        LiteralType::Time => trimmed.trim_end_matches('Z').parse::<jiff::civil::Time>().is_ok(),
        LiteralType::AnyUri => {
            !trimmed.is_empty()
                && !trimmed
                    .contains(|c: char| c.is_whitespace() || c.is_control() || "<>\"{}|\\^`".contains(c))
        }
    };
    if valid { Ok(trimmed.to_owned()) } else { Err(rule()) }
}

fn integer(text: &str) -> Option<i64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    // JSON knows no integers: 5.0 and 5e2 are whole numbers too.
    text.parse().ok().or_else(|| {
        let number: f64 = text.parse().ok()?;
        #[allow(clippy::cast_possible_truncation)] // the bound is below 2^53, where doubles are exact
        (number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0).then_some(number as i64)
    })
}

/// A finite decimal number, or `INF`, `-INF`, `NaN` as XML Schema spells them; Rust's own spellings are refused.
fn double(text: &str) -> bool {
    matches!(text, "INF" | "-INF" | "NaN")
        || (text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
            && !text.to_ascii_lowercase().contains("in")
            && !text.to_ascii_lowercase().contains("na")
            && text.parse::<f64>().is_ok_and(f64::is_finite))
}

fn allows(allowed: &AllowedValue, data_type: LiteralType, text: &str) -> bool {
    match allowed {
        AllowedValue::Value(value) => compare(data_type, text, value) == Some(Ordering::Equal),
        AllowedValue::Range { minimum, maximum, closure } => {
            let (low_in, high_in) = match closure {
                RangeClosure::Closed => (true, true),
                RangeClosure::Open => (false, false),
                RangeClosure::OpenClosed => (false, true),
                RangeClosure::ClosedOpen => (true, false),
            };
            let above = minimum.as_ref().is_none_or(|min| match compare(data_type, text, min) {
                Some(Ordering::Greater) => true,
                Some(Ordering::Equal) => low_in,
                Some(Ordering::Less) | None => false,
            });
            let below = maximum.as_ref().is_none_or(|max| match compare(data_type, text, max) {
                Some(Ordering::Less) => true,
                Some(Ordering::Equal) => high_in,
                Some(Ordering::Greater) | None => false,
            });
            above && below
        }
    }
}

fn compare(data_type: LiteralType, a: &str, b: &str) -> Option<Ordering> {
    match data_type {
        LiteralType::Integer => Some(integer(a)?.cmp(&integer(b)?)),
        LiteralType::Double => number(a)?.partial_cmp(&number(b)?),
        LiteralType::DateTime => match (a.parse::<jiff::Timestamp>(), b.parse::<jiff::Timestamp>()) {
            (Ok(a), Ok(b)) => Some(a.cmp(&b)),
            _ => Some(a.cmp(b)),
        },
        LiteralType::String
        | LiteralType::Boolean
        | LiteralType::Date
        | LiteralType::Time
        | LiteralType::AnyUri => Some(a.cmp(b)),
    }
}

fn number(text: &str) -> Option<f64> {
    match text {
        "INF" => Some(f64::INFINITY),
        "-INF" => Some(f64::NEG_INFINITY),
        _ => text.parse().ok(),
    }
}

fn allowed_text(allowed: &[AllowedValue]) -> String {
    let texts = allowed.iter().map(|allowed| match allowed {
        AllowedValue::Value(value) => value.clone(),
        AllowedValue::Range { minimum, maximum, closure } => {
            let (from, to) = match closure {
                RangeClosure::Closed => ("at least", "at most"),
                RangeClosure::Open => ("above", "below"),
                RangeClosure::OpenClosed => ("above", "at most"),
                RangeClosure::ClosedOpen => ("at least", "below"),
            };
            match (minimum, maximum) {
                (Some(min), Some(max)) => format!("{from} {min} and {to} {max}"),
                (Some(min), None) => format!("{from} {min}"),
                (None, Some(max)) => format!("{to} {max}"),
                (None, None) => "anything".into(),
            }
        }
    });
    texts.collect::<Vec<_>>().join(" or ")
}

fn bind_bounding_box(
    input: &InputDescription,
    domain: &BoundingBoxDomain,
    item: &InputItem,
) -> Result<BoundingBox, Fault> {
    let bounding_box = match &item.data {
        InputData::BoundingBox(bounding_box) => bounding_box.clone(),
        InputData::Text { text, form: TextForm::Untyped | TextForm::JsonString } => {
            parse_kvp_box(text).ok_or_else(|| malformed(input, "must be minx,miny,maxx,maxy[,crs]", text))?
        }
        InputData::Text { text, .. } => return Err(malformed(input, "must be a bounding box", text)),
        InputData::Bytes(_) | InputData::Reference(_) => {
            return Err(malformed(input, "must be a bounding box", ""));
        }
    };
    let (lower, upper) = (&bounding_box.lower, &bounding_box.upper);
    if lower.len() != upper.len() || !(2..=3).contains(&lower.len()) {
        let value = format!("{} and {}", lower.len(), upper.len());
        return Err(malformed(input, "must have corners of 2 or 3 coordinates each", &value));
    }
    if let Some(bad) = lower.iter().chain(upper).find(|number| !number.is_finite()) {
        return Err(malformed(input, "must have finite coordinates", &bad.to_string()));
    }
    // The first axis of a geographic box may cross the antimeridian; the second may not turn over.
    if lower[1] > upper[1] && lower[0] > upper[0] {
        return Err(malformed(
            input,
            "must have its lower corner below its upper corner",
            &format!("{lower:?} to {upper:?}"),
        ));
    }
    if let Some(crs) =
        bounding_box.crs.as_ref().filter(|crs| !domain.crs.iter().any(|known| same_crs(known, crs)))
    {
        let rule = format!("must be in the CRS {}", domain.crs.join(" or "));
        return Err(
            Fault::new(Subject::Input(input.id.clone()), FaultKind::Unsupported, rule).with_value(crs)
        );
    }
    Ok(bounding_box)
}

/// WPS 1.0.0 §10.1: `minx,miny[,minz],maxx,maxy[,maxz][,crs[,dimensions]]`.
fn parse_kvp_box(text: &str) -> Option<BoundingBox> {
    let parts: Vec<_> = text.split(',').map(str::trim).collect();
    let numbers: Vec<f64> = parts.iter().map_while(|part| part.parse().ok()).collect();
    let count = match numbers.len() {
        4 | 5 => 4,
        6 | 7 => 6,
        _ => return None,
    };
    let crs = parts.get(count).map(|crs| (*crs).to_owned());
    if parts.len() > count + 2 {
        return None;
    }
    let (lower, upper) = numbers[..count].split_at(count / 2);
    Some(BoundingBox { crs, lower: lower.to_vec(), upper: upper.to_vec() })
}

/// `EPSG:4326`, `urn:ogc:def:crs:EPSG::4326` and `http://www.opengis.net/def/crs/EPSG/0/4326` name one thing.
fn same_crs(a: &str, b: &str) -> bool {
    fn key(crs: &str) -> String {
        let upper = crs.to_ascii_uppercase();
        let parts: Vec<_> = upper.split([':', '/', '#']).filter(|part| !part.is_empty()).collect();
        match (parts.iter().find(|p| matches!(**p, "EPSG" | "OGC" | "CRS")), parts.last()) {
            (Some(_), Some(code)) => {
                format!(
                    "{}:{code}",
                    if parts.contains(&"EPSG") || upper.contains("EPSG") { "EPSG" } else { "OGC" }
                )
            }
            _ => upper.clone(),
        }
    }
    a == b || key(a) == key(b)
}

/// What a client sends as characters is base64: it says so, or the format that it means is binary. Elements are not characters, and base64
/// only where it is said.
#[must_use]
pub fn is_base64(domain: &ComplexDomain, hint: &FormatHint) -> bool {
    // A format that the process does not have is refused by binding, whatever was sent.
    is_base64_said(hint)
        || resolve_format(&Subject::Input(String::new()), domain, hint).is_ok_and(|format| format.is_binary())
}

fn is_base64_said(hint: &FormatHint) -> bool {
    hint.encoding.as_deref().is_some_and(|encoding| encoding.eq_ignore_ascii_case("base64"))
}

fn bind_complex(input: &InputDescription, domain: &ComplexDomain, item: &InputItem) -> Result<Value, Fault> {
    let format = resolve_format(&Subject::Input(input.id.clone()), domain, &item.format)?;
    let data = match &item.data {
        InputData::Bytes(data) => data.clone(),
        InputData::Text { text, form } => {
            let in_string = matches!(form, TextForm::Untyped | TextForm::JsonString);
            if is_base64_said(&item.format) || (in_string && format.is_binary()) {
                decode_base64(text).ok_or_else(|| malformed(input, "must be base64", text))?
            } else if format.is_binary() && *form != TextForm::Xml {
                return Err(malformed(input, "must be base64 in a string", text));
            } else if matches!(form, TextForm::Json | TextForm::JsonNumber | TextForm::JsonBoolean)
                && !domain.formats.iter().any(Format::is_json)
            {
                return Err(malformed(input, "must be a string: none of its formats is JSON", text));
            } else {
                Data::Bytes(text.clone().into())
            }
        }
        InputData::BoundingBox(_) | InputData::Reference(_) => {
            return Err(malformed(input, "must be complex data", ""));
        }
    };
    complex_value(input, domain, data, format)
}

fn complex_value(
    input: &InputDescription,
    domain: &ComplexDomain,
    data: Data,
    format: Format,
) -> Result<Value, Fault> {
    if let Some(max) = domain.bytes_max.filter(|max| data.len() > *max) {
        let rule = format!("must be at most {max} bytes");
        let fault = Fault::new(Subject::Input(input.id.clone()), FaultKind::TooLarge, rule);
        return Err(fault.with_value(data.len().to_string()));
    }
    Ok(Value::Complex(ComplexValue::new(data, format)))
}

/// Base64 as people write it: with line breaks, with or without padding.
fn decode_base64(text: &str) -> Option<Data> {
    let indifferent = base64::engine::GeneralPurposeConfig::new()
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent);
    let engine = base64::engine::GeneralPurpose::new(&base64::alphabet::STANDARD, indifferent);
    let compact: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    engine.decode(compact).ok().map(|bytes| Data::Bytes(bytes.into()))
}

/// The described format that a hint means.
fn resolve_format(subject: &Subject, domain: &ComplexDomain, hint: &FormatHint) -> Result<Format, Fault> {
    let fits = |format: &&Format| {
        hint.media_type.as_ref().is_none_or(|wanted| media_types_match(&format.media_type, wanted))
            && hint
                .schema
                .as_ref()
                .is_none_or(|wanted| format.schema.as_ref().is_none_or(|schema| schema == wanted))
    };
    let encoding_known = hint.encoding.as_deref().is_none_or(|encoding| {
        ["base64", "utf-8", "utf8", "us-ascii", "binary", "raw", ""]
            .iter()
            .any(|known| encoding.eq_ignore_ascii_case(known))
    });
    if encoding_known && let Some(format) = domain.formats.iter().find(fits) {
        return Ok(format.clone());
    }
    let supported: Vec<_> = domain.formats.iter().map(|format| format.media_type.as_str()).collect();
    let asked = [&hint.media_type, &hint.encoding, &hint.schema];
    let asked: Vec<_> = asked.into_iter().flatten().map(String::as_str).collect();
    Err(Fault::new(
        subject.clone(),
        FaultKind::Unsupported,
        format!("has the formats {}", supported.join(", ")),
    )
    .with_value(asked.join(" ")))
}

fn bind_outputs(
    process: &ProcessDescription,
    request: &ExecuteRequest,
    faults: &mut Vec<Fault>,
) -> Vec<OutputRequest> {
    let mut outputs: Vec<OutputRequest> = Vec::new();
    for asked in request.outputs.iter().flat_map(|asked| members(process, asked)) {
        let Some(description) = process.output(&asked.id) else {
            faults.push(unknown(
                Subject::Output(asked.id.clone()),
                process.outputs.iter().map(|o| o.id.as_str()),
            ));
            continue;
        };
        if outputs.iter().any(|output| output.id == asked.id) {
            faults.push(Fault::new(
                Subject::Output(asked.id.clone()),
                FaultKind::TooMany,
                "is asked for twice",
            ));
            continue;
        }
        match resolve_output(description, &asked) {
            Ok(output) => outputs.push(output),
            Err(fault) => faults.push(fault),
        }
    }
    if request.outputs.is_empty() {
        outputs.extend(process.outputs.iter().map(default_output));
    } else if request.response == ResponseForm::Raw && request.outputs.len() > 1 && request.lineage {
        faults.push(Fault::new(
            Subject::Parameter("lineage".into()),
            FaultKind::NotAllowed,
            "goes with document responses only",
        ));
    }
    outputs
}

/// Whoever asks for a group asks for all that it holds.
fn members(process: &ProcessDescription, asked: &OutputRequest) -> Vec<OutputRequest> {
    let held = |group: &GroupDescription| {
        let held = process.outputs.iter().filter(|output| group.holds(&output.id));
        held.map(|output| OutputRequest { id: output.id.clone(), ..asked.clone() }).collect()
    };
    let held: Vec<_> = process.group(&asked.id).map(held).unwrap_or_default();
    if held.is_empty() { vec![asked.clone()] } else { held }
}

fn default_output(description: &OutputDescription) -> OutputRequest {
    let format = match &description.data {
        DataDescription::Complex(domain) => domain.formats.first().map(hint_of).unwrap_or_default(),
        DataDescription::Literal(_) | DataDescription::BoundingBox(_) => FormatHint::default(),
    };
    OutputRequest { id: description.id.clone(), format, transmission: Transmission::Value, uom: None }
}

fn hint_of(format: &Format) -> FormatHint {
    FormatHint {
        media_type: Some(format.media_type.clone()),
        encoding: format.encoding.clone(),
        schema: format.schema.clone(),
    }
}

fn resolve_output(description: &OutputDescription, asked: &OutputRequest) -> Result<OutputRequest, Fault> {
    let subject = Subject::Output(description.id.clone());
    let format = match &description.data {
        DataDescription::Complex(domain) => {
            let mut format = hint_of(&resolve_format(&subject, domain, &asked.format)?);
            // How it travels is the client's choice: base64 of text is allowed.
            format.encoding = asked.format.encoding.clone().or(format.encoding);
            format
        }
        DataDescription::Literal(_) | DataDescription::BoundingBox(_) => asked.format.clone(),
    };
    if let (Some(uom), DataDescription::Literal(domain)) = (&asked.uom, &description.data)
        && !domain.uoms.contains(uom)
    {
        let rule = format!("has the units of measure {}", domain.uoms.join(", "));
        return Err(Fault::new(subject, FaultKind::Unsupported, rule).with_value(uom));
    }
    Ok(OutputRequest { format, ..asked.clone() })
}

#[cfg(test)]
mod tests;
