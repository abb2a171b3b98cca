//! What the programs do with their command lines: begin, run, and say by an exit code how it ended.

use crate::cli::{AgentCli, Cli, Command};
use crate::{
    agent, check, client, convert, data_folder, invite, log, password, replay, serve, terminal, user,
    xmpp_server, xmpp_session,
};
use anabranch_remote::AgentError;
use clap::Parser as _;
use std::io;
use std::process::ExitCode;
use tokio::runtime::{Builder, LocalOptions};
use tracing_subscriber::layer::Identity;

const EXIT_FAILED: u8 = 1;
const EXIT_UNREACHABLE: u8 = 3;
const EXIT_REFUSED: u8 = 4;
const EXIT_INTERRUPTED: u8 = 130;

/// Stack of a worker thread: the XMPP server parses foreign XML on it, and its depth guard is the first defence, not the only one.
const STACK_BYTES: usize = 4 << 20;

/// The program `anabranch`: server, agent and the commands of people.
pub fn anabranch() -> ExitCode {
    if let Some(ended) = beside_a_run() {
        return ended;
    }
    let cli = Cli::parse();
    let threads = match &cli.command {
        Command::Serve(_) | Command::Xmpp(_) => {
            std::thread::available_parallelism().map_or(2, std::num::NonZero::get)
        }
        _ => 1,
    };
    on_threads(threads, run(&cli.command))
}

/// The program `anabranch-agent`: what `anabranch agent` is, alone, so that nothing of the server is in it.
pub fn anabranch_agent() -> ExitCode {
    if let Some(ended) = beside_a_run() {
        return ended;
    }
    let cli = AgentCli::parse();
    // On this thread alone, without the scheduler for several: 0.6 of the 12 megabytes that it may take.
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    end(
        "anabranch-agent",
        runtime.map(|runtime| {
            runtime.block_on(async {
                log::start(&log::Config::default(), Identity::new())?;
                agent::agent(&cli.agent).await?;
                Ok(ExitCode::SUCCESS)
            })
        }),
    )
}

/// The supervisor of a run is this very program and must begin at once, before anything else is set up. So is the driver of a run on
/// a cluster.
fn beside_a_run() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next()?;
    if first == anabranch_command::SUPERVISE {
        Some(anabranch_command::supervise_main(arguments))
    } else if first == anabranch_command::SLURM {
        Some(anabranch_command::slurm_main(arguments))
    } else {
        None
    }
}

fn on_threads(threads: usize, work: impl Future<Output = anyhow::Result<ExitCode>>) -> ExitCode {
    let runtime = Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build();
    end("anabranch", runtime.map(|runtime| runtime.block_on(work)))
}

/// How a program ended, if it began at all.
fn end(program: &str, result: io::Result<anyhow::Result<ExitCode>>) -> ExitCode {
    result.map_err(anyhow::Error::from).flatten().unwrap_or_else(|error| {
        terminal::note(format_args!("{program}: {error:#}"));
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
