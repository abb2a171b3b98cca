//! Parts of inputs that Execute requests of both versions write the same way.

use super::unexpected;
use crate::ows::ExceptionReport;
use crate::spool::{Characters, is_base64};
use crate::xml::{Content, Element, Payload, Reader, XLINK};
use anabranch_model::{BoundingBox, FormatHint, HttpMethod, InputData, Reference, ReferenceBody, TextForm};

/// `None` where it is absent or empty.
pub(crate) fn owned(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The attributes of a format, as far as they are there.
pub(crate) fn format_hint(element: &Element) -> FormatHint {
    FormatHint {
        media_type: owned(element.attribute("mimeType")),
        encoding: owned(element.attribute("encoding")),
        schema: owned(element.attribute("schema")),
    }
}

/// The input whose value is read. The process is known where it is named before its inputs, as the schemas want it.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) process: Option<&'a str>,
    /// Empty where it is not known yet.
    pub(crate) input: &'a str,
}

/// What an input's element holds: its characters or elements, or a file with its data where they are large. Where it begins with one of
/// the elements `of_protocol`, which have a meaning of their own, it is never a file.
pub(crate) fn payload(
    place: Place<'_>,
    format: &FormatHint,
    of_protocol: &[(&str, &str)],
    reader: &mut Reader<'_>,
) -> Result<Payload, ExceptionReport> {
    let characters = match place {
        Place { process: Some(process), input } if !input.is_empty() => {
            reader.characters(process, input, format)
        }
        Place { .. } => Characters::Held,
    };
    Ok(match reader.payload(characters, of_protocol)? {
        Payload::Spooled { is_xml: true, .. } if is_base64(format) => {
            Payload::Broken("must be base64: it has elements".into())
        }
        payload => payload,
    })
}

/// A payload as the data of an input, or the rule it breaks.
pub(crate) fn input_data(payload: Payload) -> Result<InputData, String> {
    match payload {
        Payload::Held(Content::Text(text)) => Ok(InputData::Text { text, form: TextForm::Untyped }),
        Payload::Held(Content::Xml(text)) => Ok(InputData::Text { text, form: TextForm::Xml }),
        Payload::Spooled { data, .. } => Ok(InputData::Bytes(data)),
        Payload::Broken(rule) => Err(rule),
    }
}

/// OWS Common 1.1 §10.2, and the same in 2.0; how many numbers are allowed is checked by binding.
pub(crate) fn bounding_box(
    element: &Element,
    reader: &mut Reader<'_>,
) -> Result<Result<BoundingBox, String>, ExceptionReport> {
    let (mut lower, mut upper, mut broken) = (None, None, None);
    while let Some(child) = reader.child()? {
        let text = reader.text()?;
        let corner = match child.name.as_str() {
            "LowerCorner" => &mut lower,
            "UpperCorner" => &mut upper,
            _ => return Err(unexpected(&child, "BoundingBoxData")),
        };
        match text.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>() {
            Ok(numbers) => *corner = Some(numbers),
            Err(_no_number) => broken = Some(format!("must have numbers in {}, not {text:?}", child.name)),
        }
    }
    Ok(match (lower, upper, broken) {
        (_, _, Some(rule)) => Err(rule),
        (Some(lower), Some(upper), None) => {
            Ok(BoundingBox { crs: owned(element.attribute("crs")), lower, upper })
        }
        _ => Err("must have a LowerCorner and an UpperCorner".into()),
    })
}

/// `InputReferenceType` (WPS 1.0.0 §10.1, table 52). `ReferenceType` of WPS 2.0 has neither headers nor a method: a body makes
/// it a POST there, which is the caller's business.
pub(crate) fn reference(
    element: &Element,
    reader: &mut Reader<'_>,
) -> Result<Result<Reference, String>, ExceptionReport> {
    let (mut headers, mut body) = (Vec::new(), None);
    while let Some(child) = reader.child()? {
        match child.name.as_str() {
            "Header" => {
                let attribute = |name| child.attribute(name).unwrap_or_default().to_owned();
                headers.push((attribute("key"), attribute("value")));
                reader.skip()?;
            }
            "Body" => match reader.content()? {
                Content::Text(text) | Content::Xml(text) => body = Some(ReferenceBody::Inline(text)),
            },
            "BodyReference" => {
                body = child.attribute_of(XLINK, "href").map(|href| ReferenceBody::Href(href.to_owned()));
                reader.skip()?;
            }
            _ => return Err(unexpected(&child, "Reference")),
        }
    }
    // The schema of 1.0.0 qualifies the attribute; clients are known to leave the prefix out.
    let href = element.attribute_of(XLINK, "href").or_else(|| element.attribute("href"));
    let Some(href) = href.filter(|href| !href.is_empty()) else {
        return Ok(Err("must have xlink:href in its Reference".into()));
    };
    if headers.iter().any(|(key, _)| key.is_empty()) {
        return Ok(Err("must have a key in every Header of its Reference".into()));
    }
    Ok(method(element.attribute("method")).map(|method| Reference {
        href: href.to_owned(),
        method,
        headers,
        body,
    }))
}

/// GET where none is named; or the rule that is broken.
pub(crate) fn method(text: Option<&str>) -> Result<HttpMethod, String> {
    match text.map(str::to_ascii_uppercase).as_deref() {
        None | Some("GET") => Ok(HttpMethod::Get),
        Some("POST") => Ok(HttpMethod::Post),
        Some(other) => Err(format!("must have the method GET or POST, not {other:?}")),
    }
}
