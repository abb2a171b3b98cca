//! Logins and rights, by every interface: who may what, and who finds what of whose jobs.

#![allow(clippy::unwrap_used)]

use anabranch_egress::Method;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::{
    DEADLINE, Reply, Server, ask, binary, command, eventually, eventually_at_pace, free_port, get_with,
    post_as, raw, try_get,
};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

const NEVER: &str = "00000000-0000-4000-8000-000000000000";

/// Anonymous callers may execute `echo`.
const RIGHTS: &str = "[[login.rights]]\nrole = \"anonymous\"\nprocesses = [\"echo\"]\nallow = [\"execute\", \"dismiss\"]\n\
                      [[login.rights]]\nrole = \"user\"\nprocesses = [\"*\"]\nallow = [\"see\", \"execute\", \"dismiss\"]\n";

/// Runs `anabranch user`, with a password in the environment.
async fn user(server: &Server, arguments: &[&str], password: &str) -> String {
    let done = command(binary())
        .arg("user")
        .args(arguments)
        .arg("--data")
        .arg(server.data_folder())
        .env("ANABRANCH_PASSWORD", password)
        .output()
        .await
        .unwrap();
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

/// The header of a new token of a new user.
async fn token(server: &Server, name: &str, more: &[&str]) -> String {
    user(server, &[&["add", name, "--no-password"][..], more].concat(), "").await;
    format!("Bearer {}", user(server, &["token", name], "").await)
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

async fn get(server: &Server, path: &str, authorization: &str) -> Reply {
    let headers = [("Authorization", authorization), ("Accept", "application/json")];
    let count = if authorization.is_empty() { 1.. } else { 0.. };
    get_with(&server.url(path), &headers[count.start..]).await
}

async fn submit(server: &Server, process: &str, authorization: &str, inputs: &Value) -> Reply {
    let url = server.url(&format!("/processes/{process}/execution"));
    let headers =
        [("Content-Type", "application/json"), ("Prefer", "respond-async"), ("Authorization", authorization)];
    let count = if authorization.is_empty() { 2 } else { 3 };
    post_as(&url, &headers[..count], &json!({ "inputs": inputs }).to_string()).await
}

/// Everything that can be asked about a job.
fn routes(job: &str) -> Vec<(Method, String)> {
    let get = [
        "/jobs/JOB",
        "/jobs/JOB?f=html",
        "/jobs/JOB/results",
        "/jobs/JOB/results?f=html",
        "/jobs/JOB/results?outputs=literalOutput",
        "/jobs/JOB/results/literalOutput",
        "/jobs/JOB/results/literalOutput/playlist",
        "/jobs/JOB/results/literalOutput/playlist?f=html",
        "/jobs/JOB/results/literalOutput/playlist?f=m3u8",
        "/jobs/JOB/results/literalOutput/playlist?f=playlist",
        "/jobs/JOB/results/literalOutput/playlist?f=sse",
        "/jobs/JOB/results/literalOutput/playlist?f=geojsonseq",
        "/jobs/JOB/results/literalOutput/chunks/1",
        "/jobs/JOB/results/literalOutput/chunks/1?f=geojson",
        "/jobs/JOB/events",
        "/jobs/JOB/log",
        "/jobs/JOB/log?f=html",
        "/wps/status/JOB",
        "/wps/RetrieveResultServlet?id=JOB",
        "/wps/RetrieveResultServlet?id=playlistJOB",
        "/wps/RetrieveResultServlet?id=dirplaylistJOB_chunk1",
        "/wps/RetrieveResultServlet?id=playlistJOBexception",
        "/RetrieveResultServlet?id=playlistJOB",
        "/wps?service=WPS&version=2.0.0&request=GetStatus&jobid=JOB",
        "/wps?service=WPS&version=2.0.0&request=GetResult&jobid=JOB",
        "/ows?service=WPS&version=1.0.0&request=GetExecutionStatus&executionId=JOB",
        "/wps?service=WPS&version=2.0.0&request=Dismiss&jobid=JOB",
        "/wps?service=WPS&version=1.0.0&request=Dismiss&executionId=JOB",
    ];
    let get = get.into_iter().map(|path| (Method::Get, path));
    let all = get.chain([(Method::Post, "/jobs/JOB/dismiss"), (Method::Delete, "/jobs/JOB")]);
    all.map(|(method, path)| (method, path.replace("JOB", job))).collect()
}

/// Status, type, headers that tests look at, and every byte; but for the identifier.
async fn found(server: &Server, method: Method, path: &str, authorization: &str, job: &str) -> String {
    let headers = [("Authorization", authorization)];
    let headers = if authorization.is_empty() { &headers[..0] } else { &headers[..] };
    let reply = ask(method, &server.url(path), headers).await;
    let said = format!(
        "{} {} {:?}\n{}",
        reply.status,
        reply.content_type,
        reply.header("cache-control"),
        reply.text()
    );
    said.replace(job, "JOB")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_its_owners_and_operators_and_for_all_others_it_never_was() {
    let server = Server::with_config(RIGHTS).await;
    let (anna, ben) = (token(&server, "anna", &[]).await, token(&server, "ben", &[]).await);
    let boss = token(&server, "boss", &["--role", "operator"]).await;
    is_known(&server, &boss).await;
    let inputs = json!({ "literalInput": "of anna" });
    let job = submit(&server, "echo", &anna, &inputs).await.json()["jobID"].as_str().unwrap().to_owned();
    eventually("the job succeeds", DEADLINE, async || {
        (get(&server, &format!("/jobs/{job}"), &anna).await.json()["status"] == "successful").then_some(())
    })
    .await;
    let known = routes(&job);
    for ((method, path), (_, never)) in known.iter().zip(routes(NEVER)) {
        for stranger in [ben.as_str(), ""] {
            let of_job = found(&server, *method, path, stranger, &job).await;
            let of_none = found(&server, *method, &never, stranger, NEVER).await;
            assert_eq!(of_job, of_none, "{path}");
            assert!(of_job.starts_with('4') && !of_job.contains("of anna"), "{path}: {of_job}");
        }
    }
    for (viewer, count) in [(&anna, 1), (&ben, 0), (&boss, 1), (&String::new(), 0)] {
        let list = get(&server, "/jobs", viewer).await.json();
        assert_eq!(list["jobs"].as_array().unwrap().len(), count);
    }
    // It is there, for those who may: the last routes would remove it.
    for ((method, path), (_, never)) in known.iter().zip(routes(NEVER)).take(known.len() - 4) {
        let of_none = found(&server, *method, &never, &anna, NEVER).await;
        let (owner, operator) = (
            found(&server, *method, path, &anna, &job).await,
            found(&server, *method, path, &boss, &job).await,
        );
        assert_ne!(owner, of_none, "{path}");
        assert_ne!(operator, of_none, "{path}");
    }
    assert_eq!(
        ask(Method::Delete, &server.url(&format!("/jobs/{job}")), &[("Authorization", &anna)]).await.status,
        200
    );
    let anonymous = submit(&server, "echo", "", &inputs).await.json()["jobID"].as_str().unwrap().to_owned();
    assert_eq!(
        get(&server, &format!("/jobs/{anonymous}"), "").await.status,
        200,
        "who knows the id may see it"
    );
    assert_eq!(get(&server, &format!("/jobs/{anonymous}"), &ben).await.status, 404);
}

/// The users file is looked at a few times a second: waits until the user that was made last is known.
async fn is_known(server: &Server, authorization: &str) {
    eventually("the console asks for a login", DEADLINE, async || {
        (get(server, "/console", "").await.status == 401).then_some(())
    })
    .await;
    eventually("the last user is known", DEADLINE, async || {
        (get(server, "/conformance", authorization).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_may_what_their_rights_say_and_guessing_is_slow() {
    let secrets = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        let path = secrets.path().join(name);
        std::fs::write(&path, format!("{name}-Xq7-secret")).unwrap();
        path.display().to_string()
    };
    let config = format!(
        "[callbacks]\nsecret_file = {:?}\n[geoserver]\nurl = \"http://127.0.0.1:1/g\"\nuser = \"u\"\nworkspace = \"w\"\n\
         password_file = {:?}\n[upload]\nprotocol = \"ftp\"\nhost = \"127.0.0.1\"\nuser = \"u\"\npassword_file = {:?}\n{RIGHTS}",
        file("callback"),
        file("geoserver"),
        file("upload")
    );
    let server = Server::with_config(&config).await;
    assert_eq!(get(&server, "/console", "").await.status, 200, "without users everyone is an operator");
    user(&server, &["add", "anna"], "correct horse").await;
    let (anna, boss) =
        (basic("anna", "correct horse"), token(&server, "boss", &["--role", "operator"]).await);
    is_known(&server, &boss).await;

    let ids = async |who: &str| {
        let list = get(&server, "/processes?limit=1000", who).await.json();
        list["processes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids("").await, ["echo"]);
    assert!(ids(&anna).await.len() > 3);
    assert_eq!(ids("").await, ["echo"], "a kept list is of those who see the same");
    let wps = get(&server, "/wps?service=WPS&request=GetCapabilities", "").await.text();
    assert!(wps.contains(">echo<") && !wps.contains("ndwi"), "{wps}");
    for (hidden, unknown) in [
        ("/processes/ndwi", "/processes/nope"),
        ("/processes/ndwi/execution?x=1", "/processes/nope/execution?x=1"),
        (
            "/wps?service=WPS&version=1.0.0&request=DescribeProcess&identifier=ndwi",
            "/wps?service=WPS&version=1.0.0&request=DescribeProcess&identifier=nope",
        ),
        (
            "/wps?service=WPS&version=1.0.0&request=Execute&identifier=ndwi",
            "/wps?service=WPS&version=1.0.0&request=Execute&identifier=nope",
        ),
        (
            "/wps?service=WPS&version=2.0.0&request=DescribeProcess&identifier=ndwi",
            "/wps?service=WPS&version=2.0.0&request=DescribeProcess&identifier=nope",
        ),
    ] {
        let (hidden, unknown) = (get(&server, hidden, "").await, get(&server, unknown, "").await);
        assert_eq!(hidden.text().replace("ndwi", "nope"), unknown.text());
        assert_eq!(hidden.status, unknown.status);
    }
    assert_eq!(get(&server, "/processes/ndwi", &anna).await.status, 200);
    assert_eq!(get(&server, "/console", &anna).await.status, 403);
    assert_eq!(get(&server, "/console", &boss).await.status, 200);

    let url = server.url("/processes/echo/execution");
    let cross = |who: &str| {
        [
            ("Content-Type".to_owned(), "application/json".to_owned()),
            ("Sec-Fetch-Site".into(), "cross-site".into()),
            ("Authorization".into(), who.to_owned()),
        ]
    };
    for (who, status) in [(&anna, 403), (&boss, 200)] {
        let headers = cross(who);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            post_as(&url, &headers, r#"{"inputs":{"literalInput":"x"}}"#).await.status,
            status,
            "browsers send passwords by themselves"
        );
    }

    let wrong = get(&server, "/processes", &basic("anna", "gu3ss-Wr0ng")).await;
    assert_eq!(
        (wrong.status, wrong.header("www-authenticate").unwrap().contains("Basic realm")),
        (401, true)
    );
    for _ in 0..9 {
        get(&server, "/", &basic("anna", "gu3ss-Wr0ng")).await;
    }
    let slowed = get(&server, "/", &basic("anna", "gu3ss-Wr0ng")).await;
    assert_eq!(slowed.status, 429);
    assert!(slowed.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    assert_eq!(get(&server, "/processes/ndwi", &anna).await.status, 200, "who is in stays in");

    user(&server, &["remove", "anna"], "").await;
    eventually("a removed user is out", DEADLINE, async || {
        (get(&server, "/processes/ndwi", &anna).await.status != 200).then_some(())
    })
    .await;
    let sent = &anna["Basic ".len()..];
    let secrets = ["correct horse", "gu3ss-Wr0ng", "Xq7-secret", sent, &boss["Bearer ".len()..]];
    nothing_tells(&server, &secrets);
    let audit = std::fs::read_to_string(server.data_folder().join("audit.jsonl")).unwrap();
    for event in ["user added", "user removed", "token made", "login", "submit"] {
        assert!(audit.contains(&format!("\"event\":\"{event}\"")), "{event}: {audit}");
    }
}

/// No file of the server, its log among them, holds a secret.
fn nothing_tells(server: &Server, secrets: &[&str]) {
    let mut folders = vec![server.data.path().to_owned()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap_or_default();
            files += 1;
            for secret in secrets {
                let is_in = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!is_in, "{} holds {secret}", path.display());
            }
        }
    }
    assert!(files > 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalogue_may_challenge_instead_of_hiding() {
    for (mode, listed, described) in [("challenge", true, 200), ("mixed", false, 401)] {
        let server = Server::with_config(&format!("[login]\ncatalogue = \"{mode}\"\n{RIGHTS}")).await;
        let anna = token(&server, "anna", &[]).await;
        is_known(&server, &anna).await;
        let list = get(&server, "/processes?limit=1000", "").await.text();
        assert_eq!(list.contains("\"ndwi\""), listed, "{mode}");
        assert_eq!(get(&server, "/processes/ndwi", "").await.status, described, "{mode}");
        let used = submit(&server, "ndwi", "", &json!({})).await;
        assert_eq!(used.status, 401, "{mode}");
        let wps = get(&server, "/wps?service=WPS&version=1.0.0&request=Execute&identifier=ndwi", "").await;
        assert_eq!((wps.status, wps.text().contains("ExceptionReport")), (401, true), "{mode}");
        assert_eq!(
            submit(&server, "ndwi", &anna, &json!({})).await.status,
            400,
            "{mode}: inputs are missing"
        );
    }
}

/// An OpenID Connect server.
struct Issuer {
    url: String,
    port: u16,
    _child: tokio::process::Child,
}

impl Issuer {
    async fn start(port: u16) -> Self {
        let program =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/oidc/bin/oidc-provider-mock");
        let child = command(&program)
            .args(["--port", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = child.expect("oidc-provider-mock is there: scripts/install-tools.sh e2e");
        let url = format!("http://127.0.0.1:{port}");
        eventually("the issuer answers", DEADLINE, async || try_get(&format!("{url}/jwks")).await.ok()).await;
        Self { url, port, _child: child }
    }

    /// An ID token for a client, by the authorization code flow.
    async fn token(&self, user: &str, client: &str) -> String {
        let back = "http%3A%2F%2F127.0.0.1%3A1%2Fcb";
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        let url = format!(
            "{}/oauth2/authorize?client_id={client}&redirect_uri={back}&response_type=code&scope=openid",
            self.url
        );
        let mut answer = command("curl");
        let answer = answer.args([
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{redirect_url}",
            "-d",
            &format!("sub={user}"),
            &url,
        ]);
        let location = String::from_utf8(answer.output().await.unwrap().stdout).unwrap();
        let code = location.split_once("code=").expect("a code").1.to_owned();
        let body = format!(
            "grant_type=authorization_code&code={code}&redirect_uri={back}&client_id={client}&client_secret=x"
        );
        let reply = post_as(&format!("{}/oauth2/token", self.url), &form, &body).await;
        reply.json()["id_token"].as_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_an_issuer_are_taken_and_forged_ones_are_not() {
    let issuer = Issuer::start(free_port()).await;
    let config = format!(
        "[[login.oidc]]\nissuer = \"{}\"\naudience = \"anabranch\"\nuser_prefix = \"id:\"\n",
        issuer.url
    );
    let server = Server::with_config(&config).await;
    let token = issuer.token("anna", "anabranch").await;
    let bearer = |token: &str| format!("Bearer {token}");
    let submitted = submit(&server, "echo", &bearer(&token), &json!({ "literalInput": "x" })).await;
    assert_eq!(submitted.status, 201, "{}", submitted.text());
    let audit = std::fs::read_to_string(server.data_folder().join("audit.jsonl")).unwrap();
    assert!(audit.contains("\"user\":\"id:anna\""), "{audit}");

    let parts: Vec<&str> = token.split('.').collect();
    let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let none = encode(r#"{"alg":"none","typ":"JWT"}"#);
    let symmetric = encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let claims =
        String::from_utf8(base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(parts[1]).unwrap())
            .unwrap();
    let boss = encode(&claims.replace("anna", "boss"));
    let old = encode(&claims.replacen("\"exp\":", "\"exp\":1,\"old\":", 1));
    for forged in [
        format!("{none}.{}.", parts[1]),
        format!("{symmetric}.{}.{}", parts[1], parts[2]),
        format!("{}.{boss}.{}", parts[0], parts[2]),
        format!("{}.{old}.{}", parts[0], parts[2]),
        issuer.token("anna", "another").await,
    ] {
        let refused = get(&server, "/processes", &bearer(&forged)).await;
        assert_eq!((refused.status, refused.header("www-authenticate").is_some()), (401, true), "{forged}");
    }

    // New keys, as after a rotation.
    let port = issuer.port;
    drop(issuer);
    eventually("the old issuer is gone", DEADLINE, async || {
        std::net::TcpListener::bind(("127.0.0.1", port)).is_ok().then_some(())
    })
    .await;
    let issuer = Issuer::start(port).await;
    let renewed = issuer.token("anna", "anabranch").await;
    // Keys are fetched every few seconds at most, and each refusal counts as a guess.
    eventually_at_pace(
        "the new keys are fetched",
        Duration::from_secs(15),
        Duration::from_secs(1),
        async || (get(&server, "/processes", &bearer(&renewed)).await.status == 200).then_some(()),
    )
    .await;
    assert_eq!(get(&server, "/processes", &bearer(&token)).await.status, 401, "the old ones are gone");
}

/// A certificate for this machine, its key, and what trusts it, in a folder.
fn certificate(folder: &Path, number: u8) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    parameters.serial_number = Some(u64::from(number).into());
    let certificate = parameters.self_signed(&key).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    std::fs::write(folder.join("certificate.pem"), certificate.pem()).unwrap();
}

/// An authority, and two certificates of it: one names a user, the other an address of e-mail too.
fn client_certificates(folder: &Path) {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = authority.clone().self_signed(&authority_key).unwrap();
    std::fs::write(folder.join("clients.pem"), certificate.pem()).unwrap();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    for (name, email) in [("carla", None), ("dora", Some("dora@example.org"))] {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::default();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        let email = email.map(|email| rcgen::SanType::Rfc822Name(email.try_into().unwrap()));
        parameters.subject_alt_names.extend(email);
        parameters.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = parameters.signed_by(&key, &issuer).unwrap();
        std::fs::write(folder.join(name), certificate.pem() + &key.serialize_pem()).unwrap();
    }
}

/// What curl gets, with the headers.
async fn curl(arguments: &[&str]) -> String {
    let done = command("curl").args(["-s", "-i", "--max-time", "20"]).args(arguments).output().await.unwrap();
    String::from_utf8_lossy(&done.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_takes_up_new_certificates_and_knows_clients_by_theirs() {
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str| files.path().join(name).display().to_string();
    certificate(files.path(), 1);
    client_certificates(files.path());
    let config = format!(
        "[http.tls]\ncertificate = {:?}\nkey = {:?}\nclient_ca = {:?}\n",
        file("certificate.pem"),
        file("key.pem"),
        file("clients.pem")
    );
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("config.toml"), config).unwrap();
    let port = || format!("127.0.0.1:{}", free_port());
    let http = port();
    let _server = command(binary())
        .args(["serve", "--config"])
        .arg(data.path().join("config.toml"))
        .arg("--data")
        .arg(data.path().join("data"))
        .args(["--listen", &http, "--xmpp-listen", &port(), "--xmpp-tls-listen", &port()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let url = |path: &str| format!("https://{http}{path}");
    let old = std::fs::read(file("certificate.pem")).unwrap();
    std::fs::write(file("old.pem"), &old).unwrap();
    let old = file("old.pem");
    eventually("the server answers by TLS", DEADLINE, async || {
        curl(&["--cacert", &old, &url("/readyz")]).await.contains(" 200 ").then_some(())
    })
    .await;
    let nobody = curl(&["--cacert", &old, &url("/console")]).await;
    assert!(nobody.contains(" 401 ") && nobody.contains("strict-transport-security"), "{nobody}");
    let execution = url("/processes/echo/execution");
    for (certificate, user) in [("carla", "carla"), ("dora", "dora@example.org")] {
        let (client, body) = (file(certificate), r#"{"inputs":{"literalInput":"x"}}"#);
        let json = "Content-Type: application/json";
        let answer = curl(&["--cacert", &old, "--cert", &client, "-H", json, "-d", body, &execution]).await;
        assert!(answer.contains(" 200 "), "{answer}");
        let audit = std::fs::read_to_string(data.path().join("data/audit.jsonl")).unwrap();
        assert!(audit.contains(&format!("\"user\":\"{user}\"")), "{audit}");
    }
    assert_eq!(curl(&[&format!("http://{http}/readyz")]).await, "", "no plain HTTP on this port");

    certificate(files.path(), 2);
    let new = file("certificate.pem");
    eventually("the new certificate is in use", DEADLINE, async || {
        curl(&["--cacert", &new, &url("/readyz")]).await.contains(" 200 ").then_some(())
    })
    .await;
    assert_eq!(curl(&["--cacert", &old, &url("/readyz")]).await, "", "and the old one is not");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_names_users_from_its_address_only() {
    let config = |from: &str| {
        format!(
            "[login.proxy]\nheader = \"X-Remote-User\"\nroles_header = \"X-Remote-Roles\"\nfrom = [\"{from}\"]\n"
        )
    };
    for (from, anna, boss) in [("127.0.0.1", 200, 200), ("192.0.2.1", 404, 401)] {
        let server = Server::with_config(&config(from)).await;
        let headers = [("X-Remote-User", "anna")];
        assert_eq!(get_with(&server.url("/processes/echo"), &headers).await.status, anna);
        let headers = [("X-Remote-User", "boss"), ("X-Remote-Roles", "forest, operator")];
        assert_eq!(get_with(&server.url("/console"), &headers).await.status, boss);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_behind_a_proxy_are_counted_by_client() {
    let server = Server::with_config("[http]\ntrusted_proxies = [\"127.0.0.0/8\"]\n").await;
    user(&server, &["add", "anna"], "correct horse").await;
    // By hand, because the harness's client may not say whom it asks for. What a client says itself comes first, and counts for nothing.
    let ask = async |client: &str, number: u32, authorization: &str| {
        let head = format!(
            "GET /processes HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {authorization}\r\n"
        );
        let from = format!("X-Forwarded-For: 203.0.113.{number}, {client}\r\n\r\n");
        raw::statuses(&raw::exchange(&server, (head + &from).as_bytes()).await)
    };
    // Each as somebody else, so that only addresses can be what is limited.
    let guess = async |client: &str, number: u32| {
        ask(client, number, &basic(&format!("user{number}"), "guess")).await
    };
    for number in 0..30 {
        assert_eq!(guess("198.51.100.1", number).await, [401], "{number}");
    }
    assert_eq!(guess("198.51.100.1", 31).await, [429]);
    assert_eq!(guess("198.51.100.2", 32).await, [401], "another client of the same proxy");
    assert_eq!(ask("198.51.100.2", 33, &basic("anna", "correct horse")).await, [200]);
    let audit = std::fs::read_to_string(server.data_folder().join("audit.jsonl")).unwrap();
    assert!(audit.contains("\"198.51.100.1\"") && !audit.contains("203.0.113."), "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_account_is_out_at_once_and_an_account_offers_what_it_may() {
    let server = Server::with_config("[xmpp.offers]\n\"field-1\" = [\"default:May*\"]\n").await;
    let host = server.xmpp.ip().to_string();
    let invited = command(binary())
        .args(["invite", "field-1", "--host", &host, "--data"])
        .arg(server.data_folder())
        .output()
        .await
        .unwrap();
    let line = String::from_utf8(invited.stdout).unwrap();
    let join = line.split('\'').nth(1).expect("a line to paste").to_owned();
    let services = [
        ("may.toml", e2e::script_service("MayRun", "cat", "")),
        ("not.toml", e2e::script_service("NotRun", "cat", "")),
    ];
    let services: Vec<_> = services.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let _agent = e2e::Agent::start_with("far", &services, &["--join".into(), join]);
    server.published("default:MayRun", true).await;
    eventually("the other one is refused", DEADLINE, async || {
        server.log().contains("may not offer it").then_some(())
    })
    .await;
    assert_eq!(server.get("/processes/default:NotRun").await.status, 404);
    let revoked = command(binary())
        .args(["revoke", "field-1", "--data"])
        .arg(server.data_folder())
        .status()
        .await
        .unwrap();
    assert!(revoked.success());
    eventually("its session is ended", DEADLINE, async || {
        let agents = server.get("/console?f=json").await.json();
        (server.log().contains("its sessions are ended") && agents["agents"][0]["connected"] == false)
            .then_some(())
    })
    .await;
}
