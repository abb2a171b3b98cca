//! Templates of arguments: text with `{placeholders}`.
//!
//! Grammar: `{name}` or `{name.field}` stands for a value; `{{` and `}}` for the braces themselves; all else for itself.
//! Identifiers may hold dots: the longest known name wins.

use anabranch_model::{DataDescription, InputDescription, OutputDescription};

/// What one item of the command line becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// One argument. Left out where an input in it has no value; repeated where one has several.
    One(Template),
    /// Several arguments that are left out or repeated together.
    Group(Vec<Template>),
}

impl Argument {
    /// Its templates.
    #[must_use]
    pub fn templates(&self) -> &[Template] {
        match self {
            Self::One(template) => std::slice::from_ref(template),
            Self::Group(templates) => templates,
        }
    }
}

/// Text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Template {
    /// In order.
    pub parts: Vec<Part>,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Itself.
    Text(String),
    /// A value.
    Placeholder(Placeholder),
}

/// What stands between braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placeholder {
    /// Whose value.
    pub owner: Owner,
    /// Which part of it.
    pub field: Field,
}

/// Whose value a placeholder stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The input of that identifier.
    Input(String),
    /// The output of that identifier.
    Output(String),
    /// The constant of that name.
    Constant(String),
    /// The run itself.
    Run,
}

/// Which part of a value a placeholder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Literals and constants: the text. Complex data: the path of its file. Boxes: `minx,miny,maxx,maxy`.
    Value,
    /// Unit of measure of a literal.
    Uom,
    /// A coordinate of a box.
    Corner {
        /// Of the upper corner.
        upper: bool,
        /// 0, 1 or 2, in the order of the box's coordinate reference system.
        axis: usize,
    },
    /// Coordinate reference system of a box.
    Crs,
    /// Media type of complex data; of an output the one asked for.
    MediaType,
    /// Name of the file of complex data, without its folder.
    Name,
    /// What the executable calls the format asked for.
    Format,
    /// Complex data: the text itself, not the path of its file.
    Text,
    /// The run's identifier: letters, digits and `-`; no other run has it.
    RunId,
    /// Path of the run's folder.
    RunFolder,
}

const LITERAL_FIELDS: &[(&str, Field)] = &[("uom", Field::Uom)];
const BOX_FIELDS: &[(&str, Field)] = &[
    ("minx", Field::Corner { upper: false, axis: 0 }),
    ("miny", Field::Corner { upper: false, axis: 1 }),
    ("minz", Field::Corner { upper: false, axis: 2 }),
    ("maxx", Field::Corner { upper: true, axis: 0 }),
    ("maxy", Field::Corner { upper: true, axis: 1 }),
    ("maxz", Field::Corner { upper: true, axis: 2 }),
    ("crs", Field::Crs),
];
const COMPLEX_FIELDS: &[(&str, Field)] =
    &[("media_type", Field::MediaType), ("name", Field::Name), ("text", Field::Text)];
const RUN_FIELDS: &[(&str, Field)] = &[("run.id", Field::RunId), ("run.folder", Field::RunFolder)];
const OUTPUT_FIELDS: &[(&str, Field)] =
    &[("media_type", Field::MediaType), ("name", Field::Name), ("format", Field::Format)];

/// The names that placeholders may use.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// Of inputs.
    pub inputs: &'a [InputDescription],
    /// Of outputs.
    pub outputs: &'a [OutputDescription],
    /// Of constants, with their values.
    pub constants: &'a [(String, String)],
}

impl Names<'_> {
    fn owner(&self, name: &str) -> Option<(Owner, &'static [(&'static str, Field)])> {
        if let Some(input) = self.inputs.iter().find(|input| input.id == name) {
            let fields = match input.data {
                DataDescription::Literal(_) => LITERAL_FIELDS,
                DataDescription::BoundingBox(_) => BOX_FIELDS,
                DataDescription::Complex(_) => COMPLEX_FIELDS,
            };
            return Some((Owner::Input(name.to_owned()), fields));
        }
        if self.outputs.iter().any(|output| output.id == name) {
            return Some((Owner::Output(name.to_owned()), OUTPUT_FIELDS));
        }
        let constant = self.constants.iter().any(|(known, _)| known == name);
        constant.then(|| (Owner::Constant(name.to_owned()), &[][..]))
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        let inputs = self.inputs.iter().map(|input| input.id.as_str());
        let outputs = self.outputs.iter().map(|output| output.id.as_str());
        inputs.chain(outputs).chain(self.constants.iter().map(|(name, _)| name.as_str()))
    }

    fn resolve(&self, text: &str) -> Result<Placeholder, String> {
        if let Some((owner, _)) = self.owner(text) {
            return Ok(Placeholder { owner, field: Field::Value });
        }
        if let Some((name, field)) = text.rsplit_once('.')
            && let Some((owner, fields)) = self.owner(name)
        {
            if let Some((_, field)) = fields.iter().find(|(known, _)| *known == field) {
                return Ok(Placeholder { owner, field: *field });
            }
            let known: Vec<_> = fields.iter().map(|(known, _)| format!("{{{name}.{known}}}")).collect();
            let known = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
            return Err(format!("{{{text}}} is unknown: '{name}' has {known}"));
        }
        if let Some((_, field)) = RUN_FIELDS.iter().find(|(known, _)| *known == text) {
            return Ok(Placeholder { owner: Owner::Run, field: *field });
        }
        let known = self.all().chain(RUN_FIELDS.iter().map(|(known, _)| *known));
        let hint = match crate::units::nearest(text, known) {
            Some(near) => format!(", did you mean {{{near}}}?"),
            None => " (a brace itself is written {{ or }})".to_owned(),
        };
        Err(format!("{{{text}}} names no input, output or constant{hint}"))
    }
}

