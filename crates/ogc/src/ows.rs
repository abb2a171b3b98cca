//! OWS Common: what all OGC web services of the XML generation share.

pub mod exception;

pub use exception::{Exception, ExceptionCode, ExceptionReport};
