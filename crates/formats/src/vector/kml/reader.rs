//! Walks through documents and folders to their placemarks.

use super::{LANGUAGE, geometry};
use crate::crs::Crs;
use crate::vector::limits::COLUMNS_MAX;
use crate::vector::xml::{Event, Xml};
use crate::vector::{Feature, FeatureReader, FormatError, Property, names};
use anabranch_model::Data;
use std::collections::HashMap;

/// Fields of all schemas of a document.
const FIELDS_MAX: usize = 10_000;

/// Reads KML.
pub struct Reader {
    xml: Xml,
    /// Types of `SimpleField`s by schema and name.
    fields: HashMap<(String, String), String>,
}

impl Reader {
    /// Opens a document and reads its root element.
    ///
    /// # Errors
    /// Where it is no KML.
    pub fn open(data: &Data) -> Result<Self, FormatError> {
        let mut xml = Xml::new(data.open()?, &LANGUAGE);
        match xml.child()? {
            Some(root) if matches!(root.name.as_str(), "kml" | "Document" | "Folder") => {
                Ok(Self { xml, fields: HashMap::new() })
            }
            Some(root) => {
                Err(xml.malformed(format!("must have the root element kml, not {}", root.local_name())))
            }
            None => Err(xml.malformed("must have the root element kml")),
        }
    }

    fn schema(&mut self, id: &str) -> Result<(), FormatError> {
        while let Some(field) = self.xml.child()? {
            if let ("SimpleField", Some(name), Some(kind)) =
                (field.name.as_str(), field.attribute("name"), field.attribute("type"))
            {
                if self.fields.len() == FIELDS_MAX {
                    return Err(self.xml.malformed(format!("may have {FIELDS_MAX} fields in its schemas")));
                }
                self.fields.insert((id.to_owned(), name.to_owned()), kind.to_owned());
            }
            self.xml.skip()?;
        }
        Ok(())
    }

    fn placemark(&mut self, id: Option<String>) -> Result<Feature, FormatError> {
        let mut found = None;
        let mut properties = Vec::new();
        while let Some(child) = self.xml.child()? {
            match child.name.as_str() {
                "name" | "description" => {
                    let value = text(self.xml.text()?);
                    self.push(&mut properties, child.name, value)?;
                }
                "ExtendedData" => self.extended_data(&mut properties)?,
                "TimeStamp" | "TimeSpan" => {
                    while let Some(time) = self.xml.child()? {
                        let name = match time.name.as_str() {
                            "when" => "timestamp",
                            "begin" => "begin",
                            "end" => "end",
                            _ => {
                                self.xml.skip()?;
                                continue;
                            }
                        };
                        let value = text(self.xml.text()?);
                        self.push(&mut properties, name.to_owned(), value)?;
                    }
                }
                name if geometry::is_geometry(name) => {
                    if found.is_some() {
                        return Err(self.xml.malformed("may have one geometry in a Placemark"));
                    }
                    found = Some(geometry::read(&mut self.xml, &child)?);
                }
                _ => self.xml.skip()?,
            }
            if properties.len() > COLUMNS_MAX {
                return Err(self
                    .xml
                    .malformed(format!("may have {COLUMNS_MAX} properties in one placemark")));
            }
        }
        let names = names::unique(properties.iter().map(|(name, _)| name.clone()));
        for (property, name) in properties.iter_mut().zip(names) {
            property.0 = name;
        }
        Ok(Feature { id, geometry: found.flatten(), crs: Crs::Crs84, properties })
    }

    fn push(
        &self,
        properties: &mut Vec<(String, Property)>,
        name: String,
        value: Property,
    ) -> Result<(), FormatError> {
        if properties.len() == COLUMNS_MAX {
            return Err(self.xml.malformed(format!("may have {COLUMNS_MAX} properties in one placemark")));
        }
        properties.push((name, value));
        Ok(())
    }

    fn extended_data(&mut self, properties: &mut Vec<(String, Property)>) -> Result<(), FormatError> {
        while let Some(child) = self.xml.child()? {
            match child.name.as_str() {
                "Data" => {
                    let name = child.attribute("name").unwrap_or_default().to_owned();
                    let mut value = Property::Null;
                    while let Some(part) = self.xml.child()? {
                        match part.name.as_str() {
                            "value" => value = text(self.xml.text()?),
                            _ => self.xml.skip()?,
                        }
                    }
                    self.push(properties, name, value)?;
                }
                "SchemaData" => {
                    let url = child.attribute("schemaUrl").unwrap_or_default();
                    let schema = url.rsplit('#').next().unwrap_or_default().to_owned();
                    while let Some(data) = self.xml.child()? {
                        if data.name != "SimpleData" {
                            self.xml.skip()?;
                            continue;
                        }
                        let name = data.attribute("name").unwrap_or_default().to_owned();
                        let key = (schema.clone(), name);
                        let value = self.xml.text()?;
                        let value = typed(value, self.fields.get(&key).map(String::as_str));
                        self.push(properties, key.1, value)?;
                    }
                }
                _ => self.xml.skip()?,
            }
        }
        Ok(())
    }
}

impl FeatureReader for Reader {
    fn next(&mut self) -> Result<Option<Feature>, FormatError> {
        loop {
            self.xml.forget();
            let Some(event) = self.xml.next()? else { return Ok(None) };
            let Event::Start(element) = event else { continue };
            match element.name.as_str() {
                "Document" | "Folder" => {}
                "Placemark" => return self.placemark(element.attribute("id").map(str::to_owned)).map(Some),
                "Schema" => {
                    let id =
                        element.attribute("id").or_else(|| element.attribute("name")).unwrap_or_default();
                    self.schema(id)?;
                }
                _ => self.xml.skip()?,
            }
        }
    }
}

fn text(text: String) -> Property {
    if text.is_empty() { Property::Null } else { Property::Text(text) }
}

/// A value of a type of OGC 07-147r2 clause 9.9. What is not of its type stays text.
fn typed(value: String, kind: Option<&str>) -> Property {
    let typed = match kind {
        Some("int" | "uint" | "short" | "ushort") => value.parse().ok().map(Property::Integer),
        Some("float" | "double") => {
            value.parse().ok().filter(|number: &f64| number.is_finite()).map(Property::Number)
        }
        Some("bool") => match value.as_str() {
            "1" | "true" => Some(Property::Boolean(true)),
            "0" | "false" => Some(Property::Boolean(false)),
            _ => None,
        },
        _ => None,
    };
    typed.unwrap_or_else(|| text(value))
}
