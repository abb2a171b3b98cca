//! Service files of WPS Remote and of its manual at a real server, and what the command line does with them.

#![allow(clippy::unwrap_used)]

use e2e::{Agent, DEADLINE, Server, binary, command, eventually, script_service};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A change of a service file is seen by clients within this time.
const SEEN_WITHIN: Duration = Duration::from_secs(2);

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/command/testdata").canonicalize().unwrap()
}

/// The folder of services as the original keeps it: one folder a service, and the agent's configuration above them.
fn copy_examples(to: &Path) {
    for service in ["contour", "actions"] {
        copy(&testdata().join(service), &to.join(service));
    }
    copy(&testdata().join("manual"), to);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

async fn run_the_contour_service(server: &Server) {
    server.published("default:GdalContour", true).await;
    let description = server.get("/processes/default:GdalContour?f=json").await.json();
    assert_eq!(description["title"], "default.GdalContour");
    assert_eq!(description["inputs"]["interval"]["title"], "Elevation interval");
    let interval = json!({ "value": "150", "mediaType": "application/json" });
    let job = server.submit("default:GdalContour", &json!({ "inputs": { "interval": interval } })).await;
    let done = server.job_in(&job, &["successful", "failed"], DEADLINE).await;
    assert_eq!(done["status"], "successful", "{done}");
    let zip = server.get(&format!("/jobs/{job}/results/result1")).await;
    assert_eq!(zip.text(), "contours every 150 m\n");
    assert_eq!(zip.content_type, "application/zip");
    let log = server.get(&format!("/jobs/{job}/log")).await.text();
    assert!(log.contains("INFO: drawing every 150 m") && !log.contains("DEBUG"), "{log}");
}

#[tokio::test]
async fn an_agent_offers_every_dialect_and_runs_them() {
    let server = Server::start().await;
    let agent = Agent::start(&server, "a1", &[]);
    copy_examples(&agent.folder.path().join("services"));
    run_the_contour_service(&server).await;

    server.published("default:Actions", true).await;
    let inputs = json!({ "count": 3, "tokens": ["a b", "c"], "asset": [{ "Asset": { "id": 7 } }] });
    let shown =
        server.execute("default:Actions", &json!({ "inputs": inputs, "response": "raw" })).await.text();
    for part in
        ["arg --file-n=3", "arg --many=a b", "--- asset_7.json", "Count = 3", "tokens = [\"a b\",\"c\"]"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let bad = json!({ "inputs": { "asset": [{ "Asset": { "id": "x" } }] } });
    let refused = server.execute("default:Actions", &bad).await;
    assert!(refused.text().contains("must fulfil the service's JSON Schema"), "{}", refused.text());

    server.published("default:Welcome", true).await;
    let greeted =
        json!({ "inputs": { "surname": "Müller & Co" }, "outputs": { "welcome": {} }, "response": "raw" });
    assert_eq!(
        server.execute("default:Welcome", &greeted).await.text(),
        "Hello Hans Müller & Co, and 0 children"
    );
}

/// Writes a `remote.config` for an account of the server's own XMPP server, with `more` at its end.
async fn remote_config(server: &Server, folder: &Path, more: &str) -> PathBuf {
    let invited = command(binary())
        .args(["invite", "field1", "--host", "127.0.0.1", "--data"])
        .arg(server.data_folder())
        .output()
        .await
        .unwrap();
    let line = String::from_utf8(invited.stdout).unwrap();
    let url = url::Url::parse(line.trim().split('\'').nth(1).unwrap()).unwrap();
    let parameter = |name: &str| url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
    let room = parameter("room");
    let (_, conference) = room.split_once('@').unwrap();
    let secret = url.password().unwrap().replace("%2D", "-").replace("%5F", "_");
    std::fs::write(folder.join("secret"), secret).unwrap();
    let config = format!(
        "[DEFAULT]\nbus_class_name = xmppBus.XMPPBus\naddress = 127.0.0.1\nport = {}\ndomain = {}\nuser = {}\n\
         password_file = secret\nmucService = {conference}\nmucServicePassword = {}\nresource_file_dir = /tmp\n\
         capacity = 100\ncertificate = sha256:{}\norchestrator = orchestrator@%(domain)s\n{more}\n",
        server.xmpp_tls.port(),
        parameter("domain"),
        url.username(),
        parameter("room_password"),
        parameter("pin"),
    );
    let file = folder.join("remote.config");
    std::fs::write(&file, config).unwrap();
    let checked = command(binary()).arg("check").arg(&file).output().await.unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    file
}

#[tokio::test]
async fn an_agent_takes_the_original_s_configuration() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = remote_config(&server, folder.path(), "wire = native").await;
    let agent = Agent::start_with("a1", &[], &["--config".into(), file.display().to_string()]);
    copy_examples(&agent.folder.path().join("services"));
    run_the_contour_service(&server).await;
}

#[tokio::test]
async fn with_the_original_s_configuration_an_agent_speaks_as_the_original() {
    let folder = tempfile::tempdir().unwrap();
    let shared = folder.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    let server = Server::with_config(&format!("[wps_remote]\nshared_folders = [{shared:?}]\n")).await;
    let more = format!("wps_execution_shared_dir = {}", shared.display());
    let file = remote_config(&server, folder.path(), &more).await;
    let service = std::fs::read_to_string(testdata().join("contour/service.config")).unwrap();
    let agent = Agent::start_with(
        "a1",
        &[("service.config", &service)],
        &["--config".into(), file.display().to_string()],
    );
    copy(&testdata().join("contour/code"), &agent.folder.path().join("services/code"));
    run_the_contour_service(&server).await;
}

/// What happens to a service file, and what clients see of it.
async fn discovery(server: &Server, folder: &Path) {
    let file = folder.join("new.toml");
    let title = async |wanted: Option<&str>| {
        let begun = Instant::now();
        eventually(&format!("title {wanted:?}"), DEADLINE, async || {
            let reply = server.get("/processes/default:New?f=json").await;
            let found = (reply.status == 200).then(|| reply.json()["title"].as_str().unwrap().to_owned());
            (found.as_deref() == wanted).then_some(())
        })
        .await;
        begun.elapsed()
    };
    let service = |title: &str| {
        script_service("New", "printf new", "").replace("title = \"New\"", &format!("title = \"{title}\""))
    };
    let mut waits = Vec::new();
    std::fs::write(&file, service("one")).unwrap();
    waits.push(title(Some("one")).await);
    std::fs::write(&file, service("two")).unwrap();
    waits.push(title(Some("two")).await);
    std::fs::write(&file, format!("active = false\n{}", service("two"))).unwrap();
    waits.push(title(None).await);
    std::fs::write(&file, service("three")).unwrap();
    waits.push(title(Some("three")).await);
    // A slip of the finger takes nothing away: what is behind it in the folder comes, and this one stays.
    std::fs::write(&file, "identifier = ").unwrap();
    std::fs::write(folder.join("other.toml"), script_service("Other", "printf other", "")).unwrap();
    server.published("default:Other", true).await;
    assert_eq!(title(Some("three")).await.as_secs(), 0);
    std::fs::remove_file(&file).unwrap();
    waits.push(title(None).await);
    // A busy machine may be slow once.
    waits.sort();
    assert!(waits[3] < SEEN_WITHIN, "{waits:?}");
}

#[tokio::test]
async fn service_files_of_an_agent_are_taken_up_while_it_runs() {
    let server = Server::start().await;
    let agent = Agent::start(&server, "a1", &[("first.toml", &script_service("First", "printf first", ""))]);
    server.published("default:First", true).await;
    discovery(&server, &agent.folder.path().join("services")).await;
    assert!(agent.log().contains("new.toml:1:"), "{}", agent.log());
}

#[tokio::test]
async fn service_files_of_the_server_are_taken_up_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_config(&format!("[services]\nfolder = {:?}\n", folder.path())).await;
    discovery(&server, folder.path()).await;
    assert_eq!(
        server.execute("default:Other", &json!({ "inputs": {}, "response": "raw" })).await.text(),
        "other"
    );
}

