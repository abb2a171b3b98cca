//! Execute requests by GET (the class *KVP execute* of the draft of edition 2.0, OGC 18-062r3).
//!
//! ```text
//! input=value                    a literal, text, `minx,miny,maxx,maxy`, or JSON text as in the body of a POST
//! input=a,b   input=a&input=b    several values; a comma within a text is written %2C
//! input[href]=…  input[type]=…   a reference
//! input[value]=…  input[mediaType | encoding | schema | uom | crs]=…
//! output[include]=true           an output; output[mediaType | encoding | schema | transmissionMode]=… its form
//! outputs=a,b                    outputs by name
//! prefer=…  response=raw | document  validate=true  f=json | html
//! ```
//!
//! Inputs have their names before everything else. Of one input all values are taken together, so that what is said in brackets
//! goes for each. Any other name is taken for an input that the process doesn't have. Ignored on purpose: `rel`, `hreflang` and
//! `title` of references. Not taken over from the draft: names without regard to case, which it doubts itself.

use super::execute::{self, Execute, Parts, default_transmission, item};
use super::json;
use super::prefer::Prefer;
use super::query::decode;
use anabranch_model::bind::FAULTS_MAX;
use anabranch_model::{
    DataDescription, Error, Fault, FaultKind, FormatHint, InputData, InputDescription, InputItem,
    LiteralType, OutputRequest, ProcessDescription, Reference, ResponseForm, Subject, TextForm, Transmission,
};
use serde_json::value::RawValue;

/// Longest query, in bytes: proxies and browsers cut addresses from 8 KiB on, and larger inputs go by POST.
pub const QUERY_BYTES_MAX: usize = 16 * 1024;
/// Most parameters of one query: more than any process has inputs, too few to be work.
const PARAMETERS_MAX: usize = 500;
/// What is no input and no output.
const PARAMETERS: [&str; 5] = ["f", "prefer", "response", "outputs", "validate"];
/// Members in brackets that say something of an input.
const INPUT_MEMBERS: [&str; 8] = ["value", "href", "type", "mediaType", "encoding", "schema", "uom", "crs"];
/// Members of references that only people read.
const IGNORED_MEMBERS: [&str; 3] = ["rel", "hreflang", "title"];
/// Members in brackets that say something of an output.
const OUTPUT_MEMBERS: [&str; 6] = ["include", "mediaType", "encoding", "schema", "uom", "transmissionMode"];

/// Parses a query. What the headers prefer comes before what the query prefers.
///
/// # Errors
/// [`Error::Invalid`] with every fault found, each with the input, output or parameter it is about.
pub fn parse(query: &str, process: &ProcessDescription, headers: Prefer) -> Result<Execute, Error> {
    let mut faults = Vec::new();
    let mut read = Read::default();
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    if pairs.clone().count() > PARAMETERS_MAX {
        let rule = format!("must not have more than {PARAMETERS_MAX} parameters");
        return Err(Error::invalid(Fault::new(Subject::Parameter("query".into()), FaultKind::TooMany, rule)));
    }
    for pair in pairs {
        match Pair::parse(pair) {
            Ok(pair) => read.take(pair, process, &mut faults),
            Err(fault) => faults.push(fault),
        }
    }
    let prefer = headers.or(Prefer::parse(read.prefer.iter().map(String::as_str)));
    let mut inputs = read.unknown;
    for given in &read.inputs {
        given.items(process.input(&given.id), &mut inputs, &mut faults);
    }
    let outputs = outputs(read.outputs, process, prefer, read.response, &mut faults);
    if !faults.is_empty() {
        faults.truncate(FAULTS_MAX);
        return Err(Error::Invalid(faults));
    }
    let parts = Parts { inputs, outputs, response: read.response, subscriber: None };
    Ok(execute::whole(process, &prefer, parts))
}

/// `name=value` or `name[member]=value`, the value as written.
struct Pair<'a> {
    name: String,
    member: Option<String>,
    value: &'a str,
}

