//! What it costs to decide who gets which run, past one machine: 10,000 agents with 100 services each, 1,000 processes, up to
//! 100,000 runs that wait. Without a network: everything is in this process.
//!
//!     cargo run --release -p anabranch-remote --example dispatch [AGENTS] [decisions|pool]
//!
//! `decisions` drives the dispatcher alone, and times each decision; `pool` drives a whole orchestrator with simulated agents,
//! messages as XML included, until every run has ended as its agent says, and gives the cost of a run while the queue empties.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for a terminal")]

mod decisions;
mod measure;
mod pool;
mod simulation;

fn main() {
    let mut arguments = std::env::args().skip(1).peekable();
    let agents = match arguments.peek().and_then(|first| first.parse().ok()) {
        Some(agents) => {
            arguments.next();
            agents
        }
        None => 10_000,
    };
    let part = arguments.next();
    println!("{}", measure::machine());
    if part.as_deref() != Some("pool") {
        decisions::run(agents);
    }
    if part.as_deref() != Some("decisions") {
        pool::run(agents as usize);
    }
}
