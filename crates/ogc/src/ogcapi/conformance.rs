//! The conformance declaration (§7.4).

use super::link::{BaseUrl, Link};
use serde::Serialize;

/// A conformance class of Part 1 1.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConformanceClass {
    /// §7.
    Core,
    /// §8.
    OgcProcessDescription,
    /// §9.1.
    Json,
    /// §9.2.
    Html,
    /// §10.
    Oas30,
    /// §11.
    JobList,
    /// §12.
    Callback,
    /// §13.
    Dismiss,
}

impl ConformanceClass {
    /// Its URI.
    #[must_use]
    pub fn uri(self) -> &'static str {
        match self {
            Self::Core => "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/core",
            Self::OgcProcessDescription => {
                "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/ogc-process-description"
            }
            Self::Json => "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/json",
            Self::Html => "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/html",
            Self::Oas30 => "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/oas30",
            Self::JobList => "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/job-list",
            Self::Callback => "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/callback",
            Self::Dismiss => "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/dismiss",
        }
    }
}

/// The declaration (`confClasses.yaml`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Conformance {
    /// URIs of the classes.
    #[serde(rename = "conformsTo")]
    pub conforms_to: Vec<&'static str>,
    /// `self` and `alternate`.
    pub links: Vec<Link>,
}

/// Declares what the server has: the list is the caller's, because it knows what it serves.
#[must_use]
pub fn conformance(classes: &[ConformanceClass], base: &BaseUrl) -> Conformance {
    Conformance {
        conforms_to: classes.iter().map(|class| class.uri()).collect(),
        links: base.own_links("/conformance", ""),
    }
}
