//! Service files.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        let _report = anabranch_command::check(std::path::Path::new("/services/fuzz.toml"), text);
    }
});
