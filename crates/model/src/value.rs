//! Values: what flows into and out of a process.

use crate::description::{Format, LiteralType};
use crate::error::Error;
use base64::Engine as _;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// One value of an input or output: typed, checked, with its bytes at hand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// A number, a text, a date.
    Literal(LiteralValue),
    /// A box.
    BoundingBox(BoundingBox),
    /// Data with a format.
    Complex(ComplexValue),
}

/// A literal in the lexical form of its type (XML Schema part 2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiteralValue {
    /// The characters; valid for `data_type` when it comes out of `bind`.
    pub text: String,
    /// Its type.
    pub data_type: LiteralType,
    /// Unit of measure, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uom: Option<String>,
}

impl LiteralValue {
    /// A literal without a unit.
    #[must_use]
    pub fn new(data_type: LiteralType, text: impl Into<String>) -> Self {
        Self { text: text.into(), data_type, uom: None }
    }
}

/// A box in 2 or 3 dimensions; the axes stand in the order of its coordinate reference system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoundingBox {
    /// Identifier of the coordinate reference system; `None` means the default of the input.
    pub crs: Option<String>,
    /// One number an axis, in the CRS's units.
    pub lower: Vec<f64>,
    /// As many numbers as `lower`.
    pub upper: Vec<f64>,
}

/// Data with its format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComplexValue {
    /// The bytes, never base64: encodings are a matter of the protocol.
    pub data: Data,
    /// How they are written.
    pub format: Format,
    /// What is known of it without reading it.
    #[serde(default, skip_serializing_if = "Facts::is_empty")]
    pub facts: Facts,
}

impl ComplexValue {
    /// Data of which nothing but the format is known.
    #[must_use]
    pub fn new(data: Data, format: Format) -> Self {
        Self { data, format, facts: Facts::default() }
    }
}

/// What is known of data without reading it. What lists chunks tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// Features in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features: Option<u64>,
    /// Where it lies: west, south, east, north, in degrees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bbox: Option<[f64; 4]>,
    /// How long the run took that made it, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_ms: Option<u64>,
    /// When it was stored as a chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<Timestamp>,
}

impl Facts {
    /// Nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Bytes in memory, or in a file that whoever made the value keeps until the job is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "DataForm", into = "DataForm")]
pub enum Data {
    /// In memory: small ones.
    Bytes(Bytes),
    /// On disk: large ones.
    File(DataFile),
}

/// A file that holds a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// Absolute path, made by this program and never taken from a request.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
}

/// How [`Data`] is written down in a store of our own: text as text, other bytes as base64, files by path. Not for the network: a peer
/// that can name paths can read them.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DataForm {
    Text(String),
    Base64(String),
    File(DataFile),
}

impl From<Data> for DataForm {
    fn from(data: Data) -> Self {
        match data {
            Data::Bytes(bytes) => match std::str::from_utf8(&bytes) {
                Ok(text) => Self::Text(text.to_owned()),
                Err(_not_text) => Self::Base64(base64::engine::general_purpose::STANDARD.encode(&bytes)),
            },
            Data::File(file) => Self::File(file),
        }
    }
}

impl TryFrom<DataForm> for Data {
    type Error = base64::DecodeError;
    fn try_from(form: DataForm) -> Result<Self, Self::Error> {
        Ok(match form {
            DataForm::Text(text) => Self::Bytes(text.into()),
            DataForm::Base64(text) => {
                Self::Bytes(base64::engine::general_purpose::STANDARD.decode(text)?.into())
            }
            DataForm::File(file) => Self::File(file),
        })
    }
}

impl Data {
    /// A file as data.
    ///
    /// # Errors
    /// Where the file's size can't be read.
    pub fn file(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let bytes = std::fs::metadata(&path)?.len();
        Ok(Self::File(DataFile { path, bytes }))
    }

