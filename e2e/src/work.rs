//! Processes for tests that break things: what they put out is known beforehand, and what they did is seen outside of server and agents.

use crate::{Reply, Server, try_post};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// Built in.
    Echo,
    /// An executable that may not be repeated.
    Once,
    /// An executable that may.
    Again,
    /// An executable with a result of 300 kB.
    Big,
    /// An executable that puts out its result piece by piece.
    Tiles,
    /// An executable that fails.
    Fails,
}

pub const WORKS: [Work; 6] = [Work::Echo, Work::Once, Work::Again, Work::Big, Work::Tiles, Work::Fails];

/// How a job is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Interface {
    OgcApi,
    Wps10,
    Wps20,
}

pub const INTERFACES: [Interface; 3] = [Interface::OgcApi, Interface::Wps10, Interface::Wps20];

pub const TILES: usize = 6;
const TILE_BYTES: usize = 30_000;

impl Work {
    pub fn process(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Once => "default:Once",
            Self::Again => "default:Again",
            Self::Big => "default:Big",
            Self::Tiles => "default:Tiles",
            Self::Fails => "default:Fails",
        }
    }

    fn input(self) -> &'static str {
        if self == Self::Echo { "literalInput" } else { "text" }
    }

    pub fn output(self) -> &'static str {
        match self {
            Self::Echo => "literalOutput",
            Self::Tiles => "tiles",
            Self::Once | Self::Again | Self::Big | Self::Fails => "said",
        }
    }

    /// It may run more than once for one job.
    pub fn is_idempotent(self) -> bool {
        matches!(self, Self::Echo | Self::Again)
    }

    /// What a run of it puts out, in one piece.
    pub fn result(self, token: &str) -> Vec<u8> {
        match self {
            Self::Echo | Self::Once | Self::Again => token.as_bytes().to_vec(),
            Self::Big => format!("{token}\n").into_bytes().into_iter().cycle().take(300_000).collect(),
            Self::Tiles | Self::Fails => Vec::new(),
        }
    }

    pub fn tile(number: usize) -> Vec<u8> {
        format!("{number}").into_bytes().into_iter().cycle().take(TILE_BYTES).collect()
    }

    fn body(self, token: &str) -> Value {
        json!({ "inputs": { self.input(): token }, "outputs": { self.output(): {} } })
    }

    /// Asks for a job and gives its id, or why there is none: the server does not answer, or refuses.
    pub async fn submit(self, server: &Server, interface: Interface, token: &str) -> Result<String, String> {
        let reply = match interface {
            Interface::OgcApi => {
                let headers = [("Content-Type", "application/json"), ("Prefer", "respond-async")];
                let url = server.url(&format!("/processes/{}/execution", self.process()));
                try_post(&url, &headers, &self.body(token).to_string()).await
            }
            Interface::Wps10 | Interface::Wps20 => {
                let document = if matches!(interface, Interface::Wps10) {
                    self.wps_1_0(token)
                } else {
                    self.wps_2_0(token)
                };
                try_post(&server.url("/wps"), &[("Content-Type", "text/xml")], &document).await
            }
        };
        let reply = reply?;
        let id = job_of(&reply).filter(|_| reply.status < 300);
        id.ok_or_else(|| format!("{self:?} by {interface:?}: {} {}", reply.status, reply.text()))
    }

    /// Executes it synchronously; `None` where the server does not answer.
    pub async fn execute(self, server: &Server, token: &str) -> Option<Reply> {
        let mut body = self.body(token);
        body["response"] = "raw".into();
        let url = server.url(&format!("/processes/{}/execution", self.process()));
        try_post(&url, &[("Content-Type", "application/json")], &body.to_string()).await.ok()
    }

    fn wps_1_0(self, token: &str) -> String {
        let (process, input, output) = (self.process(), self.input(), self.output());
        format!(
            r#"<wps:Execute service="WPS" version="1.0.0" xmlns:wps="http://www.opengis.net/wps/1.0.0" xmlns:ows="http://www.opengis.net/ows/1.1">
<ows:Identifier>{process}</ows:Identifier><wps:DataInputs><wps:Input><ows:Identifier>{input}</ows:Identifier><wps:Data>
<wps:LiteralData>{token}</wps:LiteralData></wps:Data></wps:Input></wps:DataInputs><wps:ResponseForm>
<wps:ResponseDocument storeExecuteResponse="true" status="true"><wps:Output><ows:Identifier>{output}</ows:Identifier></wps:Output>
</wps:ResponseDocument></wps:ResponseForm></wps:Execute>"#
        )
    }

    fn wps_2_0(self, token: &str) -> String {
        let (process, input, output) = (self.process(), self.input(), self.output());
        format!(
            r#"<wps:Execute service="WPS" version="2.0.0" mode="async" response="document" xmlns:wps="http://www.opengis.net/wps/2.0"
xmlns:ows="http://www.opengis.net/ows/2.0"><ows:Identifier>{process}</ows:Identifier><wps:Input id="{input}"><wps:Data>
<wps:LiteralValue>{token}</wps:LiteralValue></wps:Data></wps:Input><wps:Output id="{output}" transmission="value"/></wps:Execute>"#
        )
    }
}

