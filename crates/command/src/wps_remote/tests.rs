//! What files of WPS Remote are read as, what is said about them, and that nothing is lost on the way to the native form.

use crate::convert::to_native;
use crate::dialect::check;
use crate::report::Report;
use crate::service::{InputDefault, LineMeaning, OutputSource, RUNS_UNBOUNDED, Service};
use crate::step::{Place, Step};
use crate::template::{Argument, Part, Template};
use anabranch_model::{DataDescription, LiteralType, Occurs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

fn read(path: &Path) -> Report {
    check(path, &std::fs::read_to_string(path).unwrap())
}

fn service(path: &Path) -> Arc<Service> {
    let report = read(path);
    report.service.clone().unwrap_or_else(|| panic!("{report}"))
}

/// Faults and warnings of a text, each as `line: text`.
fn said(text: &str) -> Vec<String> {
    let report = check(Path::new("service.config"), text);
    assert_eq!(report.service.is_some(), report.faults.is_empty(), "{report}");
    let lines = report.to_string();
    lines.lines().map(|line| line.trim_start_matches("service.config:").replacen(":1: ", ": ", 1)).collect()
}

/// A file that is right, with a line of another in its place or at its end.
fn with(change: &str, instead: &str) -> String {
    let base = "[DEFAULT]\nservice = S\nnamespace = default\ndescription = d\nexecutable_cmd = /bin/sh -c\noutput_dir = /tmp/out\nunique_execution_id = %(unique_exe_id)s\nworkdir = %(output_dir)s/%(unique_execution_id)s\nactive = True\nmax_running_time_seconds = 5\n\n[Input1]\nclass = param\nname = a\ntype = string\ndescription = d\n\n[Action1]\nclass = cmdline\ninput_ref = a\ntemplate = --name=value\n\n[Output1]\nname = result1\ntype = string\ndescription = d\nfilepath = %(workdir)s/out.txt\n";
    assert!(change.is_empty() || base.contains(change), "{change}");
    if change.is_empty() { format!("{base}{instead}\n") } else { base.replace(change, instead) }
}

fn text(template: &Template) -> String {
    let parts = template.parts.iter().map(|part| match part {
        Part::Text(text) => text.clone(),
        Part::Placeholder(placeholder) => format!("<{:?} {:?}>", placeholder.owner, placeholder.field),
    });
    parts.collect()
}

fn arguments(service: &Service) -> Vec<String> {
    let words = |argument: &Argument| argument.templates().iter().map(text).collect::<Vec<_>>().join(" ");
    service.command.arguments.iter().map(words).collect()
}

#[test]
fn the_contour_service_is_read_as_it_was_meant() {
    let service = service(&example("contour/service.config"));
    let description = &service.description;
    assert_eq!(
        (description.id.as_str(), description.title.as_str()),
        ("default:GdalContour", "default.GdalContour")
    );
    assert!(service.active);
    let interval = &description.inputs[0];
    assert_eq!((interval.id.as_str(), interval.title.as_str()), ("interval", "Elevation interval"));
    assert_eq!(interval.occurs, Occurs { min: 0, max: Some(1) });
    let DataDescription::Complex(json) = &interval.data else { panic!() };
    assert_eq!(json.formats[0].media_type, "application/json");
    assert_eq!(service.inputs[0].default, Some(InputDefault::Text("200".into())));
    assert!(service.command.program.ends_with("testdata/contour/code/contour.sh"));
    assert_eq!(
        arguments(&service),
        ["-i <Input(\"interval\") Text>", "-w <Run RunFolder>", "-e <Run RunId>"]
    );
    assert_eq!(service.command.folder_link.as_deref(), Some("/tmp/anabranch-contour/{run.id}"));
    assert_eq!(service.command.time_limit.map(|limit| limit.as_secs()), Some(300));
    assert_eq!((service.capacity.runs, service.capacity.weight), (RUNS_UNBOUNDED, 15.0));
    assert!(matches!(&service.outputs[0].source, OutputSource::File(path) if path == "contour.zip"));
    let publication = description.outputs[0].publication.as_ref().unwrap();
    assert!(publication.as_layer);
    assert_eq!(publication.layer_name.as_deref(), Some("contour"));
    assert_eq!(publication.workspace.as_deref(), Some("it.geosolutions"));
    assert!(matches!(&service.outputs[1].source, OutputSource::Layers(outputs) if outputs == &["result1"]));
    let meanings: Vec<_> = service.lines.iter().map(|rule| rule.meaning).collect();
    use LineMeaning::{Abort, Ignore, Message, Progress};
    assert_eq!(meanings, [Ignore, Progress, Message, Message, Abort, Abort]);
}

#[test]
fn every_action_is_read() {
    let service = service(&example("actions/service.config"));
    let words = arguments(&service);
    assert_eq!(words[0], "<Run RunFolder>/shown_<Run RunId>.txt");
    // Action2 comes before Action10, and `name` is replaced in the middle of a word too.
    assert_eq!(words[1], "--file-n=<Input(\"count\") Value>");
    assert_eq!(words[2], "oaaOnDemand");
    assert_eq!(words[3], "-d <Input(\"when\") Value>");
    assert_eq!(words[4], "--many=<Input(\"tokens\") Value>");
    let folder = example("actions");
    let [copy, create, update, constant, ini, list] = service.steps.as_slice() else {
        panic!("{:?}", service.steps)
    };
    let host = |name: &str| Place::Host(folder.join(name));
    assert_eq!(*copy, Step::Copy { from: host("templates/copied.ini"), to: "copied.ini".into() });
    let Step::WriteJson { value, schema, name_from, to } = create else { panic!("{create:?}") };
    assert_eq!(text(value), "<Input(\"asset\") Text>");
    assert_eq!(schema.as_ref().map(|schema| schema.path.clone()), Some(folder.join("asset.schema.json")));
    assert_eq!(name_from.as_ref().unwrap().to_string(), "Asset.id");
    assert_eq!(to, "asset_{name}.json");
    let Step::SetJson { path, from, to, .. } = update else { panic!("{update:?}") };
    assert_eq!(
        (path.to_string().as_str(), from, to.as_str()),
        ("Config.n", &Some(host("templates/cfg.json")), "cfg.json")
    );
    assert!(
        matches!(constant, Step::SetJson { value: crate::step::StepValue::Number(number), .. } if number.as_u64() == Some(7))
    );
    let Step::SetIni { list: false, section, option, .. } = ini else { panic!("{ini:?}") };
    assert_eq!((section.as_str(), option.as_str()), ("S1", "count"));
    assert!(matches!(list, Step::SetIni { list: true, option, .. } if option == "tokens"));
    assert_eq!(service.inputs[1].date_format.as_deref(), Some("%Y-%m-%dT%H:%M:%SZ"));
    assert_eq!(service.description.inputs[3].occurs, Occurs { min: 0, max: Some(10) });
}

#[test]
fn nothing_is_lost_on_the_way_to_the_native_form() {
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("reference-service.toml");
    let files = ["contour/service.config", "actions/service.config", "manual/service.ini"];
    for path in files.iter().map(|name| example(name)).chain([reference]) {
        let original = service(&path);
        let native = to_native(&original);
        let report = check(&path.with_file_name("converted.toml"), &native);
        let converted = report.service.clone().unwrap_or_else(|| panic!("{report}\n{native}"));
        // Regular expressions can be compared by their text only.
        assert_eq!(format!("{converted:#?}"), format!("{original:#?}"), "{native}");
    }
}

/// Numbers that are the same in every run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end.max(1) as u64).unwrap()
    }
}

