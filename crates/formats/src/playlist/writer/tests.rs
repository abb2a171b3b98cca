//! Golden documents, and what readers rely on: whatever was once written stays.

use super::*;

const SERVLET: &str = "http://wps.example:8080/wps/RetrieveResultServlet?id=";

fn playlist(form: Form, chunks: &[Chunk], last: &End) -> String {
    let mut out = Vec::new();
    head(form, &mut out).unwrap();
    chunks.iter().for_each(|chunk| entry(form, chunk, &mut out).unwrap());
    end(form, last, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn chunks_of_2012(count: u64) -> Vec<Chunk> {
    let href = |n| format!("{SERVLET}dirplaylist1349368020000_chunk{n}");
    (1..=count).map(|seq| Chunk { seq, href: href(seq), ..Chunk::default() }).collect()
}

#[test]
fn playlists_of_2012_are_the_same_to_the_byte() {
    let failed = End::Failed { report: format!("{SERVLET}playlist1349368020000exception") };
    for (chunks, end, golden) in [
        (0, &End::Open, include_str!("../../../testdata/playlist/01-open-header-only.txt")),
        (2, &End::Open, include_str!("../../../testdata/playlist/02-open-two-chunks.txt")),
        (4, &End::Complete, include_str!("../../../testdata/playlist/03-finished-four-chunks.txt")),
        (2, &failed, include_str!("../../../testdata/playlist/04-failed-after-two.txt")),
        (0, &End::Complete, include_str!("../../../testdata/playlist/05-finished-empty.txt")),
    ] {
        assert_eq!(playlist(Form::Plain, &chunks_of_2012(chunks), end), golden);
    }
}

#[test]
fn m3u8_is_written_as_agreed() {
    let chunk = |seq: u64, run_ms, count, bytes, bbox| Chunk {
        seq,
        href: format!("http://wps.example/jobs/3f/chunks/{seq}.gml"),
        media_type: None,
        count: Some(count),
        bbox: Some(bbox),
        bytes: Some(bytes),
        stored: Some("2026-11-28T12:00:00.5Z".parse().unwrap()),
        run_ms: Some(run_ms),
    };
    let chunks =
        [chunk(1, 420, 2, 612, [3.0, 1.0, 5.0, 5.0]), chunk(2, 4000, 3, 804, [2.0, 0.0, 12.0, 11.5])];
    let golden = include_str!("../../../testdata/playlist/stream.m3u8");
    assert_eq!(playlist(Form::M3u8, &chunks, &End::Complete), golden);
}

/// What QGIS of 2012 does: any line with `#` is a comment, and a blank line ends the reading.
fn read_of_2012(text: &str) -> (Vec<&str>, bool) {
    let lines = text.lines().take_while(|line| !line.is_empty());
    let (comments, chunks): (Vec<_>, Vec<_>) = lines.partition(|line| line.contains('#'));
    (chunks, comments.contains(&END))
}

#[test]
fn a_longer_log_begins_with_the_shorter_one() {
    // Addresses of every shape, made by a small generator, so that each run is the same.
    let mut state = 7_u32;
    let mut next = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % below
    };
    for _ in 0..200 {
        let count = next(12) as usize;
        let mut chunks = Vec::new();
        for seq in 1..=count as u64 {
            let odd =
                ["", "?a=b&c=d", " ", "#x", "\n", "\r\n\n", "\u{e4}\u{2028}", "%23", "\0"][next(9) as usize];
            let bytes = (next(2) == 0).then(|| u64::from(next(1000)));
            let bbox = (next(2) == 0).then_some([-1.5, 0.0, 2.0, f64::from(next(90))]);
            chunks.push(Chunk { seq, href: format!("http://x/{seq}{odd}"), bytes, bbox, ..Chunk::default() });
        }
        let end = match next(3) {
            0 => End::Open,
            1 => End::Complete,
            _ => End::Failed { report: "http://x/e#\n".into() },
        };
        for form in [Form::Plain, Form::M3u8] {
            let whole = playlist(form, &chunks, &end);
            assert!(whole.ends_with('\n') && !whole.contains("\n\n") && !whole.contains('\r'));
            for shorter in 0..=count {
                let open = playlist(form, &chunks[..shorter], &End::Open);
                assert!(whole.starts_with(&open), "{open:?} begins {whole:?}");
            }
            let (read, ended) = read_of_2012(&whole);
            assert_eq!((read.len(), ended), (count, end != End::Open), "{whole:?}");
            let ends = whole.lines().filter(|line| *line == END).count();
            assert_eq!(ends, usize::from(ended));
        }
    }
}

/// What strangers write is read without a panic, and is the same once it is written again.
#[test]
fn what_is_read_from_damaged_playlists_can_be_written_again() {
    let seed = include_bytes!("../../../testdata/playlist/stream.m3u8");
    let mut state = 11_u32;
    let mut next = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    for _ in 0..20_000 {
        let mut text = seed.to_vec();
        for _ in 0..=next(8) {
            let at = next(text.len());
            match next(4) {
                0 => text[at] = u8::try_from(next(256)).unwrap(),
                1 => drop(text.drain(at..(at + next(40)).min(text.len()))),
                2 => text.insert(at, b"\n\r# \xef%:/"[next(8)]),
                _ => text.truncate(at.max(1)),
            }
            text.push(b'\n');
        }
        let Ok(read) = crate::playlist::read(&text, false) else { continue };
        let chunks: Vec<_> = (1..)
            .zip(&read.chunks)
            .map(|(seq, href)| Chunk { seq, href: href.clone(), ..Chunk::default() })
            .collect();
        for form in [Form::Plain, Form::M3u8] {
            let again =
                crate::playlist::read(playlist(form, &chunks, &End::Complete).as_bytes(), false).unwrap();
            assert_eq!((again.chunks.len(), again.is_ended), (chunks.len(), true));
        }
    }
}

#[test]
fn a_window_says_how_many_chunks_it_leaves_out() {
    let mut out = Vec::new();
    window_head(7, &mut out).unwrap();
    chunks_of_2012(9)[7..].iter().for_each(|chunk| entry(Form::M3u8, chunk, &mut out).unwrap());
    let read = crate::playlist::read(&out, false).unwrap();
    assert_eq!((read.left_out, read.chunks.len(), read.is_ended, read.has_header), (7, 2, false, true));
}