impl<'a> Pair<'a> {
    fn parse(pair: &'a str) -> Result<Self, Fault> {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let not_text =
            |name: &str| Fault::new(Subject::Parameter(name.into()), FaultKind::Malformed, "must be UTF-8");
        let name = decode(name).ok_or_else(|| not_text(name))?;
        if decode(value).is_none() {
            return Err(not_text(&name));
        }
        let member = name.strip_suffix(']').and_then(|name| name.split_once('['));
        Ok(match member.map(|(name, member)| (name.to_owned(), member.to_owned())) {
            Some((name, member)) => Self { name, member: Some(member), value },
            None => Self { name, member: None, value },
        })
    }

    /// Its value, decoded.
    fn text(&self) -> String {
        decode(self.value).unwrap_or_default()
    }

    /// Its value in parts: commas divide, encoded ones don't.
    fn words(&self) -> impl Iterator<Item = String> {
        self.value.split(',').filter_map(decode)
    }
}

/// What a query says, by what it is about.
#[derive(Default)]
struct Read {
    inputs: Vec<Given>,
    unknown: Vec<InputItem>,
    outputs: Vec<Wanted>,
    prefer: Vec<String>,
    response: Option<ResponseForm>,
}

/// All that is given for one input.
struct Given {
    id: String,
    values: Vec<String>,
    references: Vec<String>,
    format: FormatHint,
    uom: Option<String>,
    crs: Option<String>,
}

/// All that is said of one output.
struct Wanted {
    id: String,
    include: bool,
    format: FormatHint,
    uom: Option<String>,
    transmission: Option<Transmission>,
}

impl Read {
    fn take(&mut self, pair: Pair<'_>, process: &ProcessDescription, faults: &mut Vec<Fault>) {
        let is_of = |members: &[&str]| pair.member.as_deref().is_none_or(|member| members.contains(&member));
        if let Some(input) = process.input(&pair.name)
            && (is_of(&INPUT_MEMBERS) || is_of(&IGNORED_MEMBERS))
        {
            self.given(&pair.name).take(input, &pair);
        } else if process.output(&pair.name).is_some() && pair.member.is_some() && is_of(&OUTPUT_MEMBERS) {
            if let Err(fault) = self.wanted(&pair.name).take(&pair) {
                faults.push(fault);
            }
        } else if pair.member.is_none() && PARAMETERS.contains(&pair.name.as_str()) {
            if let Err(fault) = self.parameter(&pair) {
                faults.push(fault);
            }
        } else if process.input(&pair.name).is_some() || process.output(&pair.name).is_some() {
            let name =
                pair.member.map_or_else(|| pair.name.clone(), |member| format!("{}[{member}]", pair.name));
            let rule = "is no parameter: inputs have [value], [href], [type], [mediaType], [encoding], [schema], [uom] and \
                        [crs]; outputs [include], [mediaType], [encoding], [schema], [uom] and [transmissionMode]";
            faults.push(Fault::new(Subject::Parameter(name), FaultKind::Unknown, rule));
        } else {
            // Binding knows the inputs there are, and names them.
            let text = pair.text();
            self.unknown.push(bare(&pair.name, InputData::Text { text, form: TextForm::Untyped }));
        }
    }

    fn given(&mut self, id: &str) -> &mut Given {
        let place = self.inputs.iter().position(|given| given.id == id).unwrap_or_else(|| {
            self.inputs.push(Given {
                id: id.to_owned(),
                values: Vec::new(),
                references: Vec::new(),
                format: FormatHint::default(),
                uom: None,
                crs: None,
            });
            self.inputs.len() - 1
        });
        &mut self.inputs[place]
    }

    fn wanted(&mut self, id: &str) -> &mut Wanted {
        let place = self.outputs.iter().position(|wanted| wanted.id == id).unwrap_or_else(|| {
            let format = FormatHint::default();
            self.outputs.push(Wanted {
                id: id.to_owned(),
                include: true,
                format,
                uom: None,
                transmission: None,
            });
            self.outputs.len() - 1
        });
        &mut self.outputs[place]
    }

