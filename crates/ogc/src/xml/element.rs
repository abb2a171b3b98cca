//! A start tag, taken apart.

/// A start tag.
#[derive(Debug, PartialEq)]
pub(crate) struct Element {
    /// Empty for none.
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(super) attributes: Vec<Attribute>,
}

#[derive(Debug, PartialEq)]
pub(super) struct Attribute {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) value: String,
}

impl Element {
    pub(crate) fn is(&self, namespace: &str, name: &str) -> bool {
        self.name == name && self.namespace == namespace
    }

    /// An attribute without a namespace.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attribute_of("", name)
    }

    pub(crate) fn attribute_of(&self, namespace: &str, name: &str) -> Option<&str> {
        let mut all = self.attributes.iter();
        all.find(|a| a.name == name && a.namespace == namespace).map(|a| a.value.as_str())
    }
}
