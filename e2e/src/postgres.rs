//! A PostgreSQL server of the test's own, with TLS.

use crate::xmpp_servers::certificate;
use crate::{DEADLINE, command, free_port};
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

/// A running server with an empty database.
pub struct Postgres {
    pub port: u16,
    /// Ends with its standard input.
    _child: Child,
    folder: TempDir,
}

impl Postgres {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        certificate(folder.path()).await;
        let file = |name: &str| folder.path().join(name).display().to_string();
        let port = free_port();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/test-postgres.sh");
        let mut child = command(script)
            .arg(folder.path())
            .arg(port.to_string())
            .args(["-c", "ssl=on", "-c", &format!("ssl_cert_file={}", file("cert.pem"))])
            .args(["-c", &format!("ssl_key_file={}", file("key.pem"))])
            .kill_on_drop(false)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line =
            tokio::time::timeout(DEADLINE, lines.next_line()).await.expect("PostgreSQL starts in time");
        assert_eq!(line.unwrap().as_deref(), Some("ready"), "PostgreSQL: scripts/install-tools.sh e2e");
        Self { port, _child: child, folder }
    }

    /// Address and certificate for `[store]`, by way of a port.
    pub fn config_by(&self, port: u16) -> String {
        let certificate = self.folder.path().join("cert.pem");
        format!(
            "postgres = \"postgres://postgres@localhost:{port}/postgres\"\ncertificate = \"{}\"\n",
            certificate.display()
        )
    }
}
