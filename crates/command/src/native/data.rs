//! What inputs and outputs have in common: types, formats, patterns, file names.

use super::section::{At, Section, scalar};
use crate::draft::{NamedFormat, broken_rule, regex};
use crate::report::Findings;
use crate::service::Stream;
use anabranch_model::{AllowedValue, BoundingBoxDomain, Format, LiteralDomain, LiteralType, RangeClosure};
use regex::Regex;
use toml::de::DeValue;

/// The kinds of `type`.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Literal(LiteralType),
    BoundingBox,
    Complex,
}

const KINDS: &str = "complex, bounding_box, string, boolean, integer, double, dateTime, date, time or anyURI";

pub(super) fn kind(findings: &mut Findings, section: &mut Section<'_>) -> Option<Kind> {
    let Some(at) = section.string(findings, "type") else {
        section.fault(findings, &section.span, format!("type is missing: {KINDS}"));
        return None;
    };
    match at.value {
        "complex" => Some(Kind::Complex),
        "bounding_box" => Some(Kind::BoundingBox),
        name => match LiteralType::from_name(name) {
            Some(data_type) => Some(Kind::Literal(data_type)),
            None => {
                section.fault(findings, &at.span, format!("type must be {KINDS}, not {name:?}"));
                None
            }
        },
    }
}

pub(super) fn stream(findings: &mut Findings, section: &mut Section<'_>) -> Option<Stream> {
    let at = section.string(findings, "stream")?;
    match at.value {
        "stdout" => Some(Stream::Stdout),
        "stderr" => Some(Stream::Stderr),
        other => {
            let text = format!("stream must be \"stdout\" or \"stderr\", not {other:?}");
            section.fault(findings, &at.span, text);
            None
        }
    }
}

/// A regular expression with at least `groups` groups.
pub(super) fn pattern(
    findings: &mut Findings,
    section: &mut Section<'_>,
    key: &'static str,
    groups: usize,
) -> Option<Regex> {
    let at = section.string(findings, key)?;
    match regex(at.value) {
        Ok(regex) if regex.captures_len() > groups => Some(regex),
        Ok(_) => {
            let text = format!("{key} {:?} needs a group in parentheses: what it is to find", at.value);
            section.fault(findings, &at.span, text);
            None
        }
        Err(reason) => {
            let text = format!("{key} {:?} is no regular expression: {reason}", at.value);
            section.fault(findings, &at.span, text);
            None
        }
    }
}

pub(super) fn formats(findings: &mut Findings, section: &mut Section<'_>) -> Vec<NamedFormat> {
    let Some(items) = section.array(findings, "formats") else {
        section.fault(findings, &section.span, "formats is missing: which media types are complex data of?");
        return Vec::new();
    };
    if items.value.is_empty() {
        section.fault(findings, &items.span, "formats is empty: complex data needs one at least");
    }
    let mut formats = Vec::new();
    for item in items.value {
        match item.get_ref() {
            DeValue::String(media_type) => {
                formats.push((Format::new(media_type.as_ref()), None, item.span()))
            }
            DeValue::Table(table) => {
                let mut part = Section::new(format!("{}: formats", section.label), item.span(), table);
                let text = |at: Option<At<&str>>| at.map(|at| at.value.to_owned());
                let media_type = text(part.string(findings, "media_type"));
                let encoding = text(part.string(findings, "encoding"));
                let schema = text(part.string(findings, "schema"));
                let name = text(part.string(findings, "name"));
                match media_type {
                    Some(media_type) => {
                        formats.push((Format { media_type, encoding, schema }, name, item.span()));
                    }
                    None => part.fault(findings, &item.span(), "media_type is missing"),
                }
                part.finish(findings);
            }
            _ => section.fault(findings, &item.span(), "formats must hold media types or tables"),
        }
    }
    for (index, (format, _, span)) in formats.iter().enumerate() {
        if !format.media_type.contains('/') {
            section.fault(findings, span, format!("{:?} is no media type", format.media_type));
        }
        if formats[..index].iter().any(|(earlier, ..)| earlier == format) {
            section.fault(findings, span, format!("format {:?} comes twice", format.media_type));
        }
    }
    formats.into_iter().map(|(format, name, _)| (format, name)).collect()
}

