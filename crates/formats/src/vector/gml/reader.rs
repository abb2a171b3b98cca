//! Walks through collections to their features.

use super::coordinates::Context;
use super::{LANGUAGE, geometry};
use crate::vector::limits::COLUMNS_MAX;
use crate::vector::xml::{Element, Event, Xml};
use crate::vector::{Feature, FeatureReader, FormatError, Property, names};
use anabranch_model::Data;

/// Bytes of a property's name: those of all elements around it together.
const NAME_BYTES_MAX: usize = 1000;

/// Reads GML of any version.
pub struct Reader {
    xml: Xml,
    /// A root that is no collection.
    whole: Option<Element>,
    /// The collections and members we are in, the innermost last.
    around: Vec<Around>,
}

enum Around {
    /// Its context is what its `boundedBy` says.
    Collection(Context),
    Member,
}

impl Reader {
    /// Opens a document and reads the start of its root element.
    ///
    /// # Errors
    /// Where it is no XML.
    pub fn open(data: &Data) -> Result<Self, FormatError> {
        let mut xml = Xml::new(data.open()?, &LANGUAGE);
        let Some(root) = xml.child()? else {
            return Err(xml.malformed("must have a root element"));
        };
        let mut reader = Self { xml, whole: None, around: Vec::new() };
        if is_collection(&root) {
            let context = Context::default().of(&reader.xml, &root)?;
            reader.around.push(Around::Collection(context));
        } else {
            reader.whole = Some(root);
        }
        Ok(reader)
    }

    /// What the innermost collection says.
    fn context(&self) -> Context {
        let mut contexts = self.around.iter().rev().filter_map(|around| match around {
            Around::Collection(context) => Some(*context),
            Around::Member => None,
        });
        contexts.next().unwrap_or_default()
    }

    /// Reads the feature, or the geometry in the place of one, whose start tag was read.
    fn feature(&mut self, element: &Element) -> Result<Feature, FormatError> {
        let mut draft = Draft { context: self.context().of(&self.xml, element)?, ..Draft::default() };
        if geometry::is_geometry(&element.name) {
            draft.geometry(&mut self.xml, element)?;
        } else {
            draft.id = element.attribute_of_any("id").or_else(|| element.attribute("fid")).map(str::to_owned);
            while let Some(child) = self.xml.child()? {
                if child.name == "boundedBy" {
                    draft.context = bounds(&mut self.xml, draft.context)?;
                } else {
                    let name = child.local_name().to_owned();
                    draft.property(&mut self.xml, &child, name)?;
                }
            }
        }
        Ok(draft.finish())
    }
}

impl FeatureReader for Reader {
    fn next(&mut self) -> Result<Option<Feature>, FormatError> {
        if let Some(root) = self.whole.take() {
            return self.feature(&root).map(Some);
        }
        loop {
            self.xml.forget();
            let element = match self.xml.next()? {
                None => return Ok(None),
                Some(Event::Text(_)) => continue,
                Some(Event::End) => {
                    self.around.pop();
                    continue;
                }
                Some(Event::Start(element)) => element,
            };
            match self.around.last_mut() {
                // Within a root that was read as a whole there is nothing left, and behind a root nothing starts.
                None => self.xml.skip()?,
                Some(Around::Member) if is_collection(&element) => {
                    let context = self.context().of(&self.xml, &element)?;
                    self.around.push(Around::Collection(context));
                }
                Some(Around::Member) => return self.feature(&element).map(Some),
                Some(Around::Collection(context)) => match element.local_name() {
                    "boundedBy" => *context = bounds(&mut self.xml, *context)?,
                    "featureMember" | "featureMembers" | "member" | "members" => {
                        if element.attribute_of_any("href").is_some() {
                            let rule = "must have its features where they are used, and not refer to them \
                                        (xlink:href)";
                            return Err(self.xml.malformed(rule));
                        }
                        self.around.push(Around::Member);
                    }
                    _ => self.xml.skip()?,
                },
            }
        }
    }
}

/// WFS 2.0 has members that are collections, and tuples of joined features.
fn is_collection(element: &Element) -> bool {
    element.local_name().ends_with("Collection") || element.name == "other:Tuple"
}

/// What a `boundedBy` says of the system of everything around it.
fn bounds(xml: &mut Xml, context: Context) -> Result<Context, FormatError> {
    let mut found = context;
    while let Some(envelope) = xml.child()? {
        found = context.of(xml, &envelope)?;
        xml.skip()?;
    }
    Ok(found)
}

/// A feature that is being read.
#[derive(Default)]
struct Draft {
    id: Option<String>,
    context: Context,
    /// The first geometry, once there is one.
    found: Option<(Option<crate::vector::Geometry>, crate::crs::Crs)>,
    properties: Vec<(String, Property)>,
}

impl Draft {
    fn geometry(&mut self, xml: &mut Xml, element: &Element) -> Result<(), FormatError> {
        match self.found {
            Some(_) => xml.skip(),
            None => {
                self.found = Some(geometry::read(xml, element, self.context)?);
                Ok(())
            }
        }
    }

    /// Reads what stands in an element: a value, a geometry, or more elements. The depth of the document bounds recursion.
    fn property(&mut self, xml: &mut Xml, element: &Element, name: String) -> Result<(), FormatError> {
        if name.len() > NAME_BYTES_MAX {
            return Err(xml.malformed(format!("may have {NAME_BYTES_MAX} bytes in the name of a property")));
        }
        let mut text = String::new();
        let mut is_value = true;
        loop {
            match xml.next()? {
                Some(Event::Text(more)) => text.push_str(&more),
                Some(Event::End) | None => break,
                Some(Event::Start(child)) => {
                    is_value = false;
                    if geometry::is_geometry(&child.name) {
                        self.geometry(xml, &child)?;
                    } else {
                        let inner = format!("{name}.{}", child.local_name());
                        self.property(xml, &child, inner)?;
                    }
                }
            }
        }
        if !is_value {
            return Ok(());
        }
        if self.properties.len() == COLUMNS_MAX {
            return Err(xml.malformed(format!("may have {COLUMNS_MAX} properties in one feature")));
        }
        let text = text.trim();
        let value = match element.attribute_of_any("href") {
            Some(reference) if text.is_empty() => Property::Text(reference.to_owned()),
            _ => Property::of_text(text),
        };
        self.properties.push((name, value));
        Ok(())
    }

    fn finish(self) -> Feature {
        let (geometry, crs) = self.found.unwrap_or_else(|| (None, self.context.crs()));
        let unique = names::unique(self.properties.iter().map(|(name, _)| name.clone()));
        let properties =
            unique.into_iter().zip(self.properties).map(|(name, (_, value))| (name, value)).collect();
        Feature { id: self.id, geometry, crs, properties }
    }
}
