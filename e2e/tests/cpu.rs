//! Processor time of executables: limited and counted alike, whether the server runs them or an agent does.

#![allow(clippy::unwrap_used)]

use e2e::{Agent, DEADLINE, Server, script_service};
use serde_json::json;

/// Uses a second of processor time each time, and is ended for it by a limit of its own; the script goes on.
const SECOND: &str = "sh -c 'ulimit -t 1; while :; do :; done' 2>/dev/null;";

#[tokio::test]
async fn processor_time_is_limited_and_counted_over_all_processes_of_a_run_also_at_agents() {
    let services = tempfile::tempdir().unwrap();
    let scripts = |place: &str| {
        [
            (format!("{place}Spins"), script_service(&format!("{place}Spins"), "while :; do :; done", "")),
            (
                format!("{place}Many"),
                script_service(&format!("{place}Many"), &format!("{} echo done", SECOND.repeat(3)), ""),
            ),
            (
                format!("{place}One"),
                script_service(&format!("{place}One"), &format!("{SECOND} echo done"), ""),
            ),
        ]
    };
    for (name, text) in scripts("Here") {
        std::fs::write(services.path().join(format!("{name}.toml")), text).unwrap();
    }
    let server = Server::with_config(&format!(
        "[services]\nfolder = {:?}\n[processes.\"default:*\".limits]\ncpu_s_max = 2\n",
        services.path()
    ))
    .await;
    let far = scripts("Far").map(|(name, text)| (format!("{name}.toml"), text));
    let far: Vec<_> = far.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let _agent = Agent::start(&server, "p1", &far);
    for place in ["Here", "Far"] {
        let mut jobs = Vec::new();
        for name in ["Spins", "Many", "One"] {
            let process = format!("default:{place}{name}");
            server.published(&process, true).await;
            jobs.push((name, server.submit(&process, &json!({ "inputs": {} })).await));
        }
        for (name, job) in jobs {
            let end = server.job_in(&job, &["successful", "failed"], 2 * DEADLINE).await;
            if name == "One" {
                assert_eq!(end["status"], "successful", "{place}{name}: {end}");
                continue;
            }
            assert_eq!(end["status"], "failed", "{place}{name}: {end}");
            let said = end["message"].as_str().unwrap();
            assert!(said.contains("2") && said.contains("default:*"), "{place}{name}: {said}");
            assert!(said.contains("processor"), "{place}{name}: {said}");
        }
    }
}
