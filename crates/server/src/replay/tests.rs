use super::recording::{By, cut};
use super::*;
use anabranch_formats::playlist::read;
use anabranch_formats::playlist::writer::Form;

fn feature(n: u32, time: u32) -> String {
    format!(
        r#"{{"type":"Feature","properties":{{"n":{n},"t":{time}}},"geometry":{{"type":"Point","coordinates":[{n},1]}}}}"#
    )
}

/// Seven features at the times 0, 0, 1, 1, 2, 2, 3.
fn collection() -> String {
    let features: Vec<_> = (0..7).map(|n| feature(n, n / 2)).collect();
    format!(r#"{{"type":"FeatureCollection","features":[{}]}}"#, features.join(","))
}

fn cut_text(text: &str, by: &By, format: VectorFormat) -> anyhow::Result<Recording> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    std::fs::write(&path, text).unwrap();
    cut(&path, by, format, &|| false)
}

fn replay_of(by: &By, is_loop: bool) -> Replay {
    let recording = cut_text(&collection(), by, VectorFormat::GeoJson).unwrap();
    Replay { recording, rate: 2.0, is_loop, started: Instant::now() }
}

fn sizes(recording: &Recording) -> Vec<u64> {
    recording.chunks().iter().map(|chunk| chunk.features).collect()
}

#[test]
fn features_are_cut_by_number_or_by_property() {
    let by_time = replay_of(&By::Property("t".into()), false);
    assert_eq!(sizes(&by_time.recording), [2, 2, 2, 1]);
    let last = String::from_utf8(by_time.recording.read(3).unwrap().unwrap()).unwrap();
    assert!(last.contains(&feature(6, 3)), "byte for byte: {last}");
    for text in [collection(), (0..7).map(|n| feature(n, 0) + "\n").collect()] {
        let by_count = cut_text(&text, &By::Count(3), VectorFormat::GeoJson).unwrap();
        assert_eq!(sizes(&by_count), [3, 3, 1]);
    }
    let gml = cut_text(&collection(), &By::Count(4), VectorFormat::Gml32).unwrap();
    let first = String::from_utf8(gml.read(0).unwrap().unwrap()).unwrap();
    assert!(first.contains("<gml:") && gml.media_type().starts_with("application/gml+xml"), "{first}");
    let wkt = cut_text("POINT (1 2)\nPOINT (3 4)\n", &By::Count(1), VectorFormat::GeoJson).unwrap();
    assert_eq!(sizes(&wkt), [1, 1]);
}

#[test]
fn what_cannot_be_replayed_says_why() {
    let by = By::Property("speed".into());
    for (text, expected) in [
        (collection().as_str(), "feature 1 (at byte 40): it has no property 'speed'"),
        ("MZ\0\0", "its content is none of GeoJSON,"),
        ("II*\0", "it is image/tiff, and must be one of GeoJSON,"),
        (r#"{"type":"FeatureCollection","features":[]}"#, "it has no features"),
        (r#"{"type":"FeatureCollection","features":[{"type":}]}"#, "byte"),
    ] {
        let error = cut_text(text, &by, VectorFormat::GeoJson).err().unwrap();
        assert!(format!("{error:#}").contains(expected), "{error:#}");
    }
    assert!(parse_rate("0").is_err() && parse_rate("NaN").is_err() && parse_rate("0.5").is_ok());
    assert_eq!(parse_format("kml"), Ok(VectorFormat::Kml));
    assert!(parse_format("text/html").unwrap_err().contains("application/geo+json (GeoJSON)"));
}

#[test]
fn a_chunk_comes_with_its_last_feature() {
    let seconds = Duration::from_secs_f64;
    let once = replay_of(&By::Count(3), false);
    let at = |replay: &Replay, s| replay.published(seconds(s));
    assert_eq!([0.0, 1.4, 1.5, 3.0, 3.4, 3.5, 1e9].map(|s| at(&once, s)), [0, 0, 1, 2, 2, 3, 3]);
    assert!(!once.is_complete(2) && once.is_complete(3));
    let again = replay_of(&By::Count(3), true);
    assert_eq!([3.5, 5.0, 7.0, 350.0].map(|s| at(&again, s)), [3, 4, 6, 300]);
    assert!(!again.is_complete(300));
    assert_eq!([1, 3, 4, 300].map(|seq| again.place(seq)), [0, 2, 0, 2]);
}

#[test]
fn playlists_grow_end_and_slide() {
    let show = |replay: &Replay, published, form| {
        let mut out = Vec::new();
        routes::render(replay, published, form, "http://h:1", &mut out).unwrap();
        read(&out, false).unwrap()
    };
    let once = replay_of(&By::Count(3), false);
    for form in [Form::Plain, Form::M3u8] {
        let open = show(&once, 2, form);
        assert_eq!((open.chunks.len(), open.is_ended), (2, false));
        let whole = show(&once, 3, form);
        assert_eq!(
            (whole.chunks.last().map(String::as_str), whole.is_ended),
            (Some("http://h:1/chunks/3"), true)
        );
    }
    let again = replay_of(&By::Count(3), true);
    let window = show(&again, 1000, Form::M3u8);
    assert_eq!((window.left_out, window.chunks.len(), window.is_ended), (936, 64, false));
    let growing = show(&again, 1000, Form::Plain);
    assert_eq!((growing.chunks.len(), growing.is_ended), (1000, false));
    let full = show(&again, 200_000, Form::Plain);
    assert_eq!((full.chunks.len(), full.is_ended), (100_000, true));
}
