//! A real PostgreSQL: one server for all tests of a program, a database for each test.

use crate::{PostgresAccess, PostgresStore};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// All tests whose bench does not ask for a database of its own have this one, where the variable says so.
pub(crate) fn is_default() -> bool {
    std::env::var("ANABRANCH_TEST_STORE").is_ok_and(|store| store == "postgres")
}

/// The name of a node that has no others.
pub(crate) const ONLY: &str = "only";

/// Holds the name of the database beside the files that belong to its jobs.
const NAME: &str = "database-name";

struct Server {
    port: u16,
    /// Ends with its standard input, which this program holds as long as it lives.
    _child: Child,
}

#[expect(clippy::disallowed_methods, reason = "tests start a database")]
fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(program)
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        // Nobody removes what a static holds: the script's folder is found by its name, below the system's own for such things.
        let folder = tempfile::Builder::new().prefix("anabranch-postgres-").tempdir().unwrap().keep();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/test-postgres.sh");
        let mut child = command(script)
            .arg(folder)
            .args([port.to_string().as_str(), "-c", "fsync=off"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "PostgreSQL does not start: scripts/install-tools.sh test");
        Server { port, _child: child }
    })
}

fn run(program: &str, arguments: &[&str]) {
    let port = server().port.to_string();
    let ran =
        command(program).args(["-h", "127.0.0.1", "-U", "postgres", "-p", &port]).args(arguments).output();
    let ran = ran.unwrap();
    assert!(ran.status.success(), "{program}: {}", String::from_utf8_lossy(&ran.stderr));
}

fn new_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("t{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The database of a folder, made at the first call; a node of that name in it, the only one or one of several.
pub(crate) fn store(folder: &Path, node: &str) -> PostgresStore {
    let file = folder.join(NAME);
    let name = std::fs::read_to_string(&file).unwrap_or_else(|_first| {
        let name = new_name();
        run("createdb", &[&name]);
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(&file, &name).unwrap();
        name
    });
    let shared = (node != ONLY).then(|| folder.join("shared"));
    PostgresStore { access: access(server().port, &name), node: node.into(), folder: shared }
}

pub(crate) fn access(port: u16, name: &str) -> PostgresAccess {
    PostgresAccess::new(&format!("postgres://postgres@127.0.0.1:{port}/{name}"), None, None).unwrap()
}

/// Gives a copy of a folder a copy of its database, as it is at this moment.
pub(crate) fn copy(from: &Path, to: &Path) {
    let Ok(old) = std::fs::read_to_string(from.join(NAME)) else { return };
    let new = new_name();
    run("createdb", &[&new]);
    let dump: PathBuf = to.join("dump.sql");
    run("pg_dump", &["-f", dump.to_str().unwrap(), &old]);
    run("psql", &["-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-f", dump.to_str().unwrap(), &new]);
    std::fs::remove_file(dump).unwrap();
    std::fs::write(to.join(NAME), new).unwrap();
}

/// The port of the server.
pub(crate) fn port() -> u16 {
    server().port
}

/// The name of the database of a folder.
pub(crate) fn name(folder: &Path) -> String {
    std::fs::read_to_string(folder.join(NAME)).unwrap()
}
