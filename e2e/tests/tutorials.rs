//! The tutorials of `docs/`, and the stream of README.md, followed word for word: files are written, commands run and programs started as they stand there, but for the
//! ports, which others may hold.

#![allow(clippy::unwrap_used)]

use e2e::{DEADLINE, binary, command, eventually, free_port, try_get};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;
use tokio::process::Child;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The fenced blocks of a Markdown text: what stands behind the fence, and the block.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let body: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            found.push((info.to_owned(), body.join("\n") + "\n"));
        }
    }
    found
}

/// Someone who follows a tutorial.
struct Reader {
    folder: TempDir,
    http: u16,
    replay: u16,
    xmpp: [u16; 2],
    running: Vec<Child>,
    said: String,
    /// What the shell remembers from block to block.
    job: String,
}

impl Reader {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(root().join("examples"), folder.path().join("examples")).unwrap();
        std::os::unix::fs::symlink(binary(), folder.path().join("anabranch")).unwrap();
        let [http, replay, a, b] = [(); 4].map(|()| free_port());
        Self {
            folder,
            http,
            replay,
            xmpp: [a, b],
            running: Vec::new(),
            said: String::new(),
            job: String::new(),
        }
    }

    fn here(&self, text: &str) -> String {
        text.replace("127.0.0.1:8080", &format!("127.0.0.1:{}", self.http))
            .replace("127.0.0.1:8090", &format!("127.0.0.1:{}", self.replay))
    }

    fn shell(&self, script: &str) -> tokio::process::Command {
        let mut shell = command("/bin/sh");
        let path = format!("{}:{}", self.folder.path().display(), std::env::var("PATH").unwrap());
        shell.args(["-ec", script]).current_dir(self.folder.path()).env("PATH", path);
        shell.env("ANABRANCH_DATA", self.folder.path().join("data")).env("JOB", &self.job);
        shell.env("ANABRANCH_SERVER", format!("http://127.0.0.1:{}", self.http));
        shell
    }

    async fn follow(&mut self, info: &str, block: &str) {
        let block = &self.here(block);
        let (kind, rest) = info.split_once(' ').unwrap_or((info, ""));
        match (kind, rest) {
            (_, rest) if rest.starts_with("file=") => {
                let path = self.folder.path().join(&rest["file=".len()..]);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, block).unwrap();
            }
            ("sh", "start") => {
                for line in block.trim().lines() {
                    self.start(line).await;
                }
            }
            ("sh", "") => self.run(block).await,
            ("text", "output") => assert_eq!(self.said, *block),
            _ => panic!("a block of a kind that is not known here: {info}"),
        }
    }

    async fn start(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        assert_eq!(words.next(), Some("anabranch"), "{line}");
        let mut program = command(binary());
        program
            .args(words)
            .current_dir(self.folder.path())
            .env("ANABRANCH_DATA", self.folder.path().join("data"));
        let url = if line.contains(" serve") {
            program.args(["--listen", &format!("127.0.0.1:{}", self.http)]);
            program.args(["--xmpp-listen", &format!("127.0.0.1:{}", self.xmpp[0])]);
            program.args(["--xmpp-tls-listen", &format!("127.0.0.1:{}", self.xmpp[1])]);
            Some(format!("http://127.0.0.1:{}/readyz", self.http))
        } else if line.contains(" replay") {
            program.args(["--listen", &format!("127.0.0.1:{}", self.replay)]);
            Some(format!("http://127.0.0.1:{}/playlist.txt", self.replay))
        } else {
            program.args(["--name", "a1"]).arg("--work").arg(self.folder.path().join("runs"));
            None
        };
        self.running.push(program.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let Some(url) = url else { return };
        eventually(line, DEADLINE, async || {
            try_get(&url).await.ok().filter(|reply| reply.status == 200).map(drop)
        })
        .await;
    }

    /// People are slower than a machine: a process that an agent has just announced may take a moment to appear.
    async fn run(&mut self, block: &str) {
        if let Some(at) = block.find("/processes/") {
            let path: String = block[at..].chars().take_while(|c| !c.is_whitespace()).collect();
            let url = format!("http://127.0.0.1:{}{}", self.http, path.trim_end_matches("/execution"));
            eventually("the process", DEADLINE, async || {
                try_get(&url).await.ok().filter(|reply| reply.status == 200).map(drop)
            })
            .await;
        }
        let script = block.replace("curl ", "curl -sSf --max-time 60 ") + "printf %s \"$JOB\" > job\n";
        let output = self.shell(&script).output().await.unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{block}\n{out}\n{err}");
        self.said = out.into_owned();
        self.job = std::fs::read_to_string(self.folder.path().join("job")).unwrap();
    }
}

async fn follow(name: &str) {
    let text = std::fs::read_to_string(root().join("docs").join(name)).unwrap();
    let mut reader = Reader::new();
    let blocks = blocks(&text);
    assert!(blocks.len() > 5, "only {} blocks were found", blocks.len());
    for (info, block) in blocks {
        reader.follow(&info, &block).await;
    }
}

#[tokio::test]
async fn the_tutorial_of_output_streaming_works() {
    follow("tutorial-output-streaming.md").await;
}

#[tokio::test]
async fn the_tutorial_of_full_streaming_works() {
    follow("tutorial-full-streaming.md").await;
}

#[tokio::test]
async fn the_stream_of_the_readme_works() {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    let mut reader = Reader::new();
    for (info, block) in blocks(&text).into_iter().filter(|(info, _)| info.starts_with("sh")) {
        reader.follow(&info, &block).await;
    }
    let snapped = std::fs::read_to_string(reader.folder.path().join("snapped.geojsonl")).unwrap();
    assert!(snapped.lines().count() > 100, "{snapped}");
}
