//! The commands of README.md, run as they stand there, but for the server's port.

#![allow(clippy::unwrap_used)]

use e2e::{Agent, Server, binary, command};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Indented blocks of a Markdown text, one command each.
fn commands(readme: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut continued = false;
    for line in readme.lines() {
        let Some(text) = line.strip_prefix("    ") else {
            continued = false;
            continue;
        };
        match found.last_mut().filter(|_| continued) {
            Some(last) => {
                last.push('\n');
                last.push_str(text);
            }
            None => found.push(text.to_owned()),
        }
        continued = text.ends_with('\\');
    }
    found
}

#[tokio::test]
async fn every_command_of_the_readme_works() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let server = Server::start().await;
    let example = std::fs::read_to_string(root().join("examples/gdal-contour/gdal-contour.toml")).unwrap();
    // The example finds its DEM beside its own folder.
    let dem = root().join("examples/data/jacksboro_dem.tif");
    let example = example.replace("../data/jacksboro_dem.tif", &dem.display().to_string());
    let hillshade = readme.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let agent = Agent::start(&server, "a1", &[("contour.toml", &example), ("hillshade.toml", hillshade)]);
    server.published("default:Hillshade", true).await;
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root().join("examples"), folder.path().join("examples")).unwrap();
    std::os::unix::fs::symlink(binary(), folder.path().join("anabranch")).unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let mut ran = 0;
    for line in commands(&readme) {
        let runs =
            ["curl ", "anabranch run ", "anabranch invite "].iter().any(|start| line.starts_with(start));
        if !runs {
            continue;
        }
        let line = line.replace("127.0.0.1:8080", &server.http.to_string());
        let output = command("/bin/sh")
            .args(["-ec", &line.replace("curl ", "curl -sSf ")])
            .current_dir(folder.path())
            .env("PATH", &path)
            .env("ANABRANCH_SERVER", server.url("/"))
            .env("ANABRANCH_DATA", server.data_folder())
            .output()
            .await
            .unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{line}\n{out}\n{err}\n{}", agent.log());
        if line.starts_with("curl") {
            assert!(out.contains("FeatureCollection"), "{line}\n{out}");
        }
        ran += 1;
    }
    assert!(ran >= 4, "only {ran} commands were found");
    let shaded = folder.path().join("hillshade.tif");
    let run = command(binary())
        .args(["run", "default:Hillshade", "-i", &format!("dem=@{}", dem.display())])
        .args(["-o", &format!("hillshade={}", shaded.display()), "--server", &server.url("/")])
        .output()
        .await
        .unwrap();
    assert!(run.status.success(), "{} {}", String::from_utf8_lossy(&run.stderr), agent.log());
    assert!(std::fs::read(shaded).unwrap().starts_with(b"II*\0"));
}
