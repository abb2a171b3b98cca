//! The documents of WPS 1.0.0, WPS 2.0 and OGC API - Processes 1.0: bytes to requests, jobs and values to bytes.
//!
//! Every protocol is parsed *into* `anabranch-model` and written *from* it. This crate opens no socket, knows no runtime
//! and no engine, and binds nothing: whether a request fits its process is decided by `model::bind`. The only thing it
//! reads from a disk is a value that it is asked to write.
//!
//! Read these three first: [`detect`] (which request is it?), [`wps_1_0::response`] and [`ogcapi::execute`]. The modules
//! of the protocols have the same file names where the operation is the same.

mod base64_decoder;
pub mod detect;
pub mod ogcapi;
pub mod output;
pub mod ows;
mod payload;
pub mod service;
pub mod spool;
#[cfg(test)]
mod testing;
pub mod wps;
pub mod wps_1_0;
pub mod wps_2_0;
mod xml;

pub use detect::WpsRequest;
pub use output::{Output, OutputValue};
pub use ows::{Exception, ExceptionCode, ExceptionReport};
pub use service::{Provider, ServiceInfo};
