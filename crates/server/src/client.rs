//! The commands that talk to a server: run, jobs, agents, kill, log. They use its public HTTP interface only.

pub(crate) mod api;
pub(crate) mod listing;
pub(crate) mod run;
mod stream;
mod values;