/// What is put into files that are spoiled.
const SPOILS: [&str; 22] = [
    "[",
    "]",
    "=",
    "%",
    "%(",
    "%(workdir)s",
    "%(unique_exe_id)s",
    "{",
    "}",
    "{{",
    "name",
    "value",
    "\\",
    "\"",
    "'",
    "/",
    "..",
    "\n",
    "\t",
    "ü",
    "-",
    ";",
];

fn spoil(text: &str, numbers: &mut Numbers) -> String {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    for _ in 0..=numbers.below(4) {
        let (at, other) = (numbers.below(lines.len()), numbers.below(lines.len()));
        match numbers.below(4) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[other].clone()),
            2 => lines.swap(at, other),
            _ => {
                let line = &mut lines[at];
                let mut place = numbers.below(line.len() + 1);
                while !line.is_char_boundary(place) {
                    place -= 1;
                }
                line.insert_str(place, SPOILS[numbers.below(SPOILS.len())]);
            }
        }
        if lines.is_empty() {
            break;
        }
    }
    lines.join("\n")
}

#[test]
fn spoiled_files_are_judged_and_what_passes_keeps_its_meaning() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let (mut passed, mut refused) = (0, 0);
    for name in ["contour/service.config", "actions/service.config", "manual/service.ini"] {
        let path = example(name);
        let text = std::fs::read_to_string(&path).unwrap();
        for _ in 0..200 {
            let spoiled = spoil(&text, &mut numbers);
            let report = check(&path, &spoiled);
            let Some(original) = &report.service else {
                assert!(!report.faults.is_empty(), "{spoiled}");
                refused += 1;
                continue;
            };
            passed += 1;
            let native = to_native(original);
            let report = check(&path.with_file_name("converted.toml"), &native);
            let Some(converted) = &report.service else { panic!("{report}\n{native}\n{spoiled}") };
            let (converted, original) = (format!("{converted:#?}"), format!("{original:#?}"));
            let differs = converted.lines().zip(original.lines()).find(|(one, other)| one != other);
            assert_eq!(differs, None, "{native}\n{spoiled}");
            assert_eq!(converted, original);
        }
    }
    assert!(passed > 50 && refused > 50, "{passed} passed, {refused} refused");
}

