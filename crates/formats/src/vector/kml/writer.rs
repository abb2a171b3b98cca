//! Writes a document with a schema and placemarks.

use super::{FORMAT, NAMESPACE, geometry};
use crate::vector::xml::{self, is_xml_id};
use crate::vector::{ColumnKind, Feature, FeatureWriter, FormatError, Property, Summary, names};
use std::collections::HashMap;
use std::io::Write;

/// Properties that are elements of their own.
const NAME: &str = "name";
const DESCRIPTION: &str = "description";

/// Writes KML.
pub struct Writer<'a> {
    out: &'a mut dyn Write,
    /// Names of properties to names of fields, which are each there once, and what these hold.
    fields: HashMap<String, (String, ColumnKind)>,
}

impl<'a> Writer<'a> {
    /// Writes the schema.
    ///
    /// # Errors
    /// Where it can't be written, or a name has a character that XML has not.
    pub fn new(summary: &Summary, out: &'a mut dyn Write) -> Result<Self, FormatError> {
        write!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<kml xmlns=\"{NAMESPACE}\"><Document>\n")?;
        let columns =
            || summary.columns.iter().filter(|column| ![NAME, DESCRIPTION].contains(&column.name.as_str()));
        let named =
            names::unique_in_any_case(columns().map(|column| column.name.clone()), &[NAME, DESCRIPTION]);
        if !named.is_empty() {
            out.write_all(b"<Schema name=\"features\" id=\"features\">")?;
            for (name, column) in named.iter().zip(columns()) {
                let kind = match column.kind {
                    ColumnKind::Boolean => "bool",
                    ColumnKind::Integer => "int",
                    ColumnKind::Number => "double",
                    ColumnKind::Null | ColumnKind::Text | ColumnKind::Json => "string",
                };
                write!(out, "<SimpleField type=\"{kind}\" name=\"{}\"/>", escaped(name)?)?;
            }
            out.write_all(b"</Schema>\n")?;
        }
        let fields =
            columns().zip(named).map(|(column, name)| (column.name.clone(), (name, column.kind))).collect();
        Ok(Self { out, fields })
    }

    fn write_data(&mut self, feature: &Feature) -> Result<(), FormatError> {
        let mut begun = false;
        for (name, value) in &feature.properties {
            if *value == Property::Null || name == NAME || name == DESCRIPTION {
                continue;
            }
            let Some((field, kind)) = self.fields.get(name) else {
                let what = format!("the property {name:?}, which came too late");
                return Err(FormatError::Unrepresentable { format: FORMAT, what });
            };
            if !std::mem::replace(&mut begun, true) {
                self.out.write_all(b"<ExtendedData><SchemaData schemaUrl=\"#features\">")?;
            }
            let value = match value {
                // Others understand no words here.
                Property::Boolean(value) if *kind == ColumnKind::Boolean => u8::from(*value).to_string(),
                value => escaped(&value.text())?,
            };
            let field = escaped(field)?;
            write!(self.out, "<SimpleData name=\"{field}\">{value}</SimpleData>")?;
        }
        if begun {
            self.out.write_all(b"</SchemaData></ExtendedData>")?;
        }
        Ok(())
    }
}

impl FeatureWriter for Writer<'_> {
    fn write(&mut self, feature: &Feature) -> Result<(), FormatError> {
        if feature.crs.epsg_code() != 4326 {
            return Err(FormatError::Unrepresentable {
                format: FORMAT,
                what: format!(
                    "coordinates of {}: it takes longitude and latitude of WGS 84",
                    feature.crs.name()
                ),
            });
        }
        match feature.id.as_deref().filter(|id| is_xml_id(id)) {
            Some(id) => write!(self.out, "<Placemark id=\"{id}\">")?,
            None => self.out.write_all(b"<Placemark>")?,
        }
        // The order of these elements is fixed.
        for element in [NAME, DESCRIPTION] {
            let value = feature.properties.iter().find(|(name, _)| name == element).map(|(_, value)| value);
            if let Some(value) = value.filter(|value| **value != Property::Null) {
                write!(self.out, "<{element}>{}</{element}>", escaped(&value.text())?)?;
            }
        }
        self.write_data(feature)?;
        if let Some(found) = &feature.geometry {
            geometry::write(found, self.out)?;
        }
        Ok(self.out.write_all(b"</Placemark>\n")?)
    }

    fn finish(self: Box<Self>) -> Result<(), FormatError> {
        Ok(self.out.write_all(b"</Document></kml>\n")?)
    }
}

fn escaped(text: &str) -> Result<String, FormatError> {
    xml::escaped(text, FORMAT)
}
