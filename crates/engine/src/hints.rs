//! What a client says of a value's format, made precise before it is bound.
//!
//! Many clients say too little: nothing, or `text/xml` for GML. Then the content tells. Others say it in words that are as good as
//! those of the description: `application/zip` for a zipped Shapefile. What contradicts the content is left alone: the
//! client's word counts, and reading the value will show.

use anabranch_formats::{Convertible, DETECT_BYTES, detect, meant};
use anabranch_model::description::media_types_match;
use anabranch_model::{
    ComplexDomain, Data, DataDescription, ExecuteRequest, Format, FormatHint, InputData, ProcessDescription,
};
use base64::Engine as _;
use std::io::Read as _;

/// Names of inputs that differ from the described ones in upper and lower case only become those. Some clients write them as the manual
/// of their time did.
fn spell(process: &ProcessDescription, request: &mut ExecuteRequest) {
    for item in request.inputs.iter_mut().filter(|item| process.input(&item.id).is_none()) {
        let mut meant = process.inputs.iter().filter(|input| input.id.eq_ignore_ascii_case(&item.id));
        if let (Some(input), None) = (meant.next(), meant.next()) {
            item.id.clone_from(&input.id);
        }
    }
}

/// Goes through all inputs and outputs of a request. Reads the first bytes of values that lie in files.
pub(crate) fn make_precise(process: &ProcessDescription, request: &mut ExecuteRequest) {
    spell(process, request);
    for item in &mut request.inputs {
        let Some(DataDescription::Complex(domain)) = process.input(&item.id).map(|input| &input.data) else {
            continue;
        };
        let data = &item.data;
        let is_base64 = item.format.encoding.as_deref().is_some_and(|e| e.eq_ignore_ascii_case("base64"));
        precise(&mut item.format, domain, || match data {
            InputData::Text { text, .. } if is_base64 => first_bytes_of_base64(text),
            InputData::Text { text, .. } => text.as_bytes()[..text.len().min(DETECT_BYTES)].to_vec(),
            InputData::Bytes(data) => first_bytes(data),
            InputData::BoundingBox(_) | InputData::Reference(_) => Vec::new(),
        });
    }
    for output in &mut request.outputs {
        if let Some(DataDescription::Complex(domain)) = process.output(&output.id).map(|output| &output.data)
        {
            precise(&mut output.format, domain, Vec::new);
        }
    }
}

/// The same for a value that was fetched, where the server that held it may have said what it is.
pub(crate) fn of_fetched(
    hint: &FormatHint,
    content_type: Option<&str>,
    domain: &ComplexDomain,
    data: &Data,
) -> FormatHint {
    let mut hint = hint.clone();
    precise(&mut hint, domain, || first_bytes(data));
    if hint.media_type.is_none() {
        // Servers often know no more than "octet-stream": what is not described is no hint.
        hint.media_type =
            content_type.filter(|said| described(domain, said).next().is_some()).map(str::to_owned);
        precise(&mut hint, domain, Vec::new);
    }
    hint
}

fn precise(hint: &mut FormatHint, domain: &ComplexDomain, content: impl FnOnce() -> Vec<u8>) {
    if domain.formats.len() == 1 {
        return;
    }
    by_schema(hint, domain);
    let said = hint.media_type.as_deref();
    let fits = |media_type: &str| said.is_none_or(|said| media_types_match(said, media_type));
    let count = said.map_or(usize::MAX, |said| described(domain, said).count());
    if count == 1 {
        return;
    }
    let found = if count > 1 { detect(&content()) } else { None };
    let found = found.filter(|found| fits(found)).and_then(|found| by_any_name(domain, found));
    // Said in other words.
    if let Some(name) =
        found.or_else(|| said.filter(|_| count == 0).and_then(|said| by_any_name(domain, said)))
    {
        hint.media_type = Some(name.to_owned());
    }
}

/// `text/xml` and the schema of a version of GML mean that version, where the description has no `text/xml` of its own.
fn by_schema(hint: &mut FormatHint, domain: &ComplexDomain) {
    let (Some(media_type), Some(schema)) = (&hint.media_type, &hint.schema) else { return };
    if domain.formats.iter().any(|format| format.media_type.eq_ignore_ascii_case(media_type)) {
        return;
    }
    let named = Format { media_type: media_type.clone(), encoding: None, schema: Some(schema.clone()) };
    let meant = meant(&named).media_type;
    if described(domain, &meant).count() == 1 {
        hint.media_type = by_any_name(domain, &meant).map(str::to_owned);
    }
}

/// The described formats of a media type.
fn described<'a>(domain: &'a ComplexDomain, media_type: &'a str) -> impl Iterator<Item = &'a str> {
    let names = domain.formats.iter().map(|format| format.media_type.as_str());
    names.filter(move |name| media_types_match(name, media_type))
}

/// The name under which the description has a format.
fn by_any_name<'a>(domain: &'a ComplexDomain, media_type: &str) -> Option<&'a str> {
    let mut names = domain.formats.iter().map(|format| format.media_type.as_str());
    let meant = Convertible::of(media_type);
    names
        .clone()
        .find(|name| *name == media_type)
        .or_else(|| names.find(|name| meant.is_some() && Convertible::of(name) == meant))
}

fn first_bytes(data: &Data) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What can't be read now is read again, with its error, when it is used.
    if let Ok(reader) = data.open() {
        let _ = reader.take(DETECT_BYTES as u64).read_to_end(&mut bytes);
    }
    bytes
}

fn first_bytes_of_base64(text: &str) -> Vec<u8> {
    let digits = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).take(DETECT_BYTES / 3 * 4);
    let digits: Vec<u8> = digits.collect();
    let whole = digits.len() / 4 * 4;
    base64::engine::general_purpose::STANDARD.decode(&digits[..whole]).unwrap_or_default()
}
