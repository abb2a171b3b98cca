//! Exception reports (OWS Common 1.1, 06-121r3, §8, and 2.0, 06-121r9, §8).

use super::Version;
use crate::xml::{Writer, XmlError};
use std::io;

/// The exception codes of OWS Common §8.3, WPS 1.0.0 §8.4, §9.4, §10.4 and WPS 2.0 (tables 41, 46, 48 and 50).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExceptionCode {
    /// The operation is not offered.
    OperationNotSupported,
    /// A mandatory parameter is not there.
    MissingParameterValue,
    /// A parameter has a value that is not allowed.
    InvalidParameterValue,
    /// None of the versions the client accepts is offered.
    VersionNegotiationFailed,
    /// The client's update sequence is later than the server's.
    InvalidUpdateSequence,
    /// Everything else.
    NoApplicableCode,
    /// The disk is full.
    NotEnoughStorage,
    /// Try again later.
    ServerBusy,
    /// An input is too large.
    FileSizeExceeded,
    /// The process can't be executed asynchronously, or its outputs not stored.
    StorageNotSupported,
    /// WPS 2.0: the process is not offered.
    NoSuchProcess,
    /// WPS 2.0: the process can't be executed that way.
    NoSuchMode,
    /// WPS 2.0: the process has no such input.
    NoSuchInput,
    /// WPS 2.0: the process has no such output.
    NoSuchOutput,
    /// WPS 2.0: a reference can't be read.
    DataNotAccessible,
    /// WPS 2.0: an input is too large.
    SizeExceeded,
    /// WPS 2.0: an input has more values than it takes.
    TooManyInputs,
    /// WPS 2.0: raw answers hold one output.
    TooManyOutputs,
    /// WPS 2.0: a format is not supported.
    NoSuchFormat,
    /// WPS 2.0: an input is not what the process takes.
    WrongInputData,
    /// WPS 2.0: a fault of the server.
    InternalServerError,
    /// WPS 2.0: there is no such job (any more).
    NoSuchJob,
    /// WPS 2.0: the job has not finished.
    ResultNotReady,
}

impl ExceptionCode {
    /// As it stands in documents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OperationNotSupported => "OperationNotSupported",
            Self::MissingParameterValue => "MissingParameterValue",
            Self::InvalidParameterValue => "InvalidParameterValue",
            Self::VersionNegotiationFailed => "VersionNegotiationFailed",
            Self::InvalidUpdateSequence => "InvalidUpdateSequence",
            Self::NoApplicableCode => "NoApplicableCode",
            Self::NotEnoughStorage => "NotEnoughStorage",
            Self::ServerBusy => "ServerBusy",
            Self::FileSizeExceeded => "FileSizeExceeded",
            Self::StorageNotSupported => "StorageNotSupported",
            Self::NoSuchProcess => "NoSuchProcess",
            Self::NoSuchMode => "NoSuchMode",
            Self::NoSuchInput => "NoSuchInput",
            Self::NoSuchOutput => "NoSuchOutput",
            Self::DataNotAccessible => "DataNotAccessible",
            Self::SizeExceeded => "SizeExceeded",
            Self::TooManyInputs => "TooManyInputs",
            Self::TooManyOutputs => "TooManyOutputs",
            Self::NoSuchFormat => "NoSuchFormat",
            Self::WrongInputData => "WrongInputData",
            Self::InternalServerError => "InternalServerError",
            Self::NoSuchJob => "NoSuchJob",
            Self::ResultNotReady => "ResultNotReady",
        }
    }

    /// The HTTP status that goes with it; neither WPS names one, so these are those of OWS Common 2.0 where it has the code.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::OperationNotSupported => 501,
            Self::ServerBusy => 503,
            Self::NotEnoughStorage => 507,
            Self::InternalServerError => 500,
            Self::FileSizeExceeded
            | Self::MissingParameterValue
            | Self::InvalidParameterValue
            | Self::VersionNegotiationFailed
            | Self::InvalidUpdateSequence
            | Self::NoApplicableCode
            | Self::StorageNotSupported
            | Self::NoSuchProcess
            | Self::NoSuchMode
            | Self::NoSuchInput
            | Self::NoSuchOutput
            | Self::DataNotAccessible
            | Self::SizeExceeded
            | Self::TooManyInputs
            | Self::TooManyOutputs
            | Self::NoSuchFormat
            | Self::WrongInputData
            | Self::NoSuchJob
            | Self::ResultNotReady => 400,
        }
    }
}

/// One thing wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Sort.
    pub code: ExceptionCode,
    /// The parameter, input or output it is about.
    pub locator: Option<String>,
    /// For people.
    pub text: String,
}

impl Exception {
    pub(crate) fn new(code: ExceptionCode, locator: impl Into<String>, text: impl Into<String>) -> Self {
        Self { code, locator: Some(locator.into()), text: text.into() }
    }

    pub(crate) fn missing(locator: &str) -> Self {
        Self::new(ExceptionCode::MissingParameterValue, locator, format!("parameter '{locator}' is required"))
    }

    pub(crate) fn invalid(locator: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(ExceptionCode::InvalidParameterValue, locator, text)
    }
}

/// What is answered instead of a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .exceptions.iter().map(|e| e.text.as_str()).collect::<Vec<_>>().join("; "))]
pub struct ExceptionReport {
    /// HTTP status.
    pub status: u16,
    /// For a `Retry-After` header, in seconds.
    pub retry_after_s: Option<u32>,
    /// Not empty.
    pub exceptions: Vec<Exception>,
    /// Whose form the document has.
    pub version: Version,
}

impl ExceptionReport {
    /// A report of OWS Common 1.1.
    pub(crate) fn of(status: u16, exceptions: Vec<Exception>) -> Self {
        Self { status, retry_after_s: None, exceptions, version: Version::V1_1 }
    }

    /// The same in the form of another version.
    pub(crate) fn in_version(self, version: Version) -> Self {
        Self { version, ..self }
    }

    /// The document, `text/xml`.
    #[must_use]
    pub fn to_xml(&self, language: &str) -> Vec<u8> {
        crate::xml::to_vec(|xml| self.write(xml, Some(language)))
    }

    /// Writes the report as an element; one that is not the root has no language of its own.
    pub(crate) fn write(&self, xml: &mut Writer<'_>, language: Option<&str>) -> io::Result<()> {
        xml.start("ows:ExceptionReport")?;
        if let Some(language) = language {
            xml.attribute("xmlns:ows", self.version.namespace())?;
            xml.attribute("xml:lang", language)?;
        }
        let version = match self.version {
            Version::V1_1 => "1.0.0",
            Version::V2_0 => "2.0.0",
        };
        xml.attribute("version", version)?;
        for exception in &self.exceptions {
            xml.start("ows:Exception")?;
            xml.attribute("exceptionCode", exception.code.name())?;
            xml.attribute_if("locator", exception.locator.as_deref())?;
            xml.leaf("ows:ExceptionText", &exception.text)?;
            xml.end()?;
        }
        xml.end()
    }
}

impl From<Exception> for ExceptionReport {
    fn from(exception: Exception) -> Self {
        Self::of(exception.code.status(), vec![exception])
    }
}

/// A document that can't be read.
impl From<XmlError> for ExceptionReport {
    fn from(error: XmlError) -> Self {
        Exception { code: ExceptionCode::NoApplicableCode, locator: None, text: error.to_string() }.into()
    }
}

/// `dem` of `input 'dem'`: what is too large is named in words.
pub(crate) fn input_named(what: &str) -> Option<&str> {
    what.strip_prefix("input '")?.strip_suffix('\'')
}