impl Template {
    /// Text without placeholders.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { parts: vec![Part::Text(text.into())] }
    }

    /// Reads a template.
    ///
    /// # Errors
    /// Every fault: unclosed braces, names that are unknown.
    pub fn parse(text: &str, names: Names<'_>) -> Result<Self, Vec<String>> {
        let (mut parts, mut plain, mut faults) = (Vec::new(), String::new(), Vec::new());
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let Some(end) = rest.find('}').filter(|_| brace == "{") else {
                faults.push(format!("'{brace}' in {text:?} has no partner (a brace itself is doubled)"));
                continue;
            };
            match names.resolve(&rest[..end]) {
                Ok(placeholder) => {
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(Part::Placeholder(placeholder));
                }
                Err(fault) => faults.push(fault),
            }
            rest = &rest[end + 1..];
        }
        plain.push_str(rest);
        if !plain.is_empty() || parts.is_empty() {
            parts.push(Part::Text(plain));
        }
        if faults.is_empty() { Ok(Self { parts }) } else { Err(faults) }
    }

    /// Its placeholders.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.parts.iter().filter_map(|part| match part {
            Part::Placeholder(placeholder) => Some(placeholder),
            Part::Text(_) => None,
        })
    }

    /// Identifiers of the inputs in it.
    pub fn inputs(&self) -> impl Iterator<Item = &str> {
        self.placeholders().filter_map(|placeholder| match &placeholder.owner {
            Owner::Input(id) => Some(id.as_str()),
            Owner::Output(_) | Owner::Constant(_) | Owner::Run => None,
        })
    }

    /// Appends text, to the text at its end where there is one.
    pub(crate) fn push_text(&mut self, text: &str) {
        match self.parts.last_mut() {
            Some(Part::Text(last)) => last.push_str(text),
            _ if text.is_empty() => {}
            _ => self.parts.push(Part::Text(text.to_owned())),
        }
    }

    /// Appends another one.
    pub(crate) fn append(&mut self, other: &Self) {
        for part in &other.parts {
            match part {
                Part::Text(text) => self.push_text(text),
                Part::Placeholder(placeholder) => self.parts.push(Part::Placeholder(placeholder.clone())),
            }
        }
    }

    /// Appends a placeholder.
    pub(crate) fn push(&mut self, owner: Owner, field: Field) {
        self.parts.push(Part::Placeholder(Placeholder { owner, field }));
    }

    /// The input that it consists of.
    #[must_use]
    pub fn as_input(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Placeholder(Placeholder { owner: Owner::Input(id), .. })] => Some(id),
            _ => None,
        }
    }

    /// The text, where it holds no placeholder.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anabranch_model::{BoundingBoxDomain, Occurs};

    fn boxes(id: &str) -> InputDescription {
        InputDescription::new(
            id,
            Occurs::ONE,
            DataDescription::BoundingBox(BoundingBoxDomain { crs: vec!["EPSG:4326".into()] }),
        )
    }

    fn parse(text: &str) -> Result<Template, Vec<String>> {
        let inputs = [boxes("area"), boxes("area.of.use")];
        let constants = [("zone".to_owned(), "32".to_owned())];
        Template::parse(text, Names { inputs: &inputs, outputs: &[], constants: &constants })
    }

    #[test]
    fn braces_are_doubled_to_stand_for_themselves() {
        assert_eq!(parse("{{a}} }}{{"), Ok(Template::text("{a} }{")));
        assert_eq!(parse(""), Ok(Template::text("")));
    }

    #[test]
    fn the_longest_known_name_wins() {
        let field = |text| parse(text).unwrap().placeholders().next().unwrap().clone();
        assert_eq!(field("{area.of.use}").owner, Owner::Input("area.of.use".into()));
        let corner = field("x={area.of.use.maxy}");
        assert_eq!(corner.field, Field::Corner { upper: true, axis: 1 });
        assert_eq!(field("{zone}").owner, Owner::Constant("zone".into()));
    }

    #[test]
    fn faults_come_together_and_say_what_is_known() {
        assert_eq!(
            parse("{aera} {area.width} {zone.x} {").unwrap_err(),
            [
                "{aera} names no input, output or constant, did you mean {area}?",
                "{area.width} is unknown: 'area' has {area.minx}, {area.miny}, {area.minz}, {area.maxx}, {area.maxy}, {area.maxz}, {area.crs}",
                "{zone.x} is unknown: 'zone' has nothing",
                "'{' in \"{aera} {area.width} {zone.x} {\" has no partner (a brace itself is doubled)",
            ]
        );
    }
}
