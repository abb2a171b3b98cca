//! Orchestrator and agents joined by a room in memory, with virtual time: no sockets, no sleeps and hopes.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail tests, and the lint spares test functions only"
)]

mod cluster;
mod doubles;
mod room;
mod session;
#[path = "../../examples/dispatch/simulation.rs"]
mod simulation;
mod stock;
mod stock_server;

mod bad_agents;
mod balance;
mod drain;
mod faults;
mod feed;
mod full_session;
mod happy;
mod noting;
mod restart;
mod storm;
mod to_the_end;
mod transcripts;
mod transcripts_agent;
mod wps_remote;
mod wps_remote_agent;
