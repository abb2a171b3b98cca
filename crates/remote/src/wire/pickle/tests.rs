use std::path::PathBuf;

use super::*;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/wps-remote/pickles")
}

fn map(members: Vec<(&str, Pickle)>) -> Pickle {
    Pickle::Map(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn text(text: &str) -> Pickle {
    Pickle::Text(text.into())
}

/// Every pickle under `testdata`, with what Python 2.7 loaded it as.
fn golden() -> Vec<(&'static str, Pickle)> {
    let when = jiff::civil::date(2026, 1, 2).at(3, 4, 5, 678_000_000);
    vec![
        ("bool", map(vec![("a", Pickle::Bool(true)), ("b", Pickle::Bool(false))])),
        ("datetime", map(vec![("when", Pickle::DateTime(when))])),
        ("double", map(vec![("x", Pickle::Float(12.5))])),
        ("empty-map", map(vec![])),
        ("int-16bit", map(vec![("n", Pickle::Int(60_000))])),
        ("int-32bit", map(vec![("n", Pickle::Int(-70_000))])),
        ("int-small", map(vec![("n", Pickle::Int(200))])),
        ("json-text", map(vec![("asset", text(r#"{"Asset": {"id": 3}}"#))])),
        ("list-of-strings", map(vec![("l", Pickle::List(vec![text("a"), text("b"), text("a")]))])),
        ("long-text", map(vec![("n", Pickle::Int(1_099_511_627_776))])),
        ("none", map(vec![("x", Pickle::None)])),
        ("shared-string", map(vec![("a", text("same")), ("b", text("same"))])),
        ("string-ascii", map(vec![("s", text("abc"))])),
        ("string-unicode", map(vec![("s", text("città è 東京"))])),
    ]
}

#[test]
fn pickles_of_geoserver_are_read_and_written_to_the_byte() {
    let mut names: Vec<_> = golden().iter().map(|(name, _)| format!("{name}.pickle")).collect();
    for (name, value) in golden() {
        let bytes = std::fs::read(folder().join(format!("{name}.pickle"))).unwrap();
        assert_eq!(read(&bytes), Ok(value.clone()), "{name}");
        assert_eq!(write(&value), bytes, "{name}");
    }
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut files: Vec<_> = files.map(|name| name.into_string().unwrap()).collect();
    files.retain(|name| name.ends_with(".pickle"));
    files.sort();
    names.sort();
    assert_eq!(files, names, "every file is known");
}

#[test]
fn all_three_protocols_are_read() {
    let wanted = map(vec![
        ("n", Pickle::Int(1)),
        ("l", Pickle::List(vec![text("é"), Pickle::Float(0.5), Pickle::Int(-5), Pickle::Bool(true)])),
    ]);
    // `pickle.dumps` of Python 2.7, protocol 0.
    let zero = b"(dp0\nS'n'\np1\nI1\nsS'l'\np2\n(lp3\nV\xe9\np4\naF0.5\naL-5L\naI01\nas.";
    assert_eq!(read(zero), Ok(wanted.clone()));
    let one = b"}q\x00(U\x01nq\x01K\x01U\x01lq\x02]q\x03(X\x02\x00\x00\x00\xc3\xa9q\x04G?\xe0\x00\x00\x00\x00\x00\x00L-5L\nI01\neu.";
    assert_eq!(read(one), Ok(wanted.clone()));
    let two = b"\x80\x02}q\x00(U\x01nq\x01K\x01U\x01lq\x02]q\x03(X\x02\x00\x00\x00\xc3\xa9q\x04G?\xe0\x00\x00\x00\x00\x00\x00\x8a\x01\xfb\x88eu.";
    assert_eq!(read(two), Ok(wanted));
    assert_eq!(read(b"\x80\x04N."), Err(PickleError::Protocol(4)));
}

#[test]
fn texts_in_lines_may_be_escaped() {
    assert_eq!(
        read(
            br"S'a\'\x62\n'
."
        ),
        Ok(text("a'b\n"))
    );
    assert_eq!(read(b"Vk\\u00f8\\U0001f30d\\n\n."), Ok(text("kø🌍\\n")));
    for wrong in [&b"Sa'\n."[..], b"S'a\\q'\n.", b"S'\\xff'\n.", b"V\\ud800\n.", b"S'"] {
        assert!(matches!(read(wrong), Err(PickleError::Malformed { .. })), "{wrong:?}");
    }
}

#[test]
fn integers_have_64_bits() {
    for number in [i64::MIN, -1, 0, 127, 128, 255, 256, 65_536, i64::from(i32::MAX) + 1, i64::MAX] {
        assert_eq!(read(&write(&Pickle::Int(number))), Ok(Pickle::Int(number)));
    }
    assert_eq!(read(b"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80."), Ok(Pickle::Int(i64::MIN)));
    assert_eq!(read(b"\x8a\x00."), Ok(Pickle::Int(0)));
    let beyond = [
        &b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\x00."[..],
        b"I9223372036854775808\n.",
        b"\x8b\xff\xff\xff\xff.",
    ];
    for pickle in beyond {
        assert!(read(pickle).unwrap_err().to_string().contains("64 bits"), "{pickle:?}");
    }
}

#[test]
fn whatever_does_more_than_build_data_is_refused_by_its_name() {
    let error = |pickle: &[u8]| read(pickle).unwrap_err().to_string();
    assert!(error(b"cos\nsystem\n(S'id'\ntR.").contains("'os.system'"));
    assert!(error(b"\x80\x02c__builtin__\neval\n.").contains("'__builtin__.eval'"));
    assert!(error(b"cdatetime\ntimedelta\n.").contains("'datetime.timedelta'"));
    for (pickle, name) in [
        (&b"(S'id'\nios\nsystem\n."[..], "INST"),
        (b"(o.", "OBJ"),
        (b"}}b.", "BUILD"),
        (b"])\x81.", "NEWOBJ"),
        (b"\x82\x01.", "EXT1"),
        (b"P1\n.", "PERSID"),
        (b"NQ.", "BINPERSID"),
        (b"NN\x93.", "STACK_GLOBAL"),
        (b"\x95\x00\x00\x00\x00\x00\x00\x00\x00.", "FRAME"),
        (b"C\x01a.", "SHORT_BINBYTES"),
        (b"X\x02\x00\x00\x00os)R.", "REDUCE"),
        (b"\xff.", "unknown"),
    ] {
        assert!(error(pickle).contains(&format!("opcode {name} (0x")), "{pickle:?}: {}", error(pickle));
    }
}

#[test]
fn the_two_names_build_dates_and_decimals_only() {
    let date = |arguments: &str| read(format!("cdatetime\ndatetime\n({arguments}tR.").as_bytes());
    let day = jiff::civil::date(2026, 1, 2).at(0, 0, 0, 0);
    assert_eq!(date("I2026\nI1\nI2\n"), Ok(Pickle::DateTime(day)));
    for wrong in
        ["", "I2026\nI13\nI1\n", "S'2026'\nI1\nI1\n", "I2026\nI1\nI1\nI0\nI0\nI0\nI1000000\n", "]I1\nI1\n"]
    {
        assert!(matches!(date(wrong), Err(PickleError::Malformed { .. })), "{wrong:?}");
    }
    assert_eq!(read(b"cdecimal\nDecimal\nU\x041.50\x85R."), Ok(Pickle::Decimal("1.50".into())));
    assert!(read(b"cdecimal\nDecimal\nU\x02ab\x85R.").is_err());
    assert!(read(b"cdecimal\nDecimal\n.").unwrap_err().to_string().contains("no value"));
}

#[test]
fn nesting_is_limited() {
    let nested = |levels: usize| [vec![b']'; levels], vec![b'a'; levels - 1], vec![b'.']].concat();
    assert!(read(&nested(DEPTH_MAX)).is_ok());
    assert_eq!(read(&nested(DEPTH_MAX + 1)), Err(PickleError::TooDeep));
    assert_eq!(read(&nested(20_000)), Err(PickleError::TooDeep));
    assert_eq!(read(b"]q\x00h\x00a."), Err(PickleError::TooDeep), "a list that holds itself");
}

#[test]
fn claimed_lengths_are_not_believed() {
    for pickle in [
        &b"X\xff\xff\xff\xffabc."[..],
        b"T\xff\xff\xff\x7f",
        b"U\xffabc",
        b"\x8b\x05\x00\x00\x00\x01",
        b"M\x01",
    ] {
        assert!(matches!(read(pickle), Err(PickleError::Malformed { .. })), "{pickle:?}");
    }
    let large = vec![b'N'; PICKLE_BYTES_MAX + 1];
    assert_eq!(read(&large), Err(PickleError::TooLarge { bytes: PICKLE_BYTES_MAX + 1 }));
}

#[test]
fn counts_are_limited_in_the_pickle_and_in_what_it_stands_for() {
    let list = |items: &[u8]| [b"](", items, b"e."].concat();
    assert!(read(&list(&vec![b'N'; ITEMS_MAX - 1])).is_ok());
    assert_eq!(read(&list(&vec![b'N'; ITEMS_MAX])), Err(PickleError::TooMany));
    assert_eq!(read(&list(&vec![b'('; 500_000])), Err(PickleError::TooMany));
    // Ten lists of ten of the one before: 10^7 values in 200 bytes.
    let mut bomb = b"]q\x00(NNNNNNNNNNe".to_vec();
    for level in 1..7_u8 {
        bomb.extend([b'0', b']', b'q', level, b'(']);
        bomb.extend([b'h', level - 1].repeat(10));
        bomb.push(b'e');
    }
    bomb.push(b'.');
    assert_eq!(read(&bomb), Err(PickleError::TooMany));
    // One text of 100 kB, ten thousand times.
    let mut bomb = b"](X\xa0\x86\x01\x00".to_vec();
    bomb.extend(vec![b'a'; 100_000]);
    bomb.extend(b"q\x00");
    bomb.extend(b"h\x00".repeat(10_000));
    bomb.extend(b"e.");
    assert_eq!(read(&bomb), Err(PickleError::TooMuchText));
}

#[test]
fn the_memo_is_limited_and_holds_what_was_put_there() {
    let mut bomb = b"N".to_vec();
    for index in 0..=u32::try_from(MEMO_MAX).unwrap() {
        bomb.push(b'r');
        bomb.extend(index.to_le_bytes());
    }
    bomb.push(b'.');
    assert_eq!(read(&bomb), Err(PickleError::Memo));
    assert!(read(b"h\x07.").unwrap_err().to_string().contains("never put there"));
    assert_eq!(read(b"](U\x01aq\x05h\x05e."), Ok(Pickle::List(vec![text("a"), text("a")])));
    assert!(read(b"q\x00.").is_err());
}

#[test]
fn what_is_malformed_is_said_with_its_place() {
    for (pickle, rule) in [
        (&b""[..], "ends too early"),
        (b".", "value is missing"),
        (b"NN.", "more than one value"),
        (b"N.N", "nothing may follow"),
        (b"}(U\x01au.", "key has no value"),
        (b"}(K\x01K\x01u.", "key must be a text"),
        (b"N(Ne.", "must be a list"),
        (b"](NNu.", "must be a map"),
        (b"]Ne.", "mark is missing"),
        (b"I1", "line has no end"),
    ] {
        let error = read(pickle).unwrap_err().to_string();
        assert!(error.contains(rule) && error.contains("at byte"), "{pickle:?}: {error}");
    }
}

#[test]
fn nothing_read_panics() {
    for (_, value) in golden() {
        let pickle = write(&value);
        for cut in 0..pickle.len() {
            fuzz_pickle(&pickle[..cut]);
        }
        for at in 0..pickle.len() {
            for byte in 0..=255 {
                let mut changed = pickle.clone();
                changed[at] = byte;
                fuzz_pickle(&changed);
            }
        }
    }
}
