//! Service files of WPS Remote, run with real files, and what they need of every dialect.

use super::support::Run;
use anabranch_model::Error;

#[tokio::test]
async fn a_service_of_wps_remote_runs() {
    let run = Run::of_file("contour/service.config");
    run.execute_with(&[("interval", "150")]).await.unwrap();
    assert_eq!(run.sink.chunk("result1"), "contours every 150 m\n");
    assert_eq!(run.sink.chunk("result2"), "contour;", "a map is the names of its layers");
    let progress = run.sink.progress.lock().unwrap().clone();
    assert_eq!(progress.first(), Some(&(10.0, None)));
    // A line of the log is what the run does now.
    assert_eq!(progress[1], (10.0, Some("drawing every 150 m".into())));
    assert_eq!(progress.last(), Some(&(100.0, None)));
    let log = run.sink.log_text();
    assert!(log.contains("Stdout INFO: drawing every 150 m"), "{log}");
    assert!(!log.contains("DEBUG"), "{log}");
}

#[tokio::test]
async fn defaults_are_taken_and_the_link_to_the_folder_is_gone_after_the_run() {
    let run = Run::of_file("contour/service.config");
    run.execute().await.unwrap();
    assert_eq!(run.sink.chunk("result1"), "contours every 200 m\n");
    let links = std::fs::read_dir("/tmp/anabranch-contour").unwrap().map(|entry| entry.unwrap().path());
    let stale: Vec<_> =
        links.filter(|link| link.read_link().is_ok_and(|to| to.starts_with(run.sink.folder()))).collect();
    assert!(stale.is_empty(), "{stale:?}");
}

#[tokio::test]
async fn every_action_leaves_its_file() {
    let run = Run::of_file("actions/service.config");
    let inputs = [
        ("when", "2026-11-28T12:30:00+02:00"),
        ("asset", r#"{"Asset": {"id": 3, "name": "a"}}"#),
        ("asset", r#"{"Asset": {"id": 4}}"#),
        ("tokens", "a b"),
        ("tokens", "c"),
    ];
    run.execute_with(&inputs).await.unwrap();
    let expected = r#"arg --file-n=8
arg oaaOnDemand
arg -d
arg 2026-11-28T10:30:00Z
arg --many=a b
arg --many=c
--- copied.ini
[S1]
Count = 1
other = x
--- upd.ini
# kept
[S1]
Count = 8
other = x
tokens = ["a b","c"]
--- asset_3.json
{"Asset": {"id": 3, "name": "a"}}
--- asset_4.json
{"Asset": {"id": 4}}
--- cfg.json
{
    "Config": {
        "k": "v",
        "n": 8,
        "items": [
            1,
            7
        ]
    }
}"#;
    assert_eq!(run.sink.chunk("result1"), expected);
}

#[tokio::test]
async fn what_has_no_value_leaves_no_option_and_no_file() {
    let run = Run::of_file("actions/service.config");
    run.execute().await.unwrap();
    let shown = run.sink.chunk("result1");
    assert!(shown.starts_with("arg --file-n=8\narg oaaOnDemand\n--- copied.ini"), "{shown}");
    assert!(!shown.contains("None") && !shown.contains("asset"), "{shown}");
}

#[tokio::test]
async fn values_that_do_not_fit_a_file_are_refused_with_the_rule() {
    let refused = async |inputs: &[(&str, &str)]| match Run::of_file("actions/service.config")
        .execute_with(inputs)
        .await
    {
        Err(error @ Error::Invalid(_)) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let fault = refused(&[("asset", r#"{"Asset": {"id": "x"}}"#)]).await;
    assert!(
        fault.contains(
            "input 'asset' must fulfil the service's JSON Schema: \"x\" is not of type \"integer\""
        ),
        "{fault}"
    );
    let fault = refused(&[("asset", "{")]).await;
    assert!(fault.contains("input 'asset' must be JSON: "), "{fault}");
    // A second line would be an entry, or a section, of its own.
    let fault = refused(&[("tokens", "a\n[S2]\nx = 1")]).await;
    assert!(fault.contains("input 'tokens' must be a single line"), "{fault}");
}

#[tokio::test]
async fn the_form_of_the_manual_runs() {
    let run = Run::of_file("manual/service.ini");
    run.execute_with(&[("surname", "Müller & Co"), ("child", "A B"), ("child", "C")]).await.unwrap();
    assert_eq!(run.sink.chunk("welcome"), "Hello Hans Müller & Co, and 2 children");
    assert_eq!(run.sink.chunk("card"), "Hello Hans\n");
    let refused = run.execute_with(&[("name", "Michi")]).await.unwrap_err().to_string();
    assert!(refused.contains("must be Hans or Peter or Alex"), "{refused}");
}

#[tokio::test]
async fn a_line_that_aborts_ends_the_run_and_says_why() {
    let run = Run::new(
        "echo $$ > {folder}/pid; echo '[ERROR] no such file'; echo '[ERROR] second'; exec sleep 600",
        "[[log]]\npattern = '^.(ERROR). (.+)'\naction = 'abort'\n",
    );
    assert_eq!(run.failure().await, "no such file");
    super::support::assert_dead(&run.pids(&["pid"]).await);
    // Whatever its exit code says.
    let run =
        Run::new("echo '[ERROR] lost'; exit 0", "[[log]]\npattern = '^.(ERROR). (.+)'\naction = 'abort'\n");
    assert_eq!(run.failure().await, "lost");
}

#[tokio::test]
async fn the_environment_is_passed_on_but_for_our_own() {
    let file = "[outputs.out]\ntype = 'string'\nstdout = true\n[command]\nprogram = '/bin/sh'\narguments = [SCRIPT]\npass_environment = ['*']";
    let run = Run::new("env", file);
    run.execute().await.unwrap();
    let shown = run.sink.chunk("out");
    // Cargo sets this one for tests.
    assert!(shown.contains("CARGO_MANIFEST_DIR="), "{shown}");
    let ours: Vec<_> = shown.lines().filter(|line| line.starts_with("ANABRANCH_")).collect();
    assert!(matches!(ours[..], [run] if run.starts_with("ANABRANCH_RUN=")), "{ours:?}");
    assert!(shown.contains(&format!("HOME={}", run.sink.folder().display())), "{shown}");
}

#[tokio::test]
async fn a_working_folder_is_where_the_executable_starts() {
    let file = "[outputs.out]\ntype = 'string'\nstdout = true\n[command]\nprogram = '/bin/sh'\narguments = [SCRIPT, '{run.folder}']\nworking_folder = '.'";
    let run = Run::new("pwd; cd $1; pwd", file);
    run.execute().await.unwrap();
    let shown = run.sink.chunk("out");
    let place = run.folder.path().display();
    assert_eq!(shown, format!("{place}\n{}/work", run.sink.folder().display()));
}
