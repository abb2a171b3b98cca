//! What `check` says about files.

use crate::dialect::check;
use crate::service::{OutputSource, Stream};
use anabranch_model::{AllowedValue, DataDescription, LiteralType, Occurs};
use std::path::Path;

/// Faults and warnings, each as `line:column: text`.
fn findings(text: &str) -> Vec<String> {
    let report = check(Path::new("f.toml"), text);
    assert_eq!(report.service.is_some(), report.faults.is_empty(), "{report}");
    report.to_string().lines().map(|line| line.trim_start_matches("f.toml:").to_owned()).collect()
}

/// What is said about a file that is right but for `part`.
fn about(part: &str) -> Vec<String> {
    let rest = "[outputs.out]\ntype = \"string\"\nstdout = true\n[command]\nprogram = \"/bin/sh\"\n";
    let rest = if part.contains("[outputs") { "[command]\nprogram = \"/bin/sh\"\n" } else { rest };
    let rest = if part.contains("[command]") { rest.split("[command]").next().unwrap() } else { rest };
    findings(&format!("identifier = \"x\"\n{part}\n{rest}"))
}

#[test]
fn the_reference_file_is_right_and_read_whole() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("reference-service.toml");
    let report = check(&path, &std::fs::read_to_string(&path).unwrap());
    assert_eq!(report.faults, [], "{report}");
    let service = report.service.unwrap();
    assert_eq!(service.description.id.as_str(), "default:GdalContour");
    let ids: Vec<_> = service.description.inputs.iter().map(|input| input.id.as_str()).collect();
    assert_eq!(ids, ["dem", "interval", "attribute", "area"], "the order of the file is kept");
    let DataDescription::Literal(interval) = &service.description.inputs[1].data else { panic!() };
    assert_eq!(interval.data_type, LiteralType::Double);
    assert_eq!(interval.default.as_deref(), Some("100"));
    assert!(matches!(interval.allowed[..], [AllowedValue::Range { .. }]));
    assert_eq!(service.description.inputs[1].occurs, Occurs::OPTIONAL);
    let DataDescription::Complex(dem) = &service.description.inputs[0].data else { panic!() };
    assert_eq!((dem.bytes_max, dem.formats.len()), (Some(512 << 20), 2));
    assert!(matches!(&service.outputs[0].source, OutputSource::File(name) if name == "contours.out"));
    assert_eq!(service.command.time_limit.map(|limit| limit.as_secs()), Some(600));
    assert_eq!(service.gdal_progress, [Stream::Stdout]);
    assert_eq!((service.lines.len(), service.steps.len(), service.capacity.runs), (5, 2, 4));
    assert_eq!((service.labels.required.len(), service.labels.preferred.len()), (1, 1));
    assert_eq!(service.limits.memory_bytes, Some(4 << 30));
}

#[test]
fn the_smallest_file_needs_four_things() {
    assert_eq!(about(""), [""; 0]);
    assert_eq!(
        findings(""),
        [
            "1:1: identifier is missing: the name under which it is published",
            "1:1: outputs is missing: a process has one output at least",
            "1:1: [command] is missing: which program is to be run?",
        ]
    );
}

#[test]
fn faults_of_syntax_are_all_told() {
    let found = findings("identifier = \n[inputs.a\ntype = \"string\"\n");
    let lines: Vec<_> = found.iter().map(|fault| &fault[..2]).collect();
    assert_eq!(lines, ["1:", "2:"], "{found:?}");
}

