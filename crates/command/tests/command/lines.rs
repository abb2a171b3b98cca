//! What executables say.

use super::support::Run;
use std::time::{Duration, Instant};

#[tokio::test]
async fn lines_are_logged_ignored_and_explain() {
    let run = Run::new(
        "echo hello; echo 'debug: x'; echo \"$PWD/out is bad\" >&2; echo 'ERROR: broken dem' >&2; echo bye >&2; exit 1",
        "[[log]]\npattern = '^debug'\naction = 'ignore'\n[[log]]\nstream = 'stderr'\npattern = '^ERROR: (.*)'\naction = 'failure'",
    );
    assert_eq!(run.failure().await, "sh exited with code 1: broken dem");
    let mut lines: Vec<_> = run.sink.log_text().lines().map(str::to_owned).collect();
    lines.sort_unstable();
    // Paths of this machine are cut out.
    assert_eq!(lines, ["Stderr ERROR: broken dem", "Stderr bye", "Stderr out is bad", "Stdout hello"]);
}

#[tokio::test]
async fn progress_is_seen_on_lines_that_have_not_ended() {
    // The script goes on only when told, so that nothing but the open line can have been read.
    let run = Run::new(
        "printf '0...10...2'; printf '12 %% reading' >&2; while [ ! -e {folder}/go ]; do :; done; printf '0..\\n'; printf '\\r50.5 %% writing\\r'>&2; echo > out",
        "[[progress]]\ngdal = true\n[[progress]]\nstream = 'stderr'\npattern = '([\\d.]+) %(?: (\\w+))?'",
    );
    let go = async {
        super::support::until("progress", || {
            let progress = run.sink.progress.lock().unwrap();
            (progress.contains(&(20.0, None)) && progress.contains(&(12.0, Some("reading".into()))))
                .then_some(())
        })
        .await;
        std::fs::write(run.folder.path().join("go"), "").unwrap();
    };
    let (result, ()) = tokio::join!(run.execute(), go);
    result.unwrap();
    let progress = run.sink.progress.lock().unwrap();
    assert!(progress.contains(&(25.0, None)), "{progress:?}");
    assert!(progress.contains(&(50.5, Some("writing".into()))), "{progress:?}");
    assert_eq!(run.sink.log_text(), "", "progress is not logged");
}

#[tokio::test]
async fn a_gigabyte_without_an_end_of_line_stays_small() {
    let run = Run::new("head -c 1G /dev/zero; echo; echo end; echo > out", "");
    let before = (Instant::now(), resident_bytes());
    run.execute().await.unwrap();
    let grown = resident_bytes().saturating_sub(before.1);
    println!("1 GiB of output: {:?}, {} KiB more memory", before.0.elapsed(), grown >> 10);
    assert!(grown < 64 << 20, "memory grew by {grown} bytes");
    let log = run.sink.log_text();
    assert!(log.len() < 20_000 && log.contains("(1073733632 bytes cut)"), "{}", log.len());
    assert!(log.ends_with("Stdout end\n"));
}

#[tokio::test]
async fn a_flood_of_lines_fills_the_log_and_no_more() {
    let run = Run::new("yes | head -n 1000000; echo > out", "[command]\nlog_size_max = 1000");
    run.execute().await.unwrap();
    let log = run.sink.log_text();
    assert!(log.lines().count() < 100);
    assert!(log.ends_with("more lines were left out\n"), "{log}");
}

#[tokio::test]
async fn both_streams_are_read_to_their_end() {
    let run = Run::new(
        "i=0; while [ $i -lt 2000 ]; do echo $i; echo $i >&2; i=$((i+1)); done; printf last; echo > out",
        "",
    );
    run.execute().await.unwrap();
    let log = run.sink.log_text();
    assert_eq!(log.lines().count(), 4001);
    assert!(log.contains("Stdout 1999\n") && log.contains("Stderr 1999\n") && log.contains("Stdout last\n"));
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[tokio::test]
async fn an_executable_that_closes_its_streams_is_waited_for() {
    let run = Run::new("exec >&- 2>&-; sleep 0.3; echo late > out", "");
    let before = Instant::now();
    run.execute().await.unwrap();
    assert!(before.elapsed() >= Duration::from_millis(300));
    assert_eq!(run.sink.chunk("out"), "late");
}
