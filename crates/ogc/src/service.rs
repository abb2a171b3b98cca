//! Who runs the server: what capabilities documents and landing pages say about it.

/// What the operator says about the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceInfo {
    /// One line for people.
    pub title: String,
    /// In sentences; may be empty.
    pub description: String,
    /// Words to find it by.
    pub keywords: Vec<String>,
    /// `NONE`, or what it costs.
    pub fees: String,
    /// `NONE`, or what is not allowed.
    pub access_constraints: String,
    /// Who runs it.
    pub provider: Provider,
    /// RFC 4646 tags; the first is the default; never empty.
    pub languages: Vec<String>,
}

/// Who runs the service (OWS Common 1.1 §7.4.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// The organisation.
    pub name: String,
    /// Its web site.
    pub site: Option<String>,
    /// The person to ask.
    pub contact: Option<String>,
    /// Where to write to.
    pub email: Option<String>,
}

/// The language of all texts where the operator names none.
pub const LANGUAGE_DEFAULT: &str = "en-US";

impl Default for ServiceInfo {
    fn default() -> Self {
        Self {
            title: "Anabranch".into(),
            description: "Publishes anything that can run as OGC processes.".into(),
            keywords: vec!["WPS".into(), "geoprocessing".into()],
            fees: "NONE".into(),
            access_constraints: "NONE".into(),
            provider: Provider { name: "Anabranch".into(), site: None, contact: None, email: None },
            languages: vec![LANGUAGE_DEFAULT.into()],
        }
    }
}

impl ServiceInfo {
    /// The language that answers are written in where the client names none.
    #[must_use]
    pub fn language(&self) -> &str {
        self.languages.first().map_or(LANGUAGE_DEFAULT, String::as_str)
    }

    /// The spelling under which a language is offered, if it is; tags are compared without regard to case (RFC 4646 §2.1).
    #[must_use]
    pub fn find_language(&self, tag: &str) -> Option<&str> {
        self.languages.iter().find(|known| known.eq_ignore_ascii_case(tag)).map(String::as_str)
    }
}