#[test]
fn every_fault_of_a_file_is_told_at_once_with_its_place() {
    let text = r#"
identifier = "a b"
titel = "x"
[inputs.interval]
type = "double"
default = "x"
minimum = 10
maximum = 1
[inputs.name]
type = "text"
colour = 3
[inputs.kind]
type = "string"
allowed = ["a", "b"]
default = "c"
min_occurs = 2
[inputs.dem]
type = "complex"
[outputs.dem]
type = "complex"
formats = ["tiff"]
file = "../x"
[outputs.none]
type = "string"
[outputs.two]
type = "string"
stdout = true
file = "x"
[outputs.line]
type = "integer"
pattern = '(\d+'
[command]
program = "no-such-program"
arguments = ["{intervall}", "{interval.crs}", "{"]
time_limit = "soon"
success = []
[[progress]]
pattern = '\d+%'
[limits]
memory = "1 MiB"
[capacity]
runs = 0
"#;
    let found = findings(text);
    let expected = [
        "2:14: identifier \"default:a b\" may hold letters, digits and _ - . : ~ only",
        "3:1: unknown key 'titel', did you mean 'title'?",
        "6:11: input 'interval': default \"x\" is not a double",
        "8:11: input 'interval': maximum 1 is below minimum 10",
        "10:8: input 'name': type must be complex, bounding_box, string, boolean, integer, double, dateTime, date, time or anyURI, not \"text\"",
        "11:1: input 'name': unknown key 'colour'",
        "15:11: input 'kind': default \"c\" must be a or b",
        "16:14: input 'kind': max_occurs 1 must be at least 1 and at least min_occurs 2",
        "17:9: input 'dem': formats is missing",
        "19:10: output 'dem' has the name of the input",
        "21:12: output 'dem': \"tiff\" is no media type",
        "22:8: output 'dem': file \"../x\" must be relative to the run's folder and stay in it",
        "23:10: output 'none': has no source: file, glob, stdout = true, pattern or layers",
        "25:10: output 'two': has several sources",
        "31:11: output 'line': pattern \"(\\\\d+\" is no regular expression: unclosed group",
        "34:14: command: {intervall} names no input, output or constant, did you mean {interval}?",
        "34:29: command: {interval.crs} is unknown: 'interval' has {interval.uom}",
        "34:47: command: '{' in \"{\" has no partner",
        "35:14: command: time_limit must be a time such as \"10 min\", not \"soon\"",
        "36:11: command: success is empty",
        "38:11: progress 1: pattern \"\\\\d+%\" needs a group in parentheses",
        "39:1: limits: memory must be at least 256 MiB",
        "42:8: capacity: runs must be at least 1",
        "33:11: warning: command: executable 'no-such-program' does not exist on this machine",
    ];
    for wanted in expected {
        assert!(found.iter().any(|fault| fault.starts_with(wanted)), "missing: {wanted}\nfound: {found:#?}");
    }
}

#[test]
fn names_twice_are_a_fault() {
    assert!(
        about("[inputs.a]\ntype='string'\n[inputs.a]\ntype='double'").iter().any(|f| f.contains("duplicate"))
    );
    let found = about("[inputs.a]\ntype='string'\n[constants]\na = 1");
    assert!(found[0].starts_with("5:1: constant 'a' has the name of the input"), "{found:?}");
}

#[test]
fn inputs_that_are_never_used_are_told() {
    let found =
        about("[inputs.a]\ntype='string'\n[inputs.b]\ntype='complex'\nformats=['a/b']\nfile_name='b.txt'");
    assert_eq!(found, ["2:9: warning: input 'a' is never used in the command"]);
}

#[test]
fn an_option_that_would_be_left_alone_is_told() {
    let found = about(
        "[inputs.a]\ntype='string'\nmin_occurs=0\n[outputs.o]\ntype='string'\nstdout=true\n[command]\nprogram='/bin/sh'\narguments=['-n', '{a}']",
    );
    assert_eq!(
        found,
        [
            "10:18: warning: command: without 'a' only this argument is left out: put it and \"-n\" in an array of their own"
        ]
    );
}

#[test]
fn several_values_need_a_place_of_their_own() {
    let found = about(
        "[inputs.a]\ntype='string'\nmax_occurs='unbounded'\n[inputs.b]\ntype='string'\nmax_occurs=2\n[outputs.o]\ntype='string'\nstdout=true\n[command]\nprogram='/bin/sh'\narguments=['{a}{b}']\nenvironment={A='{a}'}",
    );
    assert_eq!(
        found,
        [
            "13:12: command: 'a' and 'b' may both have several values: they can't share an argument",
            "14:16: command: variable A can hold one value, and 'a' may have several",
        ]
    );
}

#[test]
fn standard_output_is_data_or_lines() {
    let found = about(
        "[outputs.o]\ntype='string'\nstdout=true\n[outputs.p]\ntype='string'\npattern='(x)'\n[[progress]]\ngdal=true",
    );
    assert_eq!(
        found,
        [
            "2:10: output 'o': standard output is data, so progress can't be read from it",
            "5:10: output 'p': standard output is data of output 'o', so no line can be read from it",
        ]
    );
}

#[test]
fn values_have_the_type_of_their_key() {
    let found = about(
        "title = 3\nkeywords = 'a'\nidempotent = 'yes'\n[capacity]\nweight = 'heavy'\nruns = -1\nrequired_labels = ['a b']",
    );
    assert_eq!(
        found,
        [
            "2:9: title must be a string, not 3",
            "3:12: keywords must be an array, not \"a\"",
            "4:14: idempotent must be true or false, not \"yes\"",
            "6:10: capacity: weight must be a number, not \"heavy\"",
            "7:8: capacity: runs must be a whole number or \"unbounded\", not -1",
            "8:20: capacity: required_labels must hold 1 to 64 letters, digits and -_.:/ each, not \"a b\"",
        ]
    );
}

