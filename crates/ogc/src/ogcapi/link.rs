//! Links between resources (§7.2, RFC 8288), and where the resources are.

use anabranch_model::{JobId, ProcessId};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

/// The relations that OGC API - Processes defines begin with this.
const OGC_REL: &str = "http://www.opengis.net/def/rel/ogc/1.0/";

/// What a path segment may hold as it is: RFC 3986 `unreserved` and `:`.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// A link (`link.yaml`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Absolute URL.
    pub href: String,
    /// Relation.
    pub rel: String,
    /// Media type of what is found there.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

impl Link {
    /// A link.
    pub fn new(rel: impl Into<String>, media_type: impl Into<String>, href: impl Into<String>) -> Self {
        Self { href: href.into(), rel: rel.into(), media_type: Some(media_type.into()), title: None }
    }

    /// A link with one of the relations that the standard defines: `processes`, `conformance`, `execute`, `job-list`, `results`.
    pub fn ogc(name: &str, media_type: impl Into<String>, href: impl Into<String>) -> Self {
        Self::new(format!("{OGC_REL}{name}"), media_type, href)
    }

    /// With a title.
    #[must_use]
    pub fn titled(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// The value of a `Link` header (RFC 8288 §3). Characters that could end the value are percent-encoded or dropped.
    #[must_use]
    pub fn header(&self) -> String {
        let mut text = format!("<{}>; rel=\"{}\"", bare(&self.href), bare(&self.rel));
        for (name, value) in [("type", &self.media_type), ("title", &self.title)] {
            if let Some(value) = value.as_deref().filter(|value| value.is_ascii()) {
                text.push_str(&format!("; {name}=\"{}\"", bare(value)));
            }
        }
        text
    }
}

/// Without characters that mean something in a `Link` header.
fn bare(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && !"<>\"\\".contains(*c)).collect()
}

/// Where the server is, as its clients see it, and with it where everything else is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// From the URL of the landing page, with or without `/` at its end.
    pub fn new(url: impl Into<String>) -> Self {
        let mut url = url.into();
        url.truncate(url.trim_end_matches('/').len());
        Self(url)
    }

    /// The URL of a path that begins with `/`.
    #[must_use]
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// The landing page.
    #[must_use]
    pub fn landing(&self) -> String {
        self.at("/")
    }

    /// A process.
    #[must_use]
    pub fn process(&self, id: &ProcessId) -> String {
        self.at(&format!("/processes/{}", segment(id.as_str())))
    }

    /// Where a process is executed.
    #[must_use]
    pub fn execution(&self, id: &ProcessId) -> String {
        format!("{}/execution", self.process(id))
    }

    /// A job.
    #[must_use]
    pub fn job(&self, id: &JobId) -> String {
        self.at(&format!("/jobs/{id}"))
    }

    /// The results of a job.
    #[must_use]
    pub fn results(&self, id: &JobId) -> String {
        self.at(&format!("/jobs/{id}/results"))
    }

    /// One result of a job.
    #[must_use]
    pub fn output(&self, id: &JobId, output: &str) -> String {
        format!("{}/{}", self.results(id), segment(output))
    }

    /// `self` as JSON and `alternate` as HTML: every document has both (req/core/pl-links). `query` is empty or begins with `?`.
    pub(super) fn own_links(&self, path: &str, query: &str) -> Vec<Link> {
        let html = if query.is_empty() { "?f=html".to_owned() } else { format!("{query}&f=html") };
        vec![
            Link::new("self", super::MEDIA_TYPE, self.at(&format!("{path}{query}"))).titled("this document"),
            Link::new("alternate", "text/html", self.at(&format!("{path}{html}")))
                .titled("this document as HTML"),
        ]
    }
}

/// A path segment, percent-encoded where it has to be.
pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}