/// The id of the job that an answer tells of: the first thing in it that looks like one.
fn job_of(reply: &Reply) -> Option<String> {
    let text = reply.text();
    let is_id = |part: &&str| part.len() == 36 && part.bytes().filter(|byte| *byte == b'-').count() == 4;
    text.split(|c: char| !(c.is_ascii_hexdigit() || c == '-')).find(is_id).map(str::to_owned)
}

/// Where the executables are described, and where they leave a line for each run.
pub struct Services {
    folder: TempDir,
}

impl Services {
    pub fn new() -> Self {
        let services = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(services.path()).unwrap();
        for (name, text) in services.files() {
            fs::write(services.path().join(name), text).unwrap();
        }
        services
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("services")
    }

    /// In the arguments of every process of a run.
    pub fn marker(&self) -> String {
        self.runs_file().display().to_string()
    }

    fn runs_file(&self) -> PathBuf {
        self.folder.path().join("runs")
    }

    /// How often an executable was begun, by the token of its job.
    pub fn runs(&self) -> BTreeMap<String, usize> {
        let mut runs = BTreeMap::new();
        for token in fs::read_to_string(self.runs_file()).unwrap_or_default().lines() {
            *runs.entry(token.to_owned()).or_insert(0) += 1;
        }
        runs
    }

    /// Service files by name and text.
    pub fn files(&self) -> Vec<(&'static str, String)> {
        let text = "type = \"string\"\nstdout = true";
        let tiles =
            "type = \"complex\"\nformats = [\"text/plain\"]\nglob = \"tiles/*.txt\"\ncomplete = \"named\"";
        let file = "type = \"complex\"\nformats = [\"text/plain\"]\nfile = \"said.txt\"";
        let say = "sleep 0.3; printf %s \"$1\"";
        let big = "yes \"$1\" | head -c 300000 > said.txt; sleep 0.1";
        let tile = format!(
            "for i in 1 2 3 4 5 6; do yes $i | tr -d '\\n' | head -c {TILE_BYTES} > tiles/$i.tmp; mv tiles/$i.tmp tiles/$i.txt; sleep 0.1; done"
        );
        let marker = self.runs_file();
        vec![
            ("once.toml", service("Once", &marker, say, "said", text, "")),
            ("again.toml", service("Again", &marker, say, "said", text, "idempotent = true")),
            ("big.toml", service("Big", &marker, big, "said", file, "")),
            ("tiles.toml", service("Tiles", &marker, &tile, "tiles", tiles, "")),
            ("fails.toml", service("Fails", &marker, "sleep 0.1; exit 3", "said", text, "")),
        ]
    }
}

impl Default for Services {
    fn default() -> Self {
        Self::new()
    }
}

fn service(name: &str, marker: &Path, script: &str, output: &str, described: &str, more: &str) -> String {
    let script = format!("echo \"$1\" >> {}; {script}", marker.display());
    format!(
        "namespace = \"default\"\nidentifier = \"{name}\"\ntitle = \"{name}\"\n{more}\n\
         [inputs.text]\ntitle = \"Text\"\ntype = \"string\"\n\
         [outputs.{output}]\ntitle = \"Result\"\n{described}\n\
         [command]\nprogram = \"/bin/sh\"\narguments = [\"-c\", {script:?}, \"{name}\", \"{{text}}\"]\ntime_limit = \"1 min\"\n"
    )
}
