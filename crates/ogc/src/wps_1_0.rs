//! WPS 1.0.0 (OGC 05-007r7).

pub mod capabilities;
pub mod describe;
pub mod exception;
pub mod execute;
pub mod kvp;
pub mod response;

pub use capabilities::GetCapabilities;
pub use describe::{DescribeProcess, Processes};
pub use exception::exception_report;
pub use execute::{Execute, ResponseOptions};

/// The version this module speaks.
pub const VERSION: &str = "1.0.0";
/// The media type of all its documents.
pub const MEDIA_TYPE: &str = "text/xml; charset=utf-8";

/// A request of one of the three operations.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// §8.
    GetCapabilities(GetCapabilities),
    /// §9.
    DescribeProcess(DescribeProcess),
    /// §10.
    Execute(Box<Execute>),
}
