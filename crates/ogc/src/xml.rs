//! XML: the only module that names quick-xml.
