//! Executables apart from the rest of the machine, by the real bubblewrap.

use super::support::{DEADLINE, Run, assert_dead, until};
use anabranch_model::Error;
use std::sync::Arc;

const ISOLATED: &str = "[limits]\nisolation = 'bubblewrap'\n";

#[tokio::test]
async fn only_the_run_s_own_folders_can_be_written_and_there_is_no_network() {
    let outside = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let script = format!(
        "touch {0}/written 2>/dev/null && echo outside\n\
         touch /etc/written 2>/dev/null && echo system\n\
         touch {{folder}}/written 2>/dev/null && echo service\n\
         for hidden in /home /root /tmp; do ls $hidden | grep -v '^\\.tmp'; done\n\
         grep -c ':' /proc/net/dev > interfaces\n\
         echo here > $TMPDIR/a && echo here > $HOME/b && mv interfaces out",
        outside.path().display()
    );
    let run = Run::new(&script, ISOLATED);
    run.execute().await.unwrap_or_else(|error| panic!("{error:?} {}", run.sink.log_text()));
    assert_eq!(run.sink.chunk("out"), "1", "the loopback interface alone");
    assert_eq!(run.sink.log_text(), "", "nothing could be written elsewhere, nothing was seen");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn network_and_folders_are_there_where_they_are_allowed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("known"), "known").unwrap();
    let script = format!("ls {0} && touch {0}/new; cat {0}/known > out", folder.path().display());
    let hidden = Run::new(&script, ISOLATED);
    assert!(hidden.failure().await.starts_with("sh exited with code 1"), "{}", hidden.sink.log_text());
    let file = format!("{ISOLATED}network = true\nvisible = ['{}']", folder.path().display());
    let run = Run::new(&format!("{script}; grep -c ':' /proc/net/dev >&2; true"), &file);
    run.execute().await.unwrap_or_else(|error| panic!("{error:?} {}", run.sink.log_text()));
    assert_eq!(run.sink.chunk("out"), "known");
    assert!(run.sink.log_text().contains("Read-only file system"), "{}", run.sink.log_text());
}

#[tokio::test]
async fn an_isolated_run_ends_as_a_whole() {
    let run = Arc::new(Run::new("sleep 1001 & setsid sleep 1002 & echo > begun; wait", ISOLATED));
    let executing = tokio::spawn({
        let run = Arc::clone(&run);
        async move { run.execute().await }
    });
    let begun = run.sink.folder().join("work/begun");
    until("the run begins", || begun.exists().then_some(())).await;
    // They are copies of the shell until they have become what they are.
    let both = || Some(pids_of(&["1001", "1002"])).filter(|pids| pids.len() == 2);
    let pids = until("both processes run", both).await;
    run.sink.cancel();
    let result = tokio::time::timeout(DEADLINE, executing).await.unwrap().unwrap();
    assert_eq!(result, Err(Error::Dismissed));
    assert_dead(&pids);
}

/// Processes `sleep` with such an argument.
fn pids_of(arguments: &[&str]) -> Vec<u32> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    pids.filter_map(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let is_it = arguments.iter().any(|argument| line == format!("sleep\0{argument}\0").as_bytes());
        if is_it { entry.file_name().to_str()?.parse().ok() } else { None }
    })
    .collect()
}

#[tokio::test]
async fn faults_of_the_words_are_named() {
    let faults = |file: &str| {
        let text = format!("identifier = 'x'\n[command]\nprogram = '/bin/sh'\n[limits]\n{file}");
        anabranch_command::check(std::path::Path::new("/x/x.toml"), &text).to_string()
    };
    assert!(
        faults("isolation = 'docker'")
            .contains("isolation must be \"none\" or \"bubblewrap\", not \"docker\"")
    );
    assert!(faults("network = true").contains("need isolation = \"bubblewrap\""));
    assert!(faults("isolation = 'bubblewrap'\nvisible = ['data']").contains("absolute paths, not \"data\""));
}
