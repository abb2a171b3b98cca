//! Writes a collection of features.

use super::shape::Shapes;
use super::{FEATURES_NAMESPACE, FORMAT, NAMESPACE, NAMESPACE_3_2, Version};
use crate::vector::xml::{escaped, is_xml_id};
use crate::vector::{Feature, FeatureWriter, FormatError, Property, Summary, names};
use std::collections::HashMap;
use std::io::Write;

/// The property of the geometry; `boundedBy` and `fid` mean something to others.
const GEOMETRY: &str = "geometry";
const TAKEN: [&str; 4] = [GEOMETRY, "boundedby", "fid", "gml_id"];

/// Writes GML.
pub struct Writer<'a> {
    out: &'a mut dyn Write,
    version: Version,
    /// Names of properties to names of elements, which are each there once.
    elements: HashMap<String, String>,
    /// Features so far.
    count: u64,
    shapes: Shapes,
}

impl<'a> Writer<'a> {
    /// Writes the start of the collection.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn new(version: Version, summary: &Summary, out: &'a mut dyn Write) -> Result<Self, FormatError> {
        let collection = collection(version);
        let gml = if version == Version::V3_2 { NAMESPACE_3_2 } else { NAMESPACE };
        write!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{collection} xmlns:gml=\"{gml}\"")?;
        match version {
            // GML 2 has no collection of its own, and wants its bounds, which nothing needs.
            Version::V2 => writeln!(
                out,
                " xmlns:wfs=\"http://www.opengis.net/wfs\" xmlns:a=\"{FEATURES_NAMESPACE}\">\
                 <gml:boundedBy><gml:null>unknown</gml:null></gml:boundedBy>"
            )?,
            Version::V3_1 => writeln!(out, " xmlns:a=\"{FEATURES_NAMESPACE}\">")?,
            Version::V3_2 => writeln!(out, " xmlns:a=\"{FEATURES_NAMESPACE}\" gml:id=\"collection\">")?,
        }
        let columns = || summary.columns.iter().map(|column| column.name.clone());
        let unique = names::unique_in_any_case(columns().map(|name| element_name(&name)), &TAKEN);
        let elements = columns().zip(unique).collect();
        Ok(Self { out, version, elements, count: 0, shapes: Shapes::new(version) })
    }
}

impl FeatureWriter for Writer<'_> {
    fn write(&mut self, feature: &Feature) -> Result<(), FormatError> {
        self.count += 1;
        let id = match feature.id.as_deref().filter(|id| is_xml_id(id)) {
            Some(id) => id.to_owned(),
            None => format!("feature.{}", self.count),
        };
        let attribute = if self.version == Version::V2 { "fid" } else { "gml:id" };
        write!(self.out, "<gml:featureMember><a:feature {attribute}=\"{id}\">")?;
        for (name, value) in feature.properties.iter().filter(|(_, value)| *value != Property::Null) {
            let Some(element) = self.elements.get(name) else {
                let what = format!("the property {name:?}, which came too late");
                return Err(FormatError::Unrepresentable { format: FORMAT, what });
            };
            write!(self.out, "<a:{element}>{}</a:{element}>", escaped(&value.text(), FORMAT)?)?;
        }
        if let Some(geometry) = &feature.geometry {
            write!(self.out, "<a:{GEOMETRY}>")?;
            self.shapes.write(geometry, feature.crs, self.out)?;
            write!(self.out, "</a:{GEOMETRY}>")?;
        }
        Ok(self.out.write_all(b"</a:feature></gml:featureMember>\n")?)
    }

    fn finish(self: Box<Self>) -> Result<(), FormatError> {
        Ok(writeln!(self.out, "</{}>", collection(self.version))?)
    }
}

fn collection(version: Version) -> &'static str {
    match version {
        Version::V2 => "wfs:FeatureCollection",
        Version::V3_1 | Version::V3_2 => "gml:FeatureCollection",
    }
}

/// The nearest name that XML has: letters, digits, `_`, `-` and `.`, beginning with a letter or `_`.
fn element_name(name: &str) -> String {
    let is_first = |c: char| c.is_alphabetic() || c == '_';
    let is_other = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    let mut element: String = name.chars().map(|c| if is_other(c) { c } else { '_' }).collect();
    if !element.starts_with(is_first) {
        element.insert(0, '_');
    }
    element
}
