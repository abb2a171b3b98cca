//! What executables leave.

use super::support::Run;
use anabranch_model::Error;

const TILES: &str = "[outputs.tiles]\ntype = 'complex'\nformats = ['text/plain']\nglob = 'tiles/*.txt'\n";

#[tokio::test]
async fn a_file_is_a_chunk_and_its_folder_is_made() {
    let file = "[inputs.dem]\ntype = 'complex'\nformats = ['text/plain']\nmax_occurs = 2
[outputs.out]\ntype = 'complex'\nformats = ['text/plain']\nfile = 'deep/down/out.txt'
[command]\nprogram = '/bin/sh'\narguments = [SCRIPT, '{out}', '{dem}']";
    let run = Run::new(
        "out=$1; shift; for f in \"$@\"; do basename $f >> $out; cat $f >> $out; echo changed > $f; done",
        file,
    );
    let original = run.folder.path().join("original");
    std::fs::write(&original, "from a file\n").unwrap();
    let path = format!("@{}", original.display());
    run.execute_with(&[("dem", "in memory\n"), ("dem", &path)]).await.unwrap();
    assert_eq!(run.sink.chunk("out"), "dem.txt\nin memory\ndem-2.txt\nfrom a file\n");
    assert_eq!(std::fs::read_to_string(&original).unwrap(), "from a file\n", "inputs are copies");
}

#[tokio::test]
async fn default_files_are_taken_where_none_is_given() {
    let file = "[inputs.dem]\ntype = 'complex'\nformats = ['text/plain']\ndefault_file = 'script'
[outputs.out]\ntype = 'string'\nstdout = true\n[command]\nprogram = '/bin/sh'\narguments = ['{dem}']";
    let run = Run::new("echo I am the default", file);
    run.execute().await.unwrap();
    assert_eq!(run.sink.chunk("out"), "I am the default");
}

#[tokio::test]
async fn every_match_is_a_chunk_in_the_order_of_names() {
    let run = Run::new(
        "for i in b c a; do echo -n $i > tiles/$i.txt; done; mkdir tiles/d.txt; echo x > tiles/.h.txt",
        TILES,
    );
    run.execute().await.unwrap();
    assert_eq!(run.sink.chunk("tiles"), "a|b|c");
    let run = Run::new("true", TILES);
    assert_eq!(run.failure().await, "output 'tiles' was not written (no file matches tiles/*.txt)");
}

#[tokio::test]
async fn announced_files_are_handed_over_while_the_run_goes_on() {
    let run = Run::new(
        "echo -n 2 > tiles/2.txt; echo wrote tiles/2.txt; echo wrote ../secret.txt; echo wrote tiles/none.txt
while [ ! -e {folder}/go ]; do :; done; echo -n 1 > tiles/1.txt; echo -n 3 > tiles/3.txt",
        &format!("{TILES}announced = '^wrote (.+)'"),
    );
    let go = async {
        super::support::until("the first chunk", || (run.sink.chunk("tiles") == "2").then_some(())).await;
        std::fs::write(run.folder.path().join("go"), "").unwrap();
    };
    let (result, ()) = tokio::join!(run.execute(), go);
    result.unwrap();
    assert_eq!(run.sink.chunk("tiles"), "2|1|3");
}

#[tokio::test]
async fn literals_come_from_streams_files_and_lines_and_are_checked() {
    let file = "[outputs.count]\ntype = 'integer'\npattern = 'count=(\\S+)'\nstream = 'stderr'\n[outputs.area]\ntype = 'bounding_box'\ncrs = ['EPSG:4326']\nfile = 'area'\n[outputs.name]\ntype = 'string'\nfile = 'name'\n";
    let script = "echo count=1 >&2; echo count=$COUNT >&2; echo 1,2,3,4 > area; echo ' a b ' > name";
    let run = Run::new(&script.replace("$COUNT", "42"), file);
    run.execute().await.unwrap();
    assert_eq!(run.sink.chunk("count"), "42", "the last line counts");
    assert_eq!(run.sink.chunk("area"), "[1.0, 2.0] [3.0, 4.0]");
    assert!(run.sink.chunk("name").starts_with(" a b"));
    let run = Run::new(&script.replace("$COUNT", "many"), file);
    assert_eq!(run.failure().await, "output 'count' must be an integer, not \"many\"");
    let run = Run::new("true", file);
    assert_eq!(run.failure().await, "output 'count': no line matches \"count=(\\\\S+)\"");
}

#[tokio::test]
async fn standard_output_is_data_as_it_is() {
    let file = "[outputs.out]\ntype = 'complex'\nformats = ['text/plain']\nstdout = true";
    let run = Run::new("printf 'a\\r\\nb'; echo said >&2", file);
    run.execute().await.unwrap();
    assert_eq!(run.sink.chunk("out"), "a\r\nb");
    assert_eq!(run.sink.log_text(), "Stderr said\n");
    let run = Run::new("true", file);
    assert_eq!(run.failure().await, "output 'out': nothing came on standard output");
    let run = Run::new("true", "[outputs.out]\ntype = 'string'\nstdout = true");
    run.execute().await.unwrap();
    assert_eq!(run.sink.chunk("out"), "", "no text is a text");
    let run = Run::new("true", "[outputs.out]\ntype = 'integer'\nstdout = true");
    assert_eq!(run.failure().await, "output 'out' must be an integer");
}

