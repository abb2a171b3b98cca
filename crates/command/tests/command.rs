//! Runs real executables: small shell scripts, as programs under test.

#![expect(clippy::unwrap_used, reason = "tests, and helpers that only tests call")]

#[path = "command/dialects.rs"]
mod dialects;
#[path = "command/ends.rs"]
mod ends;
#[path = "command/feed.rs"]
mod feed;
#[path = "command/groups.rs"]
mod groups;
#[path = "command/isolation.rs"]
mod isolation;
#[path = "command/lines.rs"]
mod lines;
#[path = "command/outputs.rs"]
mod outputs;
#[path = "command/slurm.rs"]
mod slurm;
#[path = "command/support.rs"]
mod support;
