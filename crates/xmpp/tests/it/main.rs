//! The crate as its users see it: server and clients over the loopback interface.

mod hostile;
mod login;
mod reconnect;
mod rooms;
mod support;