#[test]
fn groups_hold_members_and_know_what_they_need() {
    let size = "[inputs.\"window.size\"]\ntype = \"integer\"\nmin_occurs = 0\n[command]\nprogram = \"/bin/sh\"\narguments = [\"{window.size}\"]";
    let file = |groups: &str| format!("{groups}\n{size}\n[outputs.out]\ntype = \"string\"\nstdout = true");
    let of = |groups: &str| findings(&format!("identifier = \"x\"\n{}", file(groups)));
    assert_eq!(of("[groups.window]\nneeds = [\"window.size\"]"), [""; 0]);
    assert_eq!(
        of("[groups.window]\nneeds = [\"size\"]\n[groups.empty]\ncolour = 1"),
        [
            "3:10: group 'window': needs 'size', which is no input of the group",
            "4:9: group 'empty': is empty: no input or output is called \"empty.…\"",
            "5:1: group 'empty': unknown key 'colour': it may be title, abstract, needs",
        ]
    );
    let text = format!("identifier = \"x\"\n{}", file("[groups.window]\ntitle = \"Window\""));
    let service = check(Path::new("f.toml"), &text).service.unwrap();
    assert_eq!(service.description.groups[0].title, "Window");
}

#[test]
fn steps_say_what_they_lack() {
    let found = about(
        "[inputs.a]\ntype='string'\n[[prepare]]\nto='x'\n[[prepare]]\naction='melt'\nto='../x'\n[[prepare]]\naction='copy'\nto='x'\n[[prepare]]\naction='write_json'\nvalue='{a}'\nname_from=['id']\nto='x'\n[[prepare]]\naction='set_json'\nvalue='{b}'\npath=[]\nto='x'\n[[prepare]]\naction='set_ini'\nvalue='{a}'\nsection='[s]'\nto='x'\nfrom='{run.folder}/../x'",
    );
    let expected = [
        "4:1: prepare 1: action is missing: \"copy\", \"write_json\", \"set_json\" or \"set_ini\"",
        "7:8: prepare 2: action must be \"copy\", \"write_json\", \"set_json\" or \"set_ini\", not \"melt\"",
        "8:4: prepare 2: to \"../x\" must be relative to the run's folder and stay in it",
        "9:1: prepare 3: from is missing: what is copied?",
        "12:1: prepare 4: name_from and {name} in to go together",
        "19:7: prepare 5: {b} names no input, output or constant, did you mean {a}?",
        "20:6: prepare 5: path must be a list of keys and indexes such as [\"Config\", 0]",
        "22:1: prepare 6: option is missing",
        "25:9: prepare 6: section \"[s]\" can't stand in an INI file",
        "27:6: prepare 6: from \"../x\" must be relative to the run's folder and stay in it",
    ];
    for wanted in expected {
        assert!(found.iter().any(|fault| fault.starts_with(wanted)), "missing: {wanted}\nfound: {found:#?}");
    }
}

#[test]
fn keys_that_need_another_are_told() {
    let found = about(
        "[inputs.a]\ntype='string'\ndate_format='%Y'\n[inputs.b]\ntype='dateTime'\ndate_format='%Y%'\n[inputs.c]\ntype='complex'\nformats=['a/b']\ndefault='x'\ndefault_file='/bin/sh'\n[outputs.o]\ntype='string'\nfile='x'\n[command]\nprogram='/bin/sh'\nfolder_link='/tmp/x'\narguments=['{a}','{b}','{c}','{run.idd}']",
    );
    let expected = [
        "4:13: input 'a': date_format is for type dateTime only",
        "7:13: input 'b': date_format \"%Y%\" is no format of dates as of strftime: ",
        "11:9: input 'c': default and default_file exclude each other",
        "18:13: command: folder_link \"/tmp/x\" must hold {run.id}: each run has its own",
        "19:30: command: {run.idd} names no input, output or constant, did you mean {run.id}?",
    ];
    for wanted in expected {
        assert!(found.iter().any(|fault| fault.starts_with(wanted)), "missing: {wanted}\nfound: {found:#?}");
    }
}

