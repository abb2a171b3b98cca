//! Properties of FlatGeobuf: the number of a column, then a value of its type; what is nothing is left out.

use crate::bytes::{ByteOrder::Little, Bytes};
use crate::vector::{ColumnKind, Property};
use flatgeobuf::ColumnType;

/// A column, as the head or a feature describes it.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: ColumnType,
}

/// Reads the properties of a feature: a value for every column.
///
/// # Errors
/// The rule that is broken, to be read after "… data".
pub(super) fn read(properties: &[u8], columns: &[Column]) -> Result<Vec<(String, Property)>, String> {
    let mut values: Vec<(String, Property)> =
        columns.iter().map(|column| (column.name.clone(), Property::Null)).collect();
    let mut bytes = Bytes::new(properties);
    while bytes.len() > 0 {
        let index = bytes.u16(Little).ok_or("ends within a property")?;
        let Some(column) = columns.get(usize::from(index)) else {
            return Err(format!(
                "must have properties of its {} columns, not of column {index}",
                columns.len()
            ));
        };
        let value = value(&mut bytes, column.kind).ok_or_else(|| {
            format!("ends within the property {:?}, or it has a type that is not known", column.name)
        })?;
        values[usize::from(index)].1 = value;
    }
    // Features have no use for what can't be told.
    let mut kinds = columns.iter().map(|column| column.kind);
    values.retain(|_| kinds.next() != Some(ColumnType::Binary));
    Ok(values)
}

fn value(bytes: &mut Bytes<'_>, kind: ColumnType) -> Option<Property> {
    Some(match kind {
        ColumnType::Bool => Property::Boolean(bytes.u8()? != 0),
        ColumnType::Byte => Property::Integer(i64::from(bytes.u8()?.cast_signed())),
        ColumnType::UByte => Property::Integer(i64::from(bytes.u8()?)),
        ColumnType::Short => Property::Integer(i64::from(bytes.u16(Little)?.cast_signed())),
        ColumnType::UShort => Property::Integer(i64::from(bytes.u16(Little)?)),
        ColumnType::Int => Property::Integer(i64::from(bytes.i32(Little)?)),
        ColumnType::UInt => Property::Integer(i64::from(bytes.u32(Little)?)),
        ColumnType::Long => Property::Integer(i64::from_le_bytes(bytes.array()?)),
        ColumnType::ULong => {
            let value = u64::from_le_bytes(bytes.array()?);
            i64::try_from(value).map_or(Property::Number(value as f64), Property::Integer)
        }
        ColumnType::Float => number(f64::from(f32::from_le_bytes(bytes.array()?))),
        ColumnType::Double => number(bytes.f64(Little)?),
        ColumnType::String | ColumnType::DateTime => Property::Text(text(bytes)?),
        ColumnType::Json => Property::Json(text(bytes)?),
        ColumnType::Binary => {
            let length = bytes.u32(Little)? as usize;
            bytes.take(length)?;
            Property::Null
        }
        _ => return None,
    })
}

fn number(value: f64) -> Property {
    if value.is_finite() { Property::Number(value) } else { Property::Null }
}

fn text(bytes: &mut Bytes<'_>) -> Option<String> {
    let length = bytes.u32(Little)? as usize;
    Some(String::from_utf8_lossy(bytes.take(length)?).into_owned())
}

/// The type of a column.
pub(super) fn column_type(kind: ColumnKind) -> ColumnType {
    match kind {
        ColumnKind::Boolean => ColumnType::Bool,
        ColumnKind::Integer => ColumnType::Long,
        ColumnKind::Number => ColumnType::Double,
        ColumnKind::Json => ColumnType::Json,
        ColumnKind::Null | ColumnKind::Text => ColumnType::String,
    }
}

/// Appends a property.
pub(super) fn write(index: u16, kind: ColumnKind, value: &Property, out: &mut Vec<u8>) {
    if *value == Property::Null {
        return;
    }
    out.extend(index.to_le_bytes());
    match (kind, value) {
        (ColumnKind::Boolean, Property::Boolean(value)) => out.push(u8::from(*value)),
        (ColumnKind::Integer, Property::Integer(value)) => out.extend(value.to_le_bytes()),
        (ColumnKind::Number, Property::Number(value)) => out.extend(value.to_le_bytes()),
        (ColumnKind::Number, Property::Integer(value)) => out.extend((*value as f64).to_le_bytes()),
        // What is left are texts, and columns that hold several kinds of values.
        (_, value) => {
            let text = value.text();
            // A FlatBuffer ends at 2 GiB, so that a longer text is refused with its feature.
            out.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
    }
}
