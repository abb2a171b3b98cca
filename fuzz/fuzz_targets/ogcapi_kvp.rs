//! Execute requests by GET, to a process with an input of every kind.
#![no_main]

use anabranch_algorithms::Echo;
use anabranch_model::{Process as _, ProcessDescription};
use std::sync::{Arc, LazyLock};

static ECHO: LazyLock<Arc<ProcessDescription>> = LazyLock::new(|| Echo::new().description());

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        anabranch_ogc::ogcapi::kvp::fuzz(text, &ECHO);
    }
});
