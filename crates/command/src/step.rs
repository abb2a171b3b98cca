//! Files that are made in the run's folder before the executable starts: configurations with the inputs' values in them.
//!
//! A step whose input has no value is left out. Nothing of a service file or a value is ever executed: a place in a JSON
//! document is a list of keys and indexes.

use crate::template::Template;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Stands in [`Step::WriteJson`]'s target for what is found at its `name_from`: `asset-{name}.json`.
pub const NAME_TOKEN: &str = "{name}";

/// Most keys and indexes of a [`JsonPath`]: as deep as a document may be nested.
const JSON_PATH_MAX: usize = 64;

/// A file to be made. Targets are relative to the run's folder and never leave it.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A copy.
    Copy {
        /// Of what.
        from: Place,
        /// Into which file.
        to: String,
    },
    /// A JSON document out of a value, once for each value of its input.
    WriteJson {
        /// The document's text.
        value: Template,
        /// What it must fulfil.
        schema: Option<JsonSchema>,
        /// Where in the document the part of the name stands that tells files of several values apart: a whole number, or a word
        /// of letters, digits, `-` and `_`.
        name_from: Option<JsonPath>,
        /// Into which file; with [`NAME_TOKEN`] where `name_from` is given.
        to: String,
    },
    /// Sets a value in a JSON document.
    SetJson {
        /// What is set.
        value: StepValue,
        /// Where. What is around it must be there already; the last key may be new.
        path: JsonPath,
        /// What it is copied from, where the target is not there yet.
        from: Option<Place>,
        /// In which file.
        to: String,
    },
    /// Sets an option of an INI file; comments and all the rest stay as they are.
    SetIni {
        /// What is set.
        value: Template,
        /// The value is split at commas and written as `["a","b"]`.
        list: bool,
        /// In which section, which must be there.
        section: String,
        /// Whatever the case of its letters.
        option: String,
        /// What it is copied from, where the target is not there yet.
        from: Option<Place>,
        /// In which file.
        to: String,
    },
}

impl Step {
    /// Paths that may hold the run's identifier.
    pub(crate) fn run_paths_mut(&mut self) -> Vec<&mut String> {
        let (from, to) = match self {
            Self::Copy { from, to } => (Some(from), to),
            Self::WriteJson { to, .. } => (None, to),
            Self::SetJson { from, to, .. } | Self::SetIni { from, to, .. } => (from.as_mut(), to),
        };
        let from = from.and_then(|place| match place {
            Place::Run(path) => Some(path),
            Place::Host(_) => None,
        });
        from.into_iter().chain([to]).collect()
    }

    /// The template in it.
    pub(crate) fn template(&self) -> Option<&Template> {
        match self {
            Self::Copy { .. } | Self::SetJson { value: StepValue::Number(_), .. } => None,
            Self::WriteJson { value, .. }
            | Self::SetIni { value, .. }
            | Self::SetJson { value: StepValue::Template(value), .. } => Some(value),
        }
    }
}

/// What is set in a JSON document.
#[derive(Clone, Debug, PartialEq)]
pub enum StepValue {
    /// Numbers and truth values of inputs become such, all else strings; several values an array.
    Template(Template),
    /// A number of the service file, as written.
    Number(serde_json::Number),
}

/// A file to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The service author's; absolute.
    Host(PathBuf),
    /// In the run's folder.
    Run(String),
}

/// A JSON Schema, read with the service file.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonSchema {
    /// Where it lies; absolute.
    pub path: PathBuf,
    /// The document.
    pub document: serde_json::Value,
}

/// A place in a JSON document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPath(
    /// From the outside; never empty.
    pub Vec<JsonPathPart>,
);

/// A step into a JSON document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonPathPart {
    /// Into an object.
    Key(String),
    /// Into an array, from 0.
    Index(usize),
}

/// Reads the subscripts of Python: `['Config']["n"][0]`. They are read, not executed.
impl FromStr for JsonPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || format!("must be subscripts such as ['Config']['n'] or [0], not {text:?}");
        let (mut parts, mut rest) = (Vec::new(), text.trim());
        while !rest.is_empty() {
            let inside = rest.strip_prefix('[').ok_or_else(fault)?.trim_start();
            let inside =
                inside.strip_prefix('u').filter(|text| text.starts_with(['\'', '"'])).unwrap_or(inside);
            let (part, after) = match inside.chars().next() {
                Some(quote @ ('\'' | '"')) => {
                    let (key, after) = inside[1..].split_once(quote).ok_or_else(fault)?;
                    (JsonPathPart::Key(key.to_owned()), after)
                }
                _ => {
                    let (index, _) = inside.split_once(']').ok_or_else(fault)?;
                    let number = index.trim().parse().map_err(|_no_number| fault())?;
                    (JsonPathPart::Index(number), &inside[index.len()..])
                }
            };
            parts.push(part);
            rest = after.trim_start().strip_prefix(']').ok_or_else(fault)?.trim_start();
        }
        Self::new(parts).ok_or_else(fault)
    }
}

impl JsonPath {
    /// `None` where it leads nowhere or too deep.
    pub(crate) fn new(parts: Vec<JsonPathPart>) -> Option<Self> {
        (1..=JSON_PATH_MAX).contains(&parts.len()).then_some(Self(parts))
    }
}

/// `Config.items.0`, for people.
impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.0.iter().enumerate() {
            let dot = if index == 0 { "" } else { "." };
            match part {
                JsonPathPart::Key(key) => write!(f, "{dot}{key}")?,
                JsonPathPart::Index(index) => write!(f, "{dot}{index}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscripts_are_read_and_never_run() {
        let parts = |text: &str| text.parse::<JsonPath>().map(|path| path.to_string());
        assert_eq!(parts("['Config']['n']").unwrap(), "Config.n");
        assert_eq!(parts(" [ \"a b\" ] [0][u'x']").unwrap(), "a b.0.x");
        for bad in ["", "Config", "['a'", "[a]", "['a'].pop()", "['a'][-1]", "[__import__('os')]", "['a']x"] {
            assert!(parts(bad).is_err(), "{bad}");
        }
        assert!(parts(&"[0]".repeat(65)).is_err());
    }
}