    fn parameter(&mut self, pair: &Pair<'_>) -> Result<(), Fault> {
        match pair.name.as_str() {
            "prefer" => self.prefer.push(pair.text()),
            "outputs" => {
                let text = pair.text();
                if text.split(',').any(str::is_empty) {
                    let subject = Subject::Parameter("outputs".into());
                    let rule =
                        "must name an output, or several with a comma between; without it, all are wanted";
                    return Err(Fault::new(subject, FaultKind::NotAllowed, rule).with_value(text));
                }
                for id in text.split(',') {
                    self.wanted(id).include = true;
                }
            }
            "response" => {
                self.response = Some(match pair.text().as_str() {
                    "raw" => ResponseForm::Raw,
                    "document" => ResponseForm::Document,
                    other => {
                        let subject = Subject::Parameter("response".into());
                        let fault = Fault::new(subject, FaultKind::NotAllowed, "must be raw or document");
                        return Err(fault.with_value(other));
                    }
                });
            }
            // `f` and `validate` are not about what is executed.
            _ => {}
        }
        Ok(())
    }
}

impl Given {
    fn take(&mut self, input: &InputDescription, pair: &Pair<'_>) {
        let text = pair.text();
        match pair.member.as_deref() {
            None if input.occurs.is_many() && is_list(input, &text) => {
                if has_no_comma(input) {
                    self.values.extend(text.split(',').map(str::to_owned));
                } else {
                    self.values.extend(pair.words());
                }
            }
            None | Some("value") => self.values.push(text),
            Some("href") => self.references.push(text),
            Some("type" | "mediaType") => self.format.media_type = Some(text),
            Some("encoding") => self.format.encoding = Some(text),
            Some("schema") => self.format.schema = Some(text),
            Some("uom") => self.uom = Some(text),
            Some("crs") => self.crs = Some(text),
            Some(_) => {}
        }
    }

    /// One item for each value.
    fn items(&self, input: Option<&InputDescription>, items: &mut Vec<InputItem>, faults: &mut Vec<Fault>) {
        let Some(input) = input else { return };
        if self.values.is_empty() && self.references.is_empty() {
            let rule = "needs a value, or an address in [href], beside what is said of it";
            faults.push(Fault::new(Subject::Input(self.id.clone()), FaultKind::Missing, rule));
        }
        let references = self.references.iter().map(|href| InputData::Reference(Reference::get(href)));
        items.extend(references.map(|data| self.qualified(bare(&self.id, data))));
        for text in &self.values {
            match self.value(input, text) {
                Ok(values) => items.extend(values.into_iter().map(|item| self.qualified(item))),
                Err(fault) => faults.push(fault),
            }
        }
    }

    /// JSON text is read as in the body of a POST.
    fn value(&self, input: &InputDescription, text: &str) -> Result<Vec<InputItem>, Fault> {
        if let Some(raw) = json_text(input, text) {
            let values = json::array(raw).filter(|_| input.occurs.is_many()).unwrap_or_else(|| vec![raw]);
            return values.into_iter().map(|raw| item(&self.id, raw, Some(input))).collect();
        }
        let text = match (&input.data, &self.crs) {
            (DataDescription::BoundingBox(_), Some(crs)) => format!("{text},{crs}"),
            _ => text.to_owned(),
        };
        Ok(vec![bare(&self.id, InputData::Text { text, form: TextForm::Untyped })])
    }

    fn qualified(&self, item: InputItem) -> InputItem {
        let format = FormatHint {
            media_type: self.format.media_type.clone().or(item.format.media_type),
            encoding: self.format.encoding.clone().or(item.format.encoding),
            schema: self.format.schema.clone().or(item.format.schema),
        };
        InputItem { format, uom: self.uom.clone().or(item.uom), ..item }
    }
}

/// No value of it has a comma, so that encoded ones divide too: many clients encode all of them.
fn has_no_comma(input: &InputDescription) -> bool {
    let is_text = |data_type| matches!(data_type, LiteralType::String | LiteralType::AnyUri);
    matches!(&input.data, DataDescription::Literal(domain) if !is_text(domain.data_type))
}

