//! What the programs `anabranch` (server, agent and the commands of people) and `anabranch-agent` (the agent alone) are made of.
//!
//! It puts the other crates together and speaks HTTP; what it does not hold: protocols' documents (`ogc`), jobs (`engine`),
//! the agent protocol (`remote`), executables (`command`). Read first: `programs.rs`, `serve.rs`, `http.rs`, `agent.rs`.

mod accounts;
mod agent;
mod agent_config;
mod agent_data;
mod app;
mod audit;
mod callbacks;
mod check;
mod cli;
mod client;
mod config;
mod convert;
mod data_folder;
mod data_plane;
mod folder;
mod geoserver;
mod http;
mod invite;
mod join;
mod layers;
mod load;
mod local_services;
mod log;
mod login;
mod offering;
mod open_files;
mod password;
mod programs;
mod publisher;
mod reload;
mod remote_config;
mod replay;
mod serve;
mod shared_folder;
mod signals;
mod store_config;
mod streams;
mod telemetry;
mod terminal;
mod upload_password;
mod upload_server;
mod uploading;
mod user;
mod wps_remote_agent;
mod xmpp_server;
mod xmpp_session;

pub use programs::{anabranch, anabranch_agent};
