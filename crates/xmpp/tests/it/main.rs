//! The crate as its users see it: server and clients over the loopback interface.

// A test that cannot go on should say where; the lint allows that in test functions only.
#![allow(clippy::unwrap_used)]

mod hostile;
mod login;
mod reconnect;
mod rooms;
mod support;
