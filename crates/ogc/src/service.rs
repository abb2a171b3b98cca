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

/// The form of a language tag: parts of 1 to 8 letters and digits with hyphens between them, the first of letters (RFC 4646 §2.1).
#[must_use]
pub fn is_language(tag: &str) -> bool {
    let is_part = |part: &str| matches!(part.len(), 1..=8) && part.bytes().all(|b| b.is_ascii_alphanumeric());
    let first = tag.split('-').next().unwrap_or_default();
    tag.split('-').all(is_part) && first.bytes().all(|b| b.is_ascii_alphabetic())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_have_a_form() {
        for tag in ["en", "en-US", "de-DE-1996", "x-klingon"] {
            assert!(is_language(tag), "{tag}");
        }
        for tag in ["", "en-", "-US", "en_US", "en US", "1-a", "abcdefghi"] {
            assert!(!is_language(tag), "{tag}");
        }
    }
}