#[test]
fn a_file_that_is_right_is_passed_in_silence() {
    assert_eq!(said(&with("", "")), [""; 0]);
}

#[test]
fn faults_name_line_section_key_and_value() {
    let cases = [
        ("service = S\n", "servcie = S\n", "1: [DEFAULT]: service is missing (is servcie meant?)"),
        ("namespace = default", "namespace = a b", "2: [DEFAULT]: service: identifier \"a b:S\" may hold"),
        ("executable_cmd = /bin/sh -c\n", "", "1: [DEFAULT]: executable_cmd is missing"),
        (
            "max_running_time_seconds = 5",
            "max_running_time_seconds = soon",
            "10: [DEFAULT]: max_running_time_seconds must be a whole number from 0, not \"soon\"",
        ),
        (
            "%(output_dir)s/",
            "%(outputdir)s/",
            "8: [DEFAULT]: workdir refers to %(outputdir)s, which is neither in [DEFAULT] nor in [DEFAULT], did you mean %(output_dir)s?",
        ),
        ("class = param", "class = parm", "13: [Input1]: class must be param or const, not \"parm\""),
        (
            "type = string\ndescription = d\n\n[Action1]",
            "type = strng\n\n[Action1]",
            "15: [Input1]: type must be int, float, boolean, string, url, datetime or a media type, not \"strng\"",
        ),
        (
            "input_ref = a",
            "input_ref = b",
            "20: [Action1]: input_ref \"b\" is no input or constant of this file, did you mean a?",
        ),
        (
            "template = --name=value",
            "template = -i",
            "21: [Action1]: template \"-i\" holds neither name nor value",
        ),
        (
            "class = cmdline",
            "class = shell",
            "19: [Action1]: class must be cmdline, copyfile, createJSONfile, updateJSONfile, updateINIfile or updateINIfileList, not \"shell\"",
        ),
        (
            "filepath = %(workdir)s/out.txt",
            "filepath = %(workdir)s/../out.txt",
            "27: [Output1]: filepath \"%(workdir)s/../out.txt\" must be relative to the run's folder and stay in it",
        ),
        (
            "",
            "[Output2]\nname = result2\ntype = application/owc\nlayers_to_publish = result9",
            "28: layers_to_publish: \"result9\" is no output of this file",
        ),
        (
            "",
            "[Logging]\nstdout_parser = [(a, b]\nstdout_action = [log]",
            "29: [Logging]: stdout_parser \"(a, b\" is no regular expression: unclosed group",
        ),
        (
            "",
            "[Logging]\nstdout_parser = [a, b]\nstdout_action = [log]",
            "29: [Logging]: stdout_parser has 2 expressions and stdout_action 1 actions",
        ),
        (
            "",
            "[Logging]\nstdout_parser = [a]\nstdout_action = [progress]",
            "29: [Logging]: stdout_parser \"^\\\\s*(?:a)\" needs a group in parentheses: the percentage",
        ),
        (
            "",
            "[Action2]\nclass = updateJSONfile\ninput_ref = a\njson_path_expr = ['a'].pop()\nsource_filepath = /bin/sh\ntarget_filepath = x",
            "31: [Action2]: json_path_expr must be subscripts such as",
        ),
        (
            "",
            "[Action2]\nclass = copyfile\nsource_filepath = /bin/sh\ntarget_filepath = /etc/passwd",
            "31: [Action2]: target_filepath \"/etc/passwd\" must lie in the run's folder: %(workdir)s/…",
        ),
        (
            "",
            "[Const1]\nclass = const\nname = c\ntype = int\nvalue = x",
            "32: [Const1]: value \"x\" is no int",
        ),
    ];
    for (change, instead, wanted) in cases {
        let found = said(&with(change, instead));
        assert!(found.iter().any(|fault| fault.starts_with(wanted)), "missing: {wanted}\nfound: {found:#?}");
    }
}