pub(super) fn bounding_box(findings: &mut Findings, section: &mut Section<'_>) -> BoundingBoxDomain {
    let crs: Vec<_> = section.strings(findings, "crs").into_iter().map(|at| at.value.to_owned()).collect();
    if crs.is_empty() {
        section.fault(findings, &section.span, "crs is missing: a box needs a coordinate reference system");
    }
    BoundingBoxDomain { crs }
}

/// Allowed values, range, default and units of a literal.
pub(super) fn literal(
    findings: &mut Findings,
    section: &mut Section<'_>,
    data_type: LiteralType,
) -> LiteralDomain {
    let mut domain = LiteralDomain::any(data_type);
    domain.uoms = uoms(findings, section);
    let range_span = section.span.clone();
    let minimum = checked(findings, section, "minimum", &domain);
    let maximum = checked(findings, section, "maximum", &domain);
    let mut allowed = allowed_values(findings, section, &domain);
    if minimum.is_some() || maximum.is_some() {
        if !allowed.is_empty() {
            section.fault(findings, &range_span, "allowed excludes minimum and maximum");
        }
        allowed.extend(range(findings, section, &domain, minimum, maximum));
    }
    domain.allowed = allowed;
    domain.default = checked(findings, section, "default", &domain).map(|at| at.value);
    domain
}

fn uoms(findings: &mut Findings, section: &mut Section<'_>) -> Vec<String> {
    let one = section.string(findings, "uom").map(|at| at.value.to_owned());
    let many = section.strings(findings, "uoms").into_iter().map(|at| at.value.to_owned());
    one.into_iter().chain(many).collect()
}

/// A value of the literal's type that its domain allows.
fn checked(
    findings: &mut Findings,
    section: &mut Section<'_>,
    key: &'static str,
    domain: &LiteralDomain,
) -> Option<At<String>> {
    let at = section.scalar(findings, key)?;
    check_value(findings, section, key, domain, &at).then_some(at)
}

fn check_value(
    findings: &mut Findings,
    section: &Section<'_>,
    key: &str,
    domain: &LiteralDomain,
    at: &At<String>,
) -> bool {
    let Some(rule) = broken_rule(domain, &at.value) else { return true };
    section.fault(findings, &at.span, format!("{key} {:?} {rule}", at.value));
    false
}

fn range(
    findings: &mut Findings,
    section: &mut Section<'_>,
    domain: &LiteralDomain,
    minimum: Option<At<String>>,
    maximum: Option<At<String>>,
) -> Option<AllowedValue> {
    if matches!(domain.data_type, LiteralType::Boolean | LiteralType::String | LiteralType::AnyUri) {
        let span = minimum.or(maximum).map_or_else(|| section.span.clone(), |at| at.span);
        let text = format!("type {} has no minimum and maximum", domain.data_type.name());
        section.fault(findings, &span, text);
        return None;
    }
    let closed = |minimum, maximum| AllowedValue::Range { minimum, maximum, closure: RangeClosure::Closed };
    if let (Some(low), Some(high)) = (&minimum, &maximum) {
        let mut above = domain.clone();
        above.allowed = vec![closed(Some(low.value.clone()), None)];
        if broken_rule(&above, &high.value).is_some() {
            let text = format!("maximum {} is below minimum {}", high.value, low.value);
            section.fault(findings, &high.span, text);
        }
    }
    Some(closed(minimum.map(|at| at.value), maximum.map(|at| at.value)))
}

fn allowed_values(
    findings: &mut Findings,
    section: &mut Section<'_>,
    domain: &LiteralDomain,
) -> Vec<AllowedValue> {
    let Some(items) = section.array(findings, "allowed") else { return Vec::new() };
    if items.value.is_empty() {
        section.fault(findings, &items.span, "allowed is empty: no value would ever be taken");
    }
    let mut allowed = Vec::new();
    for item in items.value {
        if let DeValue::Table(table) = item.get_ref() {
            let mut part = Section::new(format!("{}: allowed", section.label), item.span(), table);
            let minimum = checked(findings, &mut part, "minimum", domain);
            let maximum = checked(findings, &mut part, "maximum", domain);
            allowed.extend(range(findings, &mut part, domain, minimum, maximum));
            part.finish(findings);
        } else if let Some(value) = scalar(item.get_ref()) {
            let at = At { value, span: item.span() };
            if check_value(findings, section, "allowed", domain, &at) {
                allowed.push(AllowedValue::Value(at.value));
            }
        } else {
            section.fault(
                findings,
                &item.span(),
                "allowed must hold values, or tables with minimum and maximum",
            );
        }
    }
    allowed
}
