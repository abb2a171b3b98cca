//! Inputs of a request: a pickle of a map.

use anabranch_model::LiteralType;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::message::{CarriedValue, Payload};
use crate::wire::INLINE_BYTES_MAX;
use crate::wire::pickle::{self, Pickle};

/// Inputs of a run.
pub(super) type Inputs = Vec<(String, Vec<CarriedValue>)>;

/// Writes inputs: one value bare, several as a list.
pub(super) fn write(inputs: &Inputs) -> Result<Vec<u8>, String> {
    let members = inputs.iter().filter(|(_, values)| !values.is_empty()).map(|(id, values)| {
        let written = values.iter().map(|value| write_value(id, value));
        let mut written = written.collect::<Result<Vec<_>, _>>()?;
        let value = match (written.pop(), written.is_empty()) {
            (Some(only), true) => only,
            (last, _) => Pickle::List(written.into_iter().chain(last).collect()),
        };
        Ok((id.clone(), value))
    });
    Ok(pickle::write(&Pickle::Map(members.collect::<Result<_, String>>()?)))
}

fn write_value(id: &str, value: &CarriedValue) -> Result<Pickle, String> {
    match value {
        CarriedValue::Literal { text, data_type, .. } => {
            let text = text_of(id, text)?;
            let wrong = || format!("input '{id}' is no {}: '{text}'", data_type.name());
            Ok(match data_type {
                LiteralType::Integer => Pickle::Int(text.parse().map_err(|_| wrong())?),
                LiteralType::Double => Pickle::Float(double(text).ok_or_else(wrong)?),
                LiteralType::Boolean => Pickle::Bool(matches!(text, "true" | "1")),
                LiteralType::DateTime => Pickle::DateTime(date_time(text).ok_or_else(wrong)?),
                LiteralType::String | LiteralType::Date | LiteralType::Time | LiteralType::AnyUri => {
                    Pickle::Text(text.to_owned())
                }
            })
        }
        CarriedValue::Complex { data, .. } => text_of(id, data).map(|text| Pickle::Text(text.to_owned())),
        CarriedValue::BoundingBox { .. } => {
            Err(format!("input '{id}' is a bounding box, and WPS Remote has none"))
        }
    }
}

fn text_of<'a>(id: &str, payload: &'a Payload) -> Result<&'a str, String> {
    match payload {
        Payload::Inline(bytes) => std::str::from_utf8(bytes)
            .map_err(|_| format!("input '{id}' is no UTF-8 text, and WPS Remote carries nothing else")),
        Payload::Url(_) | Payload::Uploaded { .. } | Payload::Shared(_) => Err(format!(
            "input '{id}' is too large: WPS Remote carries inputs in its messages, here up to {INLINE_BYTES_MAX} bytes \
             each and twice that together"
        )),
    }
}

fn double(text: &str) -> Option<f64> {
    match text {
        "INF" => Some(f64::INFINITY),
        "-INF" => Some(f64::NEG_INFINITY),
        text => text.parse().ok(),
    }
}

/// As the clock of UTC shows it, where an offset says which moment is meant: the wire has no zones.
fn date_time(text: &str) -> Option<DateTime> {
    match text.parse::<jiff::Timestamp>() {
        Ok(moment) => Some(TimeZone::UTC.to_datetime(moment)),
        Err(_) => text.parse().ok(),
    }
}

/// Reads inputs; nulls are left out. What a value is meant to be is known by its process only: they come as literals.
pub(super) fn read(bytes: &[u8]) -> Result<Inputs, String> {
    let Pickle::Map(members) = pickle::read(bytes).map_err(|error| error.to_string())? else {
        return Err("its pickle is no map of inputs".into());
    };
    let inputs = members.into_iter().map(|(id, value)| {
        let values = match value {
            Pickle::List(values) => values,
            value => vec![value],
        };
        let read =
            values.into_iter().filter(|value| *value != Pickle::None).map(|value| read_value(&id, value));
        Ok((id.clone(), read.collect::<Result<Vec<_>, String>>()?))
    });
    let mut inputs = inputs.collect::<Result<Inputs, String>>()?;
    inputs.retain(|(_, values)| !values.is_empty());
    Ok(inputs)
}

fn read_value(id: &str, value: Pickle) -> Result<CarriedValue, String> {
    let (text, data_type) = match value {
        Pickle::Text(text) => (text, LiteralType::String),
        Pickle::Int(number) => (number.to_string(), LiteralType::Integer),
        Pickle::Float(number) if number == f64::INFINITY => ("INF".into(), LiteralType::Double),
        Pickle::Float(number) if number == f64::NEG_INFINITY => ("-INF".into(), LiteralType::Double),
        Pickle::Float(number) => (number.to_string(), LiteralType::Double),
        Pickle::Decimal(text) => (text, LiteralType::Double),
        Pickle::Bool(value) => (value.to_string(), LiteralType::Boolean),
        Pickle::DateTime(time) => (time.to_string(), LiteralType::DateTime),
        Pickle::None | Pickle::List(_) | Pickle::Map(_) => {
            return Err(format!("input '{id}' is neither a value nor a list of values"));
        }
    };
    Ok(CarriedValue::Literal { text: Payload::Inline(text.into()), data_type, uom: None })
}
