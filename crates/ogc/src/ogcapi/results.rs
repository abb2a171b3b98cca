//! Results (§7.11.4, §7.13): as a document, raw, and raw in several parts.

use super::link::segment;
use crate::output::{Output, OutputValue};
use crate::payload;
use anabranch_model::{BoundingBox, ComplexValue, LiteralType, LiteralValue, Value};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::io::{self, Write};

/// Writes the results document (`results.yaml`); reads files in blocks.
///
/// # Errors
/// Where `out` can't be written or a value's file can't be read.
pub fn write_document(outputs: &[Output<'_>], out: &mut dyn Write) -> io::Result<()> {
    out.write_all(b"{")?;
    for (index, output) in outputs.iter().enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        string(&output.description.id, out)?;
        out.write_all(b":")?;
        entry(output, out)?;
    }
    out.write_all(b"}")
}

/// `inlineOrRefData.yaml`: objects are wrapped in `{"value": …}` with their format.
fn entry(output: &Output<'_>, out: &mut dyn Write) -> io::Result<()> {
    match output.value {
        OutputValue::Reference { href, format } => {
            out.write_all(b"{\"href\":")?;
            string(href, out)?;
            if let Some(format) = format {
                member("type", &format.media_type, out)?;
            }
            member("title", &output.description.title, out)?;
            out.write_all(b"}")
        }
        OutputValue::Inline(Value::Literal(value)) => match &value.uom {
            None => literal(value, out),
            Some(uom) => {
                out.write_all(b"{\"value\":")?;
                literal(value, out)?;
                member("uom", uom, out)?;
                out.write_all(b"}")
            }
        },
        OutputValue::Inline(Value::BoundingBox(value)) => bounding_box(value, out),
        OutputValue::Inline(Value::Complex(value)) => complex(output, value, out),
    }
}

/// With the type that the value has in JSON. What JSON can't write as a number (`INF`, `NaN`) is a string.
fn literal(value: &LiteralValue, out: &mut dyn Write) -> io::Result<()> {
    let text = value.text.trim();
    let fits = match value.data_type {
        LiteralType::Integer => text.parse::<i64>().is_ok() && !text.starts_with('+'),
        LiteralType::Double => is_json_number(text),
        LiteralType::Boolean => matches!(text, "true" | "false"),
        LiteralType::String
        | LiteralType::DateTime
        | LiteralType::Date
        | LiteralType::Time
        | LiteralType::AnyUri => false,
    };
    if fits {
        return out.write_all(text.as_bytes());
    }
    match (value.data_type, text.parse::<f64>()) {
        (LiteralType::Double, Ok(number)) if number.is_finite() => Ok(serde_json::to_writer(out, &number)?),
        _ => string(&value.text, out),
    }
}

fn is_json_number(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || c == '-')
        && serde_json::from_str::<&RawValue>(text).is_ok()
        && text.parse::<f64>().is_ok_and(f64::is_finite)
}

fn bounding_box(value: &BoundingBox, out: &mut dyn Write) -> io::Result<()> {
    let numbers: Vec<f64> = value.lower.iter().chain(&value.upper).copied().collect();
    out.write_all(b"{\"bbox\":")?;
    serde_json::to_writer(&mut *out, &numbers)?;
    if let Some(crs) = &value.crs {
        member("crs", crs, out)?;
    }
    out.write_all(b"}")
}

