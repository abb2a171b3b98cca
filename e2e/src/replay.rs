//! `anabranch replay`, running.

use crate::{DEADLINE, binary, command, pid_of};
use rustix::process::{Signal, kill_process};
use std::process::{ExitStatus, Stdio};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

/// A file that is published as a live playlist.
pub struct Replay {
    child: Child,
    /// Of the playlist, as it is printed.
    pub url: String,
}

impl Replay {
    /// On a free port.
    pub async fn start(arguments: &[&str]) -> Self {
        let mut child = command(binary())
            .args(["replay", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = tokio::time::timeout(DEADLINE, lines.next_line()).await.expect("it prints its address");
        Self { child, url: url.unwrap().expect("it starts") }
    }

    /// Host and port.
    pub fn address(&self) -> String {
        let url: url::Url = self.url.parse().unwrap();
        format!("{}:{}", url.host_str().unwrap(), url.port().unwrap())
    }

    /// SIGTERM, and waits for the end.
    pub async fn stop(mut self) -> ExitStatus {
        kill_process(pid_of(&self.child), Signal::TERM).unwrap();
        tokio::time::timeout(DEADLINE, self.child.wait()).await.expect("it stops in time").unwrap()
    }
}
