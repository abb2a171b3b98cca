//! Orchestrator and agents joined by a room in memory, with virtual time: no sockets, no sleeps and hopes.

mod cluster;
mod doubles;
mod room;

mod balance;
mod faults;
mod happy;
mod restart;
