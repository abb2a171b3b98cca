//! The log: to standard error, as text or as JSON, at a level that can be changed while the program runs.

use crate::terminal;
use anyhow::Context as _;
use serde::Deserialize;
use tracing_subscriber::layer::{Layered, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

/// The variable that wins over `log.level`.
const LEVEL_VARIABLE: &str = "ANABRANCH_LOG";

/// The variable that wins over `log.format`.
const FORMAT_VARIABLE: &str = "ANABRANCH_LOG_FORMAT";

/// `[log]` of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    level: String,
    format: Format,
}

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Text,
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self { level: "info".into(), format: Format::Text }
    }
}

impl Config {
    /// # Errors
    /// Where `level` is no filter.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        self.filter().map(|_| ())
    }

    fn filter(&self) -> anyhow::Result<EnvFilter> {
        EnvFilter::try_new(&self.level).with_context(|| format!("log.level can't be {:?}", self.level))
    }
}

type Filtered = Layered<reload::Layer<EnvFilter, Registry>, Registry>;
/// What writes the lines.
pub(crate) type Lines = Layered<Box<dyn Layer<Filtered> + Send + Sync>, Filtered>;

/// A handle on the running log.
pub(crate) struct Log(reload::Handle<EnvFilter, Registry>);

impl Log {
    /// Takes another level, unless the environment gives one.
    ///
    /// # Errors
    /// Where it is no filter.
    pub(crate) fn set_level(&self, config: &Config) -> anyhow::Result<()> {
        if std::env::var_os(LEVEL_VARIABLE).is_none() {
            self.0.reload(config.filter()?)?;
        }
        Ok(())
    }
}

/// Starts the log, with spans for whoever traces them. To be called once.
///
/// # Errors
/// Where the level is no filter.
pub(crate) fn start<L>(config: &Config, traces: L) -> anyhow::Result<Log>
where
    L: Layer<Lines> + Send + Sync,
{
    let filter = match EnvFilter::try_from_env(LEVEL_VARIABLE) {
        Ok(filter) => filter,
        Err(_not_given) => config.filter()?,
    };
    let format = match std::env::var(FORMAT_VARIABLE).as_deref() {
        Ok("json") => Format::Json,
        Ok(_) => Format::Text,
        Err(_) => config.format,
    };
    let (filter, handle) = reload::Layer::new(filter);
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        Format::Json => lines.json().boxed(),
        Format::Text => lines.with_ansi(terminal::is_watched()).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines).with(traces).init();
    Ok(Log(handle))
}
