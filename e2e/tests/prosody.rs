//! The same work over an XMPP server that is not ours: Debian's Prosody.

#![allow(clippy::unwrap_used)]

use e2e::{Agent, DEADLINE, Server, command, eventually, free_port, script_service};
use serde_json::json;
use std::path::Path;
use std::process::Stdio;

fn prosody_config(folder: &Path, port: u16) -> String {
    let folder = folder.display();
    format!(
        "pidfile = \"{folder}/prosody.pid\"\ndata_path = \"{folder}/data\"\nlog = {{ info = \"{folder}/prosody.log\" }}\n\
         run_as_root = true\nauthentication = \"internal_hashed\"\nc2s_ports = {{ {port} }}\nc2s_interfaces = {{ \"127.0.0.1\" }}\n\
         s2s_ports = {{}}\nc2s_require_encryption = true\nallow_registration = false\nstorage = \"internal\"\n\
         modules_enabled = {{ \"saslauth\", \"tls\", \"disco\", \"ping\", \"roster\" }}\nmodules_disabled = {{ \"s2s\" }}\n\
         ssl = {{ certificate = \"{folder}/cert.pem\", key = \"{folder}/key.pem\" }}\n\
         VirtualHost \"localhost\"\nComponent \"conference.localhost\" \"muc\"\n"
    )
}

#[tokio::test]
async fn server_and_agent_meet_at_prosody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let port = free_port();
    let made = command("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost", "-keyout"])
        .arg(path.join("key.pem"))
        .arg("-out")
        .arg(path.join("cert.pem"))
        .output()
        .await
        .unwrap();
    assert!(made.status.success());
    let config = path.join("prosody.cfg.lua");
    std::fs::write(&config, prosody_config(path, port)).unwrap();
    std::fs::create_dir(path.join("data")).unwrap();
    for user in ["orchestrator", "field-1"] {
        let registered = command("prosodyctl")
            .arg("--config")
            .arg(&config)
            .args(["register", user, "localhost", "secret"])
            .env("PROSODY_CONFIG", &config)
            .output()
            .await
            .unwrap();
        assert!(registered.status.success(), "{}", String::from_utf8_lossy(&registered.stdout));
    }
    let _prosody =
        command("prosody").arg("--config").arg(&config).arg("-F").stdout(Stdio::null()).spawn().unwrap();
    eventually("prosody listens", DEADLINE, async || {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok().map(drop)
    })
    .await;
    std::fs::write(path.join("password"), "secret\n").unwrap();
    let certificate = path.join("cert.pem");
    let server = Server::with_config(&format!(
        "[xmpp.external]\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"starttls\"\naccount = \"orchestrator@localhost\"\n\
         password_file = \"{0}/password\"\nconference = \"conference.localhost\"\ncertificate = \"{1}\"\n",
        path.display(),
        certificate.display()
    ))
    .await;
    let agent_config = path.join("agent.toml");
    std::fs::write(
        &agent_config,
        format!(
            "host = \"127.0.0.1\"\nport = {port}\ntls = \"starttls\"\ncertificate = \"{}\"\naccount = \"field-1@localhost\"\n\
             password_file = \"password\"\nrooms = [\"default@conference.localhost\"]\norchestrator = \"orchestrator@localhost\"\n",
            certificate.display()
        ),
    )
    .unwrap();
    let service = script_service("There", "head -c 200000 /dev/zero | tr '\\0' x", "");
    let agent = Agent::start_with(
        "p1",
        &[("there.toml", &service)],
        &["--config".into(), agent_config.display().to_string()],
    );
    server.published("default:There", true).await;
    let reply = server
        .execute("default:There", &json!({ "inputs": {}, "outputs": { "said": {} }, "response": "raw" }))
        .await;
    assert_eq!((reply.status, reply.body.len()), (200, 200_000), "{} {}", reply.text(), agent.log());
}