/// JSON as it is, other text as a string, everything else as base64.
fn complex(output: &Output<'_>, value: &ComplexValue, out: &mut dyn Write) -> io::Result<()> {
    let asked = output.request.format.encoding.as_deref();
    let binary = value.format.is_binary() || asked.is_some_and(|e| e.eq_ignore_ascii_case("base64"));
    out.write_all(b"{\"mediaType\":")?;
    string(&value.format.media_type, out)?;
    if binary {
        member("encoding", "base64", out)?;
    }
    if let Some(schema) = &value.format.schema {
        member("schema", schema, out)?;
    }
    out.write_all(b",\"value\":")?;
    if binary {
        out.write_all(b"\"")?;
        payload::copy_base64(&value.data, out)?;
        out.write_all(b"\"")?;
    } else if value.format.is_json() && is_json(value)? {
        payload::copy(&value.data, out)?;
    } else {
        out.write_all(b"\"")?;
        payload::copy_text(&value.data, |text| escape(text, out))?;
        out.write_all(b"\"")?;
    }
    out.write_all(b"}")
}

/// What a process calls JSON may be none; written as it is, it would break the whole document.
fn is_json(value: &ComplexValue) -> io::Result<bool> {
    let reader = io::BufReader::new(value.data.open()?);
    match serde_json::from_reader::<_, IgnoredAny>(reader) {
        Ok(_ignored) => Ok(true),
        Err(error) if error.is_io() => Err(error.into()),
        Err(_not_json) => Ok(false),
    }
}

fn string(text: &str, out: &mut dyn Write) -> io::Result<()> {
    Ok(serde_json::to_writer(out, text)?)
}

fn member(name: &str, text: &str, out: &mut dyn Write) -> io::Result<()> {
    write!(out, ",\"{name}\":")?;
    string(text, out)
}

/// The inside of a JSON string (RFC 8259 §7).
fn escape(text: &str, out: &mut dyn Write) -> io::Result<()> {
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c < ' ' || c == '"' || c == '\\') {
        out.write_all(&rest.as_bytes()[..at])?;
        match rest.as_bytes()[at] {
            b'\n' => out.write_all(b"\\n")?,
            byte @ (b'"' | b'\\') => out.write_all(&[b'\\', byte])?,
            byte => write!(out, "\\u{byte:04x}")?,
        }
        rest = &rest[at + 1..];
    }
    out.write_all(rest.as_bytes())
}

/// Writes one output as it is; its media type is [`Output::media_type`]. Nothing is written for a reference: it becomes a `Link`
/// header (req/core/process-execute-sync-raw-ref).
///
/// # Errors
/// Where `out` can't be written or the value's file can't be read.
pub fn write_raw(output: &Output<'_>, out: &mut dyn Write) -> io::Result<()> {
    match output.value {
        OutputValue::Reference { .. } => Ok(()),
        OutputValue::Inline(Value::Literal(value)) => out.write_all(value.text.as_bytes()),
        OutputValue::Inline(Value::BoundingBox(value)) => bounding_box(value, out),
        OutputValue::Inline(Value::Complex(value)) => payload::copy(&value.data, out),
    }
}

/// The media type of [`write_multipart`].
#[must_use]
pub fn multipart_media_type(boundary: &str) -> String {
    format!("multipart/related; boundary=\"{boundary}\"")
}

/// Writes several outputs as they are, references as empty parts with `Content-Location`
/// (req/core/process-execute-sync-raw-value-multi, …-sync-raw-mixed-multi). `boundary` must not occur in the values: a random
/// one will not.
///
/// # Errors
/// Where `out` can't be written or a value's file can't be read.
pub fn write_multipart(outputs: &[Output<'_>], boundary: &str, out: &mut dyn Write) -> io::Result<()> {
    for output in outputs {
        write!(out, "--{boundary}\r\n")?;
        write!(out, "Content-Type: {}\r\n", header_value(&output.media_type()))?;
        write!(out, "Content-ID: {}\r\n", segment(&output.description.id))?;
        if let OutputValue::Reference { href, .. } = output.value {
            write!(out, "Content-Location: {}\r\n", header_value(href))?;
        }
        out.write_all(b"\r\n")?;
        write_raw(output, out)?;
        out.write_all(b"\r\n")?;
    }
    write!(out, "--{boundary}--\r\n")
}

/// Without characters that would end a header.
fn header_value(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests;