#[test]
fn pieces_are_declared_and_checked() {
    let complex = "type = \"complex\"\nformats = [\"text/plain\"]";
    let outputs = format!("[outputs.out]\n{complex}\nglob = \"t/*.txt\"\ncomplete = \"closed\"");
    let chunking = "[chunking]\ninputs = [\"a\"]\noutput = \"out\"\ncut = \"tiles\"";
    let good = format!(
        "identifier = \"x\"\n{chunking}\n[inputs.a]\n{complex}\n{outputs}\n[command]\nprogram = \"/bin/sh\"\narguments = [\"{{a}}\"]"
    );
    assert_eq!(findings(&good), [""; 0]);
    let service = check(Path::new("f.toml"), &good).service.unwrap();
    let declared = service.description.chunking.clone().unwrap();
    assert_eq!((declared.inputs, declared.output.as_str()), (vec!["a".to_owned()], "out"));
    // What is written from it says the same.
    let again = check(Path::new("f.toml"), &crate::to_native(&service)).service.unwrap();
    assert_eq!(again.description, service.description);
    assert!(matches!(
        again.outputs[0].source,
        OutputSource::Glob { complete: crate::service::Complete::Closed, .. }
    ));
    for (part, expected) in [
        ("[chunking]", "chunking: inputs is missing: which of them are cut"),
        (
            "[chunking]\ninputs = [\"b\"]\noutput = \"out\"\ncut = \"tiles\"",
            "chunking: there is no input 'b'",
        ),
        ("[chunking]\ninputs = []\noutput = \"nil\"\ncut = \"tiles\"", "chunking: there is no output 'nil'"),
        (
            "[chunking]\ninputs = [\"a\", \"b\"]\ncut = \"features\"",
            "features of one input can be cut, not of several",
        ),
        ("[chunking]\ncut = \"pieces\"", "cut must be \"features\" or \"tiles\", not \"pieces\""),
        ("[chunking]\noutput = \"out\"", "only complex data can come in pieces, and output 'out' is none"),
        (
            "[outputs.x]\ntype = \"string\"\nfile = \"x\"\ncomplete = \"named\"",
            "complete goes with glob only",
        ),
        (
            "[outputs.x]\ntype = \"string\"\nfile = \"x\"\nrecords = {}",
            "records goes with stdout = true only",
        ),
        ("[outputs.x]\ntype = \"string\"\nstdout = true\nrecords = { max = 0 }", "max must be at least 1"),
        (
            "[outputs.x]\ntype = \"string\"\nstdout = true\nrecords = { max = 1 }",
            "records is for complex data only",
        ),
    ] {
        let told = about(part);
        assert!(told.iter().any(|line| line.contains(expected)), "{told:?} for {expected}");
    }
    let text = good.replace("t/*.txt", "*/x.txt");
    assert!(findings(&text)[0].contains("a pattern without wildcards in its folder"), "{text}");
    assert!(findings(&good.replace("\"closed\"", "\"soon\""))[0].contains("not \"soon\""));
}

#[test]
fn overlap_is_for_tiles_and_standard_input_for_features() {
    let fed = "identifier = \"x\"\n[chunking]\ninputs = [\"a\"]\noutput = \"out\"\ncut = \"features\"\nstdin = \"ndjson\"
[inputs.a]\ntype = \"complex\"\nformats = [\"application/geo+json\"]
[outputs.out]\ntype = \"complex\"\nformats = [\"application/geo+json-seq\"]\nstdout = true\nrecords = {}
[command]\nprogram = \"/bin/cat\"\n";
    let tiles = fed.replace("features", "tiles").replace("stdin = \"ndjson\"", "overlap = 2");
    for (text, overlap, is_fed) in [(fed, 0, true), (tiles.as_str(), 2, false)] {
        let service = check(Path::new("f.toml"), text).service.unwrap();
        let chunking = service.description.chunking.clone().unwrap();
        assert_eq!((chunking.overlap, chunking.is_fed), (overlap, is_fed));
        let again = check(Path::new("f.toml"), &crate::to_native(&service)).service.unwrap();
        assert_eq!(again.description, service.description);
        assert_eq!(again.command.stdin, service.command.stdin);
    }
    assert_eq!(findings(fed), [""; 0], "it is used, though not among the arguments");
    for (text, expected) in [
        (fed.replace("\"ndjson\"", "\"lines\""), "stdin must be \"geojsonseq\" or \"ndjson\", not \"lines\""),
        (fed.replace("features", "tiles"), "stdin goes with features only"),
        (fed.replace("stdin = \"ndjson\"", "overlap = 1"), "overlap goes with tiles only"),
        (tiles.replace("= 2", "= 257"), "overlap must be at most 256 cells"),
        (fed.replace("[\"application/geo+json\"]", "[\"text/csv\"]"), "as GeoJSON: \"text/csv\" is none"),
        (fed.replace("cat\"", "cat\"\narguments = [\"{a}\"]"), "the command can't name its file"),
        (fed.replace("[outputs", "file_name = \"a\"\n[outputs"), "it has neither file_name nor default"),
        (format!("{fed}[slurm]\n"), "a job of a cluster has none"),
    ] {
        let told = findings(&text);
        assert!(told.iter().any(|line| line.contains(expected)), "{told:?} for {expected}");
    }
}
