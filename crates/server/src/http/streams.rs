//! Outputs as streams: playlists of their chunks in every form, and the chunks. Nothing here is stored: each form is rendered from the
//! log of the output and the state of its job, so that a playlist is open exactly as long as the job goes on.
//!
//! A batch output is a log of length one and has all of this too.

mod address;
mod chunk;
mod events;
mod features;
mod followers;
mod form;
mod links;
mod log;
mod page;
mod playlist;
mod servlet;
mod view;
mod watch;

pub(crate) use address::Addresses;
pub(crate) use chunk::chunk;
pub(crate) use followers::Followers;
pub(crate) use links::{links, links_of_2012, views};
pub(crate) use playlist::{body_of, of_output, playlist};
pub(crate) use servlet::retrieve;
pub(crate) use watch::{page as watch, watch_chunk, watch_events};