    /// Size in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(file) => file.bytes,
        }
    }

    /// No bytes at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads it from the start; blocking where it is a file.
    ///
    /// # Errors
    /// Where the file can't be opened.
    pub fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::Bytes(bytes) => Box::new(io::Cursor::new(bytes.clone())),
            Self::File(file) => Box::new(File::open(&file.path)?),
        })
    }

    /// All of it in memory; blocking where it is a file.
    ///
    /// # Errors
    /// Where it is larger than `bytes_max` or the file can't be read.
    pub fn read_all(&self, bytes_max: u64) -> io::Result<Bytes> {
        if self.len() > bytes_max {
            return Err(io::Error::other(format!(
                "{} bytes are more than the {bytes_max} taken here",
                self.len()
            )));
        }
        match self {
            Self::Bytes(bytes) => Ok(bytes.clone()),
            Self::File(file) => {
                let mut all = Vec::with_capacity(usize::try_from(file.bytes).unwrap_or(0));
                File::open(&file.path)?.take(bytes_max).read_to_end(&mut all)?;
                Ok(all.into())
            }
        }
    }

    /// The file's path, where it is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Bytes(_) => None,
            Self::File(file) => Some(&file.path),
        }
    }
}

/// The bound inputs of a run: every identifier once, in the order of the description, with its values in the order given.
/// Inputs that were not given and have no default are absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Inputs(Vec<(String, Vec<Value>)>);

impl Inputs {
    /// From identifiers and values.
    #[must_use]
    pub fn new(values: Vec<(String, Vec<Value>)>) -> Self {
        Self(values)
    }

    /// Identifiers and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[Value])> {
        self.0.iter().map(|(id, values)| (id.as_str(), values.as_slice()))
    }

    /// Every value, to be changed in place (e.g. moved to a file).
    pub fn values_mut(&mut self) -> impl Iterator<Item = (&str, &mut Value)> {
        self.0.iter_mut().flat_map(|(id, values)| values.iter_mut().map(|value| (id.as_str(), value)))
    }

    /// All values of an input; empty where it is absent.
    #[must_use]
    pub fn all(&self, id: &str) -> &[Value] {
        self.0.iter().find(|(name, _)| name == id).map_or(&[], |(_, values)| values)
    }

    /// The first value of an input.
    #[must_use]
    pub fn first(&self, id: &str) -> Option<&Value> {
        self.all(id).first()
    }

    /// The text of a literal input, `None` where it is absent or no literal.
    #[must_use]
    pub fn text(&self, id: &str) -> Option<&str> {
        match self.first(id)? {
            Value::Literal(literal) => Some(&literal.text),
            Value::BoundingBox(_) | Value::Complex(_) => None,
        }
    }

    /// A number; binding has checked it, so a missing one is a fault of the process's own description.
    ///
    /// # Errors
    /// [`Error::Internal`] naming the input where it is absent or no number.
    pub fn number(&self, id: &str) -> Result<f64, Error> {
        self.text(id).and_then(|text| text.trim().parse().ok()).ok_or_else(|| {
            Error::internal(format!("the process reads input '{id}' as a number, and it is none"))
        })
    }

    /// The first complex value of an input.
    ///
    /// # Errors
    /// [`Error::Internal`] naming the input where it is absent or not complex.
    pub fn complex(&self, id: &str) -> Result<&ComplexValue, Error> {
        match self.first(id) {
            Some(Value::Complex(value)) => Ok(value),
            _ => Err(Error::internal(format!(
                "the process reads input '{id}' as complex data, and it is none"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_reads_the_same_from_memory_and_file() {
        let path = std::env::temp_dir().join(format!("anabranch-model-{}", crate::JobId::random()));
        std::fs::write(&path, b"abc").unwrap();
        let file = Data::file(&path).unwrap();
        let memory = Data::Bytes(Bytes::from_static(b"abc"));
        for data in [&file, &memory] {
            assert_eq!(data.len(), 3);
            assert_eq!(data.read_all(3).unwrap(), "abc");
            assert!(data.read_all(2).unwrap_err().to_string().contains("more than the 2"));
            let mut text = String::new();
            data.open().unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "abc");
        }
        std::fs::remove_file(path).unwrap();
    }
}
