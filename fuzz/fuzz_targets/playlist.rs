//! Playlists and exception reports of others: read without a panic, and what is read is the same once it is written again.
#![no_main]

use anabranch_formats::playlist::reader::fuzz_playlist;
use anabranch_formats::playlist::{Chunk, End, read, writer};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzz_playlist(data);
    let Ok(playlist) = read(data, false) else { return };
    for form in [writer::Form::Plain, writer::Form::M3u8] {
        let mut out = Vec::new();
        writer::head(form, &mut out).unwrap();
        for (seq, href) in (1..).zip(&playlist.chunks) {
            writer::entry(form, &Chunk { seq, href: href.clone(), ..Chunk::default() }, &mut out).unwrap();
        }
        let begun = out.clone();
        writer::end(form, &End::Complete, &mut out).unwrap();
        // Percent-encoded, a line may be longer than it is allowed to be.
        let (Ok(open), Ok(ended)) = (read(&begun, false), read(&out, false)) else { continue };
        assert_eq!((open.chunks.len(), open.is_ended), (playlist.chunks.len(), false));
        assert_eq!((ended.chunks, ended.is_ended), (open.chunks, true));
    }
});
