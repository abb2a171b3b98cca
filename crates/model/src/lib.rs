//! What the geoprocessing standards talk about, without their syntax.
//!
//! Processes and their descriptions, values, execute requests, jobs and errors: the words that WPS 1.0.0, WPS 2.0,
//! OGC API - Processes and the agent protocol share. Every protocol is parsed *into* these types and rendered *from*
//! them, so this crate knows no XML, no JSON, no HTTP and no runtime: it must outlive every syntax.
//!
//! Read these three first: [`Process`] (anything that can run), [`ExecuteRequest`] (what a client asks, before and
//! after [`bind`](fn@bind)), [`Job`] (one small state machine).

#![warn(missing_docs)]

pub mod bind;
pub mod description;
pub mod error;
pub mod group;
pub mod id;
pub mod job;
pub mod limit;
pub mod priority;
pub mod process;
pub mod request;
pub mod subscriber;
pub mod value;
pub mod viewer;

pub use bind::{BoundRequest, BoundValue, bind};
pub use description::{
    AllowedValue, BoundingBoxDomain, Chunking, ComplexDomain, Cut, DataDescription, Format, InputDescription,
    LiteralDomain, LiteralType, Metadata, Occurs, OnAgentRestart, OutputDescription, ProcessDescription,
    Publication, RangeClosure,
};
pub use error::{Error, Fault, FaultKind, Subject};
pub use group::GroupDescription;
pub use id::{InvalidIdentifier, JobId, ProcessId};
pub use job::{Applied, DismissedBy, Job, JobEvent, JobState, Outcome, Removal};
pub use limit::{Limit, LimitKind, LimitOf, LimitSort};
pub use priority::Priority;
pub use process::{
    Algorithm, AlgorithmSink, Arriving, ArrivingData, BoxFuture, ChunkReader, Execution, Feed, HelperSink,
    LogLine, LogSource, OnRestart, OutputSink, Prepared, Process, ProcessAround, SinkAround,
};
pub use request::{
    ExecuteRequest, ExecutionMode, FormatHint, HttpMethod, InputData, InputItem, OutputRequest, Reference,
    ReferenceBody, ResponseForm, TextForm, Transmission,
};
pub use subscriber::{CallbackEvent, Subscriber};
pub use value::{BoundingBox, ComplexValue, Data, DataFile, Facts, Inputs, LiteralValue, Value};
pub use viewer::{InvalidUserName, UserName, Viewer};

/// A point in time; the crate never reads a clock, time is always a parameter.
pub use jiff::Timestamp;