#[tokio::test]
async fn a_converted_file_is_the_same_process() {
    let folder = tempfile::tempdir().unwrap();
    let services = folder.path().join("services");
    std::fs::create_dir(&services).unwrap();
    copy(&testdata().join("contour"), &folder.path().join("contour"));
    let original = folder.path().join("contour/service.config");
    let converted = services.join("contour.toml");
    let done = command(binary())
        .arg("convert")
        .arg(&original)
        .arg("--output")
        .arg(&converted)
        .output()
        .await
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    for file in [&original, &converted] {
        let checked = command(binary()).arg("check").arg(file).output().await.unwrap();
        let said = String::from_utf8(checked.stdout).unwrap();
        assert!(checked.status.success() && said.contains("good, publishes default:GdalContour"), "{said}");
    }
    let server = Server::with_config(&format!("[services]\nfolder = {services:?}\n")).await;
    run_the_contour_service(&server).await;
}

#[tokio::test]
async fn the_example_of_wps_remote_draws_contours_with_gdal() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/wps-remote").canonicalize().unwrap();
    let server = Server::with_config(&format!("[services]\nfolder = {folder:?}\n")).await;
    for (inputs, levels) in [(json!({ "interval": 100 }), 8), (json!({}), 4)] {
        let job = server.submit("default:GdalContourRemote", &json!({ "inputs": inputs })).await;
        let done = server.job_in(&job, &["successful", "failed"], DEADLINE).await;
        assert_eq!(done["status"], "successful", "{done}");
        let contours = server.get(&format!("/jobs/{job}/results/result1")).await.json();
        let features = contours["features"].as_array().unwrap();
        let found: std::collections::BTreeSet<i64> =
            features.iter().map(|feature| feature["properties"]["elev"].as_f64().unwrap() as i64).collect();
        assert_eq!(found.len(), levels, "{found:?}");
    }
}

