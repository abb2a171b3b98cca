//! OWS Common: what all OGC web services of the XML generation share.

pub(crate) mod common;
pub mod exception;
pub(crate) mod kvp;

pub use exception::{Exception, ExceptionCode, ExceptionReport};

/// The namespace of OWS Common 1.1, which WPS 1.0.0 uses.
pub(crate) const NAMESPACE_1_1: &str = "http://www.opengis.net/ows/1.1";
/// The namespace of OWS Common 2.0, which WPS 2.0 uses.
pub(crate) const NAMESPACE_2_0: &str = "http://www.opengis.net/ows/2.0";

/// The versions of OWS Common, which differ in little but their namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// 06-121r3; for whoever has not said which version of a service is meant.
    #[default]
    V1_1,
    /// 06-121r9.
    V2_0,
}

impl Version {
    pub(crate) fn namespace(self) -> &'static str {
        match self {
            Self::V1_1 => NAMESPACE_1_1,
            Self::V2_0 => NAMESPACE_2_0,
        }
    }
}