#[tokio::test]
async fn nothing_outside_the_folder_is_an_output() {
    let file = "[outputs.out]\ntype = 'complex'\nformats = ['text/plain']\nfile = 'out'";
    let run = Run::new("ln -s /etc/passwd out", file);
    assert_eq!(run.failure().await, "output 'out': out leads out of the run's folder");
    let run = Run::new(
        "ln -s /etc tiles/x; rmdir tiles 2>/dev/null; rm -r tiles; ln -s /etc tiles; ",
        &TILES.replace("*.txt", "passw?"),
    );
    assert_eq!(run.failure().await, "output 'tiles': tiles/passwd leads out of the run's folder");
    let run = Run::new("mkfifo out", file);
    assert_eq!(run.failure().await, "output 'out': out is no regular file");
    let run = Run::new("echo inside > real; ln -s real out", file);
    run.execute().await.unwrap();
    assert_eq!(run.sink.chunk("out"), "inside\n");
}

#[tokio::test]
async fn values_that_would_be_options_never_start_anything() {
    let file =
        "[inputs.name]\ntype = 'string'\n[command]\nprogram = '/bin/sh'\narguments = [SCRIPT, '{name}']";
    let run = Run::new("touch {folder}/ran", file);
    let result = run.execute_with(&[("name", "--help")]).await;
    assert!(matches!(&result, Err(Error::Invalid(faults)) if faults.len() == 1), "{result:?}");
    assert!(!run.folder.path().join("ran").exists());
}

/// While the run waits, what is complete is there, and what is being written is not. A file that is handed over is moved away, which may be
/// as soon as it is complete.
#[tokio::test]
async fn complete_files_are_handed_over_while_the_run_goes_on() {
    for (complete, before, after) in [
        (
            "named",
            "echo -n 1 > tiles/1.tmp; mv tiles/1.tmp tiles/1.txt; echo -n h > tiles/2.tmp",
            "echo -n 2 >> tiles/2.tmp; mv tiles/2.tmp tiles/2.txt; echo -n 3 > tiles/3.tmp; mv tiles/3.tmp tiles/3.txt",
        ),
        (
            "closed",
            "echo -n 1 > tiles/1.txt; exec 3> tiles/2.txt; echo -n h >&3",
            "echo -n 2 >&3; exec 3>&-; echo -n 3 > tiles/3.txt",
        ),
        (
            "next",
            "echo -n 1 > tiles/1.txt
while [ -e tiles/1.txt ] && ! [ tiles/2.txt -nt tiles/1.txt ]; do echo -n h > tiles/2.txt; done",
            "echo -n 2 >> tiles/2.txt; echo -n 3 > tiles/3.txt",
        ),
    ] {
        let script = format!("{before}\nwhile [ ! -e {{folder}}/go ]; do :; done\n{after}");
        let run = Run::new(&script, &format!("{TILES}complete = '{complete}'"));
        let go = async {
            super::support::until("the first chunk", || (run.sink.chunk("tiles") == "1").then_some(())).await;
            std::fs::write(run.folder.path().join("go"), "").unwrap();
        };
        let (result, ()) = tokio::join!(run.execute(), go);
        result.unwrap();
        assert_eq!(run.sink.chunk("tiles"), "1|h2|3", "{complete}");
    }
}

const RECORDS: &str =
    "[outputs.out]\ntype = 'complex'\nformats = ['application/geo+json-seq']\nstdout = true\nrecords = ";

#[tokio::test]
async fn records_on_standard_output_are_chunks_while_the_run_goes_on() {
    let run = Run::new(
        "printf '1\\n2\\n3\\n'; while [ ! -e {folder}/go ]; do :; done; printf '4\\n5'; echo said >&2",
        &format!("{RECORDS}{{ max = 2, wait = '10 ms' }}"),
    );
    let go = async {
        super::support::until("two chunks", || (run.sink.chunk("out") == "1\n2\n|3\n").then_some(())).await;
        std::fs::write(run.folder.path().join("go"), "").unwrap();
    };
    let (result, ()) = tokio::join!(run.execute(), go);
    result.unwrap();
    let all = run.sink.chunk("out").replace('|', "");
    assert_eq!(all, "1\n2\n3\n4\n5");
    assert_eq!(run.sink.log_text(), "Stderr said\n");
    let run = Run::new("true", &format!("{RECORDS}{{}}"));
    assert_eq!(run.failure().await, "output 'out': no record came on standard output");
    let run = Run::new("head -c 20000000 /dev/zero", &format!("{RECORDS}{{}}"));
    assert_eq!(run.failure().await, "output 'out': a record on standard output is larger than 16 MiB");
}
