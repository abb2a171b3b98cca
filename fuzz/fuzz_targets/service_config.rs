//! Service files of WPS Remote in both forms: they are read without a panic, and what was read keeps its meaning in the native
//! form.
#![no_main]

use anabranch_command::{check, to_native};
use std::path::Path;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some(service) = check(Path::new("/services/fuzz.config"), text).service else { return };
    let native = to_native(&service);
    let report = check(Path::new("/services/fuzz.toml"), &native);
    let Some(converted) = &report.service else { panic!("{report}\n{native}") };
    assert_eq!(format!("{converted:?}"), format!("{service:?}"), "{native}");
});
