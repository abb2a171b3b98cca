//! The command line.

use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Publishes anything that can run as OGC processes.
#[derive(Parser)]
#[command(name = "anabranch", version, about, after_help = AFTER_HELP, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Announces the service files of a folder and runs them for a server: the same as `anabranch agent`.
#[derive(Parser)]
#[command(name = "anabranch-agent", version, after_help = AGENT_AFTER_HELP, max_term_width = 110)]
pub(crate) struct AgentCli {
    #[command(flatten)]
    pub(crate) agent: Agent,
}

const AGENT_AFTER_HELP: &str = "\
Exit codes: 0 success; 1 the agent can't start; 2 wrong usage; 4 login refused (wrong password, certificate, account or room);
130 ended by a second signal.
Signals: SIGINT and SIGTERM end it in order (a second one at once). SIGUSR1 drains it (it takes no new runs, and finishes those it has);
SIGUSR2 lets them in again.
Log level: ANABRANCH_LOG (error, warn, info, debug, or a filter such as anabranch_remote=debug); ANABRANCH_LOG_FORMAT=json.";

const AFTER_HELP: &str = "\
Exit codes: 0 success; 1 the job, check or command failed, or serve or agent can't start; 2 wrong usage; 3 the server can't be
reached; 4 login refused (wrong password, certificate, account or role); 75 serve: the other nodes have taken this one for dead;
130 ended by Ctrl-C.
Signals: SIGINT and SIGTERM end serve and agent in order (a second one at once); run dismisses its job on Ctrl-C. SIGUSR1 drains an agent
(it takes no new runs) or a server (no new jobs), which finish those they have; SIGUSR2 lets them in again.
Log level: ANABRANCH_LOG (error, warn, info, debug, or a filter such as anabranch_remote=debug); ANABRANCH_LOG_FORMAT=json.";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Start the server: OGC interfaces, job engine and XMPP server in one process
    Serve(Serve),
    /// Start the XMPP server alone, for servers that are to come and go without it
    Xmpp(Xmpp),
    /// Start an agent, which announces the service files of a folder and runs them for a server
    Agent(Agent),
    /// Check service and configuration files, and list every fault with line and column; or a data folder, with --store
    Check(Check),
    /// Copy a data folder while its server runs
    Backup(Backup),
    /// Make a data folder of a backup
    Restore(Restore),
    /// Write a service file of WPS Remote as a native one of the same meaning
    Convert(Convert),
    /// Execute a process, show its progress, save its results
    Run(Run),
    /// Publish the features of a file as a live playlist, as if sensors sent them now
    Replay(Replay),
    /// List jobs
    Jobs(Jobs),
    /// List connected agents with their load
    Agents(Remote),
    /// Have an agent take no new runs, or the server no new jobs, and finish those it has, for maintenance
    Drain(Drain),
    /// Dismiss a job
    Kill(Kill),
    /// Show the log of a job
    Log(Log),
    /// Make an account for an agent on another machine, and print the one line to paste there
    Invite(Invite),
    /// Manage users: who may log in, with which roles; a running server takes changes up
    User(User),
    /// Take an agent's account away, and end its sessions at once
    Revoke(Revoke),
    /// Encrypt or decrypt the upload password of WPS Remote's remote.config
    #[command(subcommand)]
    Password(Password),
}

#[derive(Args)]
pub(crate) struct Serve {
    /// Configuration file (TOML)
    #[arg(long, env = "ANABRANCH_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Address and port for HTTP; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, env = "ANABRANCH_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,
    /// Address that references and playlists may lie at, beside public ones: a rule as in egress.allow, such as 127.0.0.1:8090; may be
    /// given again
    #[arg(long, value_name = "RULE")]
    pub(crate) allow: Vec<anabranch_egress::Rule>,
    /// Name of this node, where several servers share their jobs [default: store.node of the configuration]
    #[arg(long, env = "ANABRANCH_NODE")]
    pub(crate) node: Option<String>,
    #[command(flatten)]
    pub(crate) xmpp: XmppPorts,
    #[command(flatten)]
    pub(crate) data: Data,
}