#[tokio::test]
async fn faults_of_the_original_s_files_are_told_with_their_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("service.config");
    let text = std::fs::read_to_string(testdata().join("contour/service.config")).unwrap();
    std::fs::write(
        &file,
        text.replace("class = param\n", "class = parma\n")
            .replace("input_ref = workdir", "input_ref = wokdir"),
    )
    .unwrap();
    let checked = command(binary()).arg("check").arg(&file).output().await.unwrap();
    assert_eq!(checked.status.code(), Some(1));
    let said = String::from_utf8(checked.stdout).unwrap();
    assert!(
        said.contains("service.config:17:1: [Input1]: class must be param or const, not \"parma\""),
        "{said}"
    );
    assert!(
        said.contains("input_ref \"wokdir\" is no input or constant of this file, did you mean workdir?"),
        "{said}"
    );
}

#[tokio::test]
async fn upload_passwords_are_encrypted_and_decrypted() {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/server/testdata/upload-key");
    let encrypt = command(binary())
        .args(["password", "encrypt", "--public-key"])
        .arg(keys.join("public.pem"))
        .env("ANABRANCH_PASSWORD", "s3cret päss")
        .output()
        .await
        .unwrap();
    let encrypted = String::from_utf8(encrypt.stdout).unwrap();
    assert_eq!(encrypted, std::fs::read_to_string(keys.join("encrypted.txt")).unwrap());
    let decrypt = command(binary())
        .args(["password", "decrypt", "--private-key"])
        .arg(keys.join("old.pem"))
        .arg(encrypted.trim())
        .env("ANABRANCH_PASSPHRASE", "f00bar")
        .output()
        .await
        .unwrap();
    assert_eq!(String::from_utf8(decrypt.stdout).unwrap(), "s3cret päss\n");
}