/// Commas divide it into values: those of boxes and of JSON don't.
fn is_list(input: &InputDescription, text: &str) -> bool {
    !matches!(input.data, DataDescription::BoundingBox(_)) && json_text(input, text).is_none()
}

/// An object or array of JSON, where the input may be one.
fn json_text<'a>(input: &InputDescription, text: &'a str) -> Option<&'a RawValue> {
    let is_string =
        matches!(&input.data, DataDescription::Literal(domain) if domain.data_type == LiteralType::String);
    let begins = text.trim_start().starts_with(['{', '[']);
    if is_string || !begins || !json::depth_is_allowed(text) {
        return None;
    }
    let raw: &RawValue = serde_json::from_str(text).ok()?;
    let is_data = raw.get().starts_with('{') || input.occurs.is_many();
    // One array for complex data that takes one value is that value.
    is_data.then_some(raw)
}

fn bare(id: &str, data: InputData) -> InputItem {
    InputItem { id: id.to_owned(), data, format: FormatHint::default(), data_type: None, uom: None }
}

impl Wanted {
    fn take(&mut self, pair: &Pair<'_>) -> Result<(), Fault> {
        let text = pair.text();
        let wrong = |rule: &str| {
            let subject = Subject::Output(pair.name.clone());
            Err(Fault::new(subject, FaultKind::NotAllowed, rule).with_value(&text))
        };
        match (pair.member.as_deref(), text.as_str()) {
            (Some("include"), "true") => self.include = true,
            (Some("include"), "false") => self.include = false,
            (Some("include"), _) => return wrong("must have [include]=true or [include]=false"),
            (Some("transmissionMode"), "value") => self.transmission = Some(Transmission::Value),
            (Some("transmissionMode"), "reference") => self.transmission = Some(Transmission::Reference),
            (Some("transmissionMode"), _) => {
                return wrong("must have the transmissionMode value or reference");
            }
            (Some("mediaType"), _) => self.format.media_type = Some(text),
            (Some("encoding"), _) => self.format.encoding = Some(text),
            (Some("schema"), _) => self.format.schema = Some(text),
            (Some("uom"), _) => self.uom = Some(text),
            _ => {}
        }
        Ok(())
    }
}

/// Those included; where some are only excluded, all others.
fn outputs(
    mut wanted: Vec<Wanted>,
    process: &ProcessDescription,
    prefer: Prefer,
    response: Option<ResponseForm>,
    faults: &mut Vec<Fault>,
) -> Vec<OutputRequest> {
    if !wanted.is_empty() && wanted.iter().all(|wanted| !wanted.include) {
        let excluded: Vec<_> = wanted.drain(..).map(|wanted| wanted.id).collect();
        let others = process.outputs.iter().filter(|output| !excluded.contains(&output.id));
        wanted.extend(others.map(|output| Wanted {
            id: output.id.clone(),
            include: true,
            format: FormatHint::default(),
            uom: None,
            transmission: None,
        }));
        if wanted.is_empty() {
            let rule = "must be included, or another output: the request would have none";
            let output = excluded.first().cloned().unwrap_or_default();
            faults.push(Fault::new(Subject::Output(output), FaultKind::NotAllowed, rule));
        }
    }
    let included = wanted.into_iter().filter(|wanted| wanted.include);
    let request = |wanted: Wanted| OutputRequest {
        transmission: wanted
            .transmission
            .unwrap_or_else(|| default_transmission(process, &wanted.id, &prefer, response)),
        id: wanted.id,
        format: wanted.format,
        uom: wanted.uom,
    };
    included.map(request).collect()
}

/// For fuzzing: any query may be refused, none may panic.
#[doc(hidden)]
pub fn fuzz(query: &str, process: &ProcessDescription) {
    let _refused = parse(query, process, Prefer::default());
}

#[cfg(test)]
mod tests;
