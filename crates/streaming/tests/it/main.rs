//! Streams around a scripted process, with playlists from a real HTTP server.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail tests, and the lint spares test functions only"
)]

mod doubles;
mod fed;
mod follow;
mod output;
mod tiles;