#[derive(Args)]
pub(crate) struct Xmpp {
    /// Configuration file (TOML), of which the section xmpp counts
    #[arg(long, env = "ANABRANCH_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) xmpp: XmppPorts,
    #[command(flatten)]
    pub(crate) data: Data,
}

/// Where the embedded XMPP server listens.
#[derive(Args)]
pub(crate) struct XmppPorts {
    /// Address and port for XMPP with STARTTLS [default: 127.0.0.1:5222]
    #[arg(long, env = "ANABRANCH_XMPP_LISTEN")]
    pub(crate) xmpp_listen: Option<SocketAddr>,
    /// Address and port for XMPP with direct TLS [default: 127.0.0.1:5223]
    #[arg(long, env = "ANABRANCH_XMPP_TLS_LISTEN")]
    pub(crate) xmpp_tls_listen: Option<SocketAddr>,
}

impl XmppPorts {
    /// What is given here counts more than the configuration.
    pub(crate) fn overlay(&self, config: &mut crate::config::Xmpp) {
        config.listen = self.xmpp_listen.unwrap_or(config.listen);
        config.listen_tls = self.xmpp_tls_listen.unwrap_or(config.listen_tls);
    }
}

/// The folder where everything is kept.
#[derive(Args)]
pub(crate) struct Data {
    /// Folder for jobs, results, accounts and certificate [default: $XDG_DATA_HOME/anabranch or ~/.local/share/anabranch]
    #[arg(long, env = "ANABRANCH_DATA", global = true)]
    pub(crate) data: Option<PathBuf>,
}

impl Data {
    /// The folder as given, or the user's own.
    pub(crate) fn folder(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(|| {
            let home = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
            home("XDG_DATA_HOME")
                .or_else(|| home("HOME").map(|home| home.join(".local/share")))
                .unwrap_or_else(|| PathBuf::from("."))
                .join("anabranch")
        })
    }
}

#[derive(Args)]
pub(crate) struct Agent {
    /// Folder with service files (*.toml, and WPS Remote's *.config and *.ini); changes are taken up while the agent runs
    #[arg(long, env = "ANABRANCH_SERVICES", default_value = "services")]
    pub(crate) services: PathBuf,
    /// Name of this agent, unique on the server [default: the host's name]
    #[arg(long, env = "ANABRANCH_AGENT_NAME")]
    pub(crate) name: Option<String>,
    /// What `anabranch invite` printed, for a server on another machine
    #[arg(long, env = "ANABRANCH_JOIN", hide_env_values = true)]
    pub(crate) join: Option<String>,
    /// Configuration file: of this machine (labels, when it is full), and where to log in at any XMPP server. TOML, see
    /// `examples/agent.toml`, or WPS Remote's `remote.config`
    #[arg(long, env = "ANABRANCH_AGENT_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Runs at once over all services, by their weights [default: capacity in the configuration, or number of processors]
    #[arg(long, env = "ANABRANCH_CAPACITY")]
    pub(crate) capacity: Option<u32>,
    /// PEM file with certificate authorities to trust besides the built-in ones, where the server is reached by HTTPS
    #[arg(long, env = "ANABRANCH_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Folder for the runs [default: `runs/NAME` in the data folder]
    #[arg(long, env = "ANABRANCH_WORK")]
    pub(crate) work: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) data: Data,
}

#[derive(Args)]
pub(crate) struct Check {
    /// Files to check
    #[arg(required_unless_present = "store")]
    pub(crate) files: Vec<PathBuf>,
    /// Check instead whether the database and the files of a data folder agree; its server may run
    #[arg(long, conflicts_with = "files")]
    pub(crate) store: bool,
    /// Remove files and rows that belong to no job; the server must be stopped
    #[arg(long, requires = "store")]
    pub(crate) repair: bool,
    #[command(flatten)]
    pub(crate) data: Data,
}

#[derive(Args)]
pub(crate) struct Backup {
    /// Folder that is to be made; it appears once it is complete
    pub(crate) to: PathBuf,
    #[command(flatten)]
    pub(crate) data: Data,
}