#[test]
fn likely_mistakes_are_told_and_do_no_harm() {
    let cases = [
        (
            "class = param\n",
            "class = param\ntitel = T\n",
            "14: warning: [Input1]: titel means nothing here, did you mean title?",
        ),
        ("", "[Inptu2]\nx = 1", "28: warning: section [Inptu2] means nothing"),
        (
            "",
            "[Action1]\ntemplate = value",
            "28: warning: section [Action1] comes again: both are one section, and keys given here win",
        ),
        (
            "filepath = %(workdir)s/out.txt",
            "filepath = %(output_dir)s/out.txt",
            "27: warning: [Output1]: filepath \"/tmp/out/out.txt\" lies outside of the run's folder",
        ),
        (
            "executable_cmd = /bin/sh -c",
            "executable_cmd = nowhere 'a b'",
            "5: warning: [DEFAULT]: executable 'nowhere' does not exist on this machine",
        ),
        (
            "unique_execution_id = %(unique_exe_id)s",
            "unique_execution_id = 7",
            "8: warning: [DEFAULT]: workdir is the same for all runs",
        ),
        (
            "active = True",
            "process_weight = estimators.Mine",
            "9: warning: [DEFAULT]: process_weight \"estimators.Mine\" is not",
        ),
        (
            "active = True",
            "load_threshold = 90",
            "9: warning: [DEFAULT]: load_threshold belongs into the agent's configuration",
        ),
    ];
    for (change, instead, wanted) in cases {
        let text = with(change, instead);
        assert!(check(Path::new("service.config"), &text).service.is_some(), "{wanted}");
        let found = said(&text);
        assert!(found.iter().any(|fault| fault.starts_with(wanted)), "missing: {wanted}\nfound: {found:#?}");
    }
}

#[test]
fn types_are_those_of_both_ends() {
    let kind = |declared: &str| {
        let text =
            with("type = string\ndescription = d\n\n[Action1]", &format!("type = {declared}\n\n[Action1]"));
        let report = check(Path::new("service.config"), &text);
        let service = report.service.clone().unwrap_or_else(|| panic!("{report}"));
        let input = &service.description.inputs[0];
        (input.data.clone(), input.occurs.max)
    };
    let literal = |declared: &str| match kind(declared) {
        (DataDescription::Literal(domain), Some(1)) => domain.data_type,
        other => panic!("{declared}: {other:?}"),
    };
    use LiteralType::{AnyUri, Boolean, DateTime, Double, Integer, String};
    let expected = [
        ("int", Integer),
        ("long", Integer),
        ("float", Double),
        ("double", Double),
        ("boolean", Boolean),
        ("string", String),
        ("char", String),
        ("url", AnyUri),
        ("datetime", DateTime),
    ];
    for (declared, data_type) in expected {
        assert_eq!(literal(declared), data_type, "{declared}");
    }
    for (declared, media_type, max) in [
        ("application/json", "application/json", Some(1)),
        ("image/geotiff;stream", "image/geotiff", Some(1)),
        ("text/xml;subtype=gml/3.1.1[]", "text/xml;subtype=gml/3.1.1", None),
        ("complex", "application/octet-stream", Some(1)),
    ] {
        let (DataDescription::Complex(domain), found) = kind(declared) else { panic!("{declared}") };
        assert_eq!((domain.formats[0].media_type.as_str(), found), (media_type, max));
    }
}
