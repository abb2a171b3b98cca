//! The `anabranch` binary: server, agent and the commands of people.
//!
//! It puts the other crates together and speaks HTTP; what it does not hold: protocols' documents (`ogc`), jobs (`engine`),
//! the agent protocol (`remote`), executables (`command`). Read first: `serve.rs`, `http.rs`, `agent.rs`.

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

use anabranch_remote::AgentError;
use clap::Parser as _;
use cli::{Cli, Command};
use std::process::ExitCode;
use tracing_subscriber::layer::Identity;

const EXIT_FAILED: u8 = 1;
const EXIT_UNREACHABLE: u8 = 3;
const EXIT_REFUSED: u8 = 4;
const EXIT_INTERRUPTED: u8 = 130;

/// Stack of a worker thread: the XMPP server parses foreign XML on it, and its depth guard is the first defence, not the only one.
const STACK_BYTES: usize = 4 << 20;

fn main() -> ExitCode {
    // The supervisor of a run is this very program and must begin at once, before anything else is set up.
    // So is the driver of a run on a cluster.
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(first) if first == anabranch_command::SUPERVISE => {
            return anabranch_command::supervise_main(arguments);
        }
        Some(first) if first == anabranch_command::SLURM => return anabranch_command::slurm_main(arguments),
        _ => {}
    }
    let cli = Cli::parse();
    let threads = match &cli.command {
        Command::Serve(_) | Command::Xmpp(_) => {
            std::thread::available_parallelism().map_or(2, std::num::NonZero::get)
        }
        _ => 1,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(&cli.command)),
        Err(error) => Err(error.into()),
    };
    result.unwrap_or_else(|error| {
        terminal::note(format_args!("anabranch: {error:#}"));
        exit_code(&error)
    })
}

async fn run(command: &Command) -> anyhow::Result<ExitCode> {
    // The server's configuration says how it logs.
    if !matches!(command, Command::Serve(_)) {
        log::start(&log::Config::default(), Identity::new())?;
    }
    match command {
        Command::Serve(arguments) => serve::serve(arguments).await?,
        Command::Xmpp(arguments) => xmpp_server::xmpp(arguments).await?,
        Command::Agent(arguments) => agent::agent(arguments).await?,
        Command::Check(arguments) if arguments.store => {
            if !data_folder::check(&arguments.data.folder(), arguments.repair)? {
                return Ok(EXIT_FAILED.into());
            }
        }
        Command::Check(arguments) if check::check(&arguments.files)? => {}
        Command::Check(_) => return Ok(EXIT_FAILED.into()),
        Command::Run(arguments) => {
            return Ok(match client::run::run(arguments).await? {
                client::run::Ended::Successful => ExitCode::SUCCESS,
                client::run::Ended::Failed => EXIT_FAILED.into(),
                client::run::Ended::Interrupted => EXIT_INTERRUPTED.into(),
            });
        }
        Command::Backup(arguments) => data_folder::backup(arguments)?,
        Command::Restore(arguments) => data_folder::restore_backup(arguments)?,
        Command::Replay(arguments) => replay::replay(arguments).await?,
        Command::Jobs(arguments) => client::listing::jobs(arguments).await?,
        Command::Agents(arguments) => client::listing::agents(arguments).await?,
        Command::Drain(arguments) => client::listing::drain(arguments).await?,
        Command::Kill(arguments) => client::listing::kill(arguments).await?,
        Command::Log(arguments) => client::listing::log(arguments).await?,
        Command::Revoke(arguments) => invite::revoke(arguments)?,
        Command::Invite(arguments) => invite::invite(arguments)?,
        Command::Convert(arguments) if convert::convert(arguments)? => {}
        Command::Convert(_) => return Ok(EXIT_FAILED.into()),
        Command::User(arguments) => user::user(arguments)?,
        Command::Password(command) => password::password(command)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The table of `--help`.
fn exit_code(error: &anyhow::Error) -> ExitCode {
    let refused = match error.downcast_ref::<AgentError>() {
        Some(AgentError::Session(Some(cause))) => xmpp_session::is_refusal(cause),
        _ => false,
    };
    let by_server = error.downcast_ref::<client::api::Refusal>();
    if refused || by_server.is_some_and(client::api::Refusal::is_of_login) {
        EXIT_REFUSED.into()
    } else if error.downcast_ref::<client::api::Unreachable>().is_some() {
        EXIT_UNREACHABLE.into()
    } else {
        EXIT_FAILED.into()
    }
}
