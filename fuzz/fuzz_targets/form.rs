//! HTML forms, in both ways of writing them.
#![no_main]

#[allow(dead_code, reason = "the binary uses the rest")]
#[path = "../../crates/server/src/http/form.rs"]
mod form;

use form::Encoding;
use futures_util::FutureExt as _;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for encoding in [Encoding::UrlEncoded, Encoding::Multipart { boundary: "b".into() }] {
        // The body is there as a whole, so that nothing has to be waited for.
        let fields = encoding.parse(bytes::Bytes::copy_from_slice(data)).now_or_never();
        assert!(fields.is_some(), "a whole body keeps its reader waiting");
    }
});
