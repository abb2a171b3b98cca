//! What headers of a request say: `Accept`, `Prefer`, `Range`, `Content-Type` of a form.
#![no_main]
#![allow(dead_code, reason = "the binary uses the rest")]

#[path = "../../crates/server/src/http/form.rs"]
mod form;
#[path = "../../crates/server/src/http/negotiate.rs"]
mod negotiate;
#[path = "../../crates/server/src/http/range.rs"]
mod range;

use axum::http::{HeaderMap, HeaderValue, Method, header};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    if let Ok(text) = value.to_str() {
        anabranch_ogc::ogcapi::prefer::fuzz_header(text);
    }
    let headers = HeaderMap::from_iter([header::ACCEPT, header::RANGE, header::CONTENT_TYPE].map(|name| (name, value.clone())));
    let _form = negotiate::Form::wanted(None, &headers);
    let _encoding = form::Encoding::of(&headers);
    for length in [0, 1, 1000, u64::MAX] {
        if let range::Range::Part(part) = range::Range::asked(&Method::GET, &headers, length) {
            assert!(part.first <= part.last && part.last < length, "{part:?} of {length}");
        }
    }
});