#[derive(Args)]
pub(crate) struct Restore {
    /// Folder that `anabranch backup` made
    pub(crate) from: PathBuf,
    #[command(flatten)]
    pub(crate) data: Data,
}

#[derive(Args)]
pub(crate) struct Convert {
    /// Service file in any dialect
    pub(crate) file: PathBuf,
    /// Where to write [default: standard output]
    #[arg(short, long)]
    pub(crate) output: Option<PathBuf>,
}

/// Holds the password to encrypt, of a new user, or to log in with.
pub(crate) const PASSWORD_VARIABLE: &str = "ANABRANCH_PASSWORD";

/// Holds the passphrase of the private key.
pub(crate) const PASSPHRASE_VARIABLE: &str = "ANABRANCH_PASSPHRASE";

#[derive(Args)]
pub(crate) struct Revoke {
    /// Name of the account
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) data: Data,
}

#[derive(Args)]
pub(crate) struct User {
    #[command(subcommand)]
    pub(crate) command: UserCommand,
    /// Configuration file (TOML), which may name the users file
    #[arg(long, env = "ANABRANCH_CONFIG", global = true)]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) data: Data,
}

#[derive(Subcommand)]
pub(crate) enum UserCommand {
    /// Add a user; password: from --password-file, $ANABRANCH_PASSWORD, or standard input. The first one turns login on
    Add {
        /// Name
        name: String,
        /// Role; repeat for more. `operator` may do everything
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<String>,
        /// For users who come by token or certificate only
        #[arg(long)]
        no_password: bool,
        /// File with the password
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Remove a user; the jobs stay, for operators to see
    Remove {
        /// Name
        name: String,
    },
    /// List users with roles and tokens
    List,
    /// Give a user a new password: from --password-file, $ANABRANCH_PASSWORD, or standard input
    Password {
        /// Name
        name: String,
        /// File with the password
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Give a user these roles instead of those there are
    Roles {
        /// Name
        name: String,
        /// The roles
        roles: Vec<String>,
    },
    /// Make a bearer token and print it once, or revoke one
    Token {
        /// Name of the user
        name: String,
        /// What it is for
        #[arg(long, default_value = "token")]
        label: String,
        /// How long it can be used
        #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650))]
        days: u32,
        /// Revoke the token of that label instead
        #[arg(long)]
        revoke: bool,
    },
}

#[derive(Subcommand)]
pub(crate) enum Password {
    /// Encrypt a password: from --password-file, $ANABRANCH_PASSWORD, or standard input
    Encrypt {
        /// PEM file, as of `openssl rsa -pubout`
        #[arg(long, value_name = "FILE")]
        public_key: PathBuf,
        /// File with the password
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Decrypt a password; passphrase of the key: from --passphrase-file, $ANABRANCH_PASSPHRASE, or standard input
    Decrypt {
        /// PEM file, as of `openssl genrsa -des3`
        #[arg(long, value_name = "FILE")]
        private_key: PathBuf,
        /// File with the passphrase of the key
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
        /// The encrypted password, in base64
        encrypted: String,
    },
}

/// Where the server is.
#[derive(Args, Clone)]
pub(crate) struct Remote {
    /// URL of the server
    #[arg(long, env = "ANABRANCH_SERVER", default_value = "http://127.0.0.1:8080")]
    pub(crate) server: url::Url,
    /// Log in as this user; password: from $ANABRANCH_PASSWORD, or the first line of the file in $ANABRANCH_PASSWORD_FILE
    #[arg(long, env = "ANABRANCH_USER")]
    pub(crate) user: Option<String>,
    /// File with a bearer token to log in with; or the variable ANABRANCH_TOKEN
    #[arg(long, env = "ANABRANCH_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// PEM file with certificate authorities to trust besides the built-in ones
    #[arg(long, env = "ANABRANCH_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Run {
    /// Identifier of the process
    pub(crate) process: String,
    /// Input: NAME=VALUE, NAME=@FILE for a file's content, NAME=URL after --by-reference NAME; repeat for more
    #[arg(short, long = "input", value_name = "NAME=VALUE|NAME=@FILE")]
    pub(crate) inputs: Vec<String>,
    /// Save an output: NAME=FILE, a stream while it comes; without any, small results are printed
    #[arg(short, long = "output", value_name = "NAME=FILE")]
    pub(crate) outputs: Vec<String>,
    /// Inputs whose value is a URL that the server fetches
    #[arg(long, value_name = "NAME")]
    pub(crate) by_reference: Vec<String>,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

const REPLAY_EXAMPLE: &str = "\
Example: anabranch replay examples/data/vehicles.geojson --rate 20 --chunk 10

It prints http://127.0.0.1:8090/playlist.txt, the address of a playlist (as 52\u{b0}North's of 2012; m3u8 with ?f=m3u8) that grows by a chunk \
every half second, and has an end mark after the last one. A server follows it where its configuration says [egress] \
allow = [\"127.0.0.1:8090\"]. The chunks are there until SIGINT or SIGTERM.";

#[derive(Args)]
#[command(after_help = REPLAY_EXAMPLE)]
pub(crate) struct Replay {
    /// Vector data in any format that is known here: GeoJSON, GML, KML, WKT, CSV, FlatGeobuf, GeoPackage, zipped Shapefile
    pub(crate) file: PathBuf,
    /// Features per second
    #[arg(long, value_name = "N", value_parser = crate::replay::parse_rate)]
    pub(crate) rate: f64,
    /// Address and port for HTTP; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8090")]
    pub(crate) listen: SocketAddr,
    /// Features in each chunk
    #[arg(long, value_name = "N", default_value = "10", conflicts_with = "by")]
    pub(crate) chunk: std::num::NonZeroU64,
    /// A chunk for all features on end that have the same value of this property, a time mostly
    #[arg(long, value_name = "PROPERTY")]
    pub(crate) by: Option<String>,
    /// Begin again after the last feature, without an end; m3u8 then shows the last 64 chunks
    #[arg(long = "loop")]
    pub(crate) is_loop: bool,
    /// Media type or name of the chunks' format
    #[arg(long, value_name = "F", default_value = "application/geo+json", value_parser = crate::replay::parse_format)]
    pub(crate) format: anabranch_formats::vector::VectorFormat,
}

#[derive(Args)]
pub(crate) struct Jobs {
    /// Only jobs in this state (accepted, running, successful, failed, dismissed)
    #[arg(long)]
    pub(crate) status: Option<String>,
    /// Only jobs of this process
    #[arg(long)]
    pub(crate) process: Option<String>,
    /// Only jobs accepted then: 2026-01-31T12:00:00Z, FROM/TO, FROM/.. or ../TO
    #[arg(long)]
    pub(crate) datetime: Option<String>,
    /// Only jobs that took, or have been running for, at least so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) min_duration: Option<u64>,
    /// Only jobs that took, or have been running for, at most so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) max_duration: Option<u64>,
    /// How many at most
    #[arg(long, default_value_t = 20)]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Args)]
pub(crate) struct Drain {
    /// Name of the agent as `anabranch agents` lists it, or its last part where that is unique; none for the server itself
    pub(crate) agent: Option<String>,
    /// Wait until it has finished its last run or job
    #[arg(long, conflicts_with = "undo")]
    pub(crate) wait: bool,
    /// Let it take runs or jobs again
    #[arg(long)]
    pub(crate) undo: bool,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Args)]
pub(crate) struct Kill {
    /// Identifier of the job
    pub(crate) job: String,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Args)]
pub(crate) struct Log {
    /// Identifier of the job
    pub(crate) job: String,
    /// Go on until the job ends
    #[arg(short, long)]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

#[derive(Args)]
pub(crate) struct Invite {
    /// Name of the account: letters, digits, - _ .
    pub(crate) name: String,
    /// Host under which the other machine reaches this server [default: this host's name]
    #[arg(long)]
    pub(crate) host: Option<String>,
    #[command(flatten)]
    pub(crate) data: Data,
}
