//! Power failures of the server's machine: what was told before is true afterwards.

#![allow(clippy::unwrap_used)]

use e2e::power::{Power, Unsynced};
use e2e::witness::Witness;
use e2e::work::{INTERFACES, Services, WORKS};
use e2e::{Circumstances, DEADLINE, Random, Server};
use std::path::Path;
use std::time::{Duration, Instant};

/// Jobs of all sorts, a power failure while they run, and a server on what is left. `ignored` are files and folders whose syncs do not
/// count, as if the server did none.
async fn lose_power(random: &mut Random, unsynced: Unsynced, ignored: Option<&str>) {
    let services = Services::new();
    let power = Power::new().await;
    let config = format!("[services]\nfolder = {:?}\n", services.path());
    let around = |data: &Path| Circumstances {
        environment: power.environment(data, ignored),
        ..Circumstances::default()
    };
    let mut server = Server::start_in(&config, around).await;
    let mut witness = Witness::default();
    let end = Instant::now() + Duration::from_millis(1000 + random.below(1500) as u64);
    while Instant::now() < end {
        let (work, interface) = (*random.pick(&WORKS), *random.pick(&INTERFACES));
        let token = witness.token(work);
        if random.one_in(5) {
            let reply = work.execute(&server, &token).await.expect("it answers");
            assert!(reply.status == 200 || reply.status == 500, "{}", reply.text());
        } else {
            let id = work.submit(&server, interface, &token).await.unwrap();
            witness.accepted(id, work, token);
        }
        witness.look(&server).await;
    }
    server.kill().await;
    power.fail(&server.data_folder(), unsynced, random);
    server.around = Circumstances::default();
    server.start_again().await;
    witness.confirm(&server, DEADLINE).await;
    witness.check_runs(&services);
    let checked = e2e::check_store(&server.data_folder()).await;
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[tokio::test]
async fn what_was_told_survives_a_power_failure() {
    let mut random = Random::from_environment();
    for unsynced in [Unsynced::Lost, Unsynced::ByChance, Unsynced::ByChance] {
        lose_power(&mut random, unsynced, None).await;
    }
}

/// Shows that the test above finds what is missing: without any one of these syncs something told is untrue afterwards.
#[tokio::test(flavor = "local")]
async fn a_sync_that_is_missing_is_noticed() {
    for ignored in ["jobs.sqlite-wal", "results/*/*", "results"] {
        let lost = tokio::task::spawn_local(async move {
            // More than one failure, for what is missing may have been of no use once.
            for seed in 0..3 {
                lose_power(&mut Random::new(seed), Unsynced::Lost, Some(ignored)).await;
            }
        });
        assert!(lost.await.is_err(), "nothing was lost without syncs of {ignored}");
    }
}
