//! WPS requests as key-value pairs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        anabranch_ogc::detect::fuzz_query(text);
    }
});
