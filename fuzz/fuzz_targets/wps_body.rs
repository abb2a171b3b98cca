//! WPS requests as XML.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| anabranch_ogc::detect::fuzz_body(data));
