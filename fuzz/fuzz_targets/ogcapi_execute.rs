//! Execute requests of OGC API - Processes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| anabranch_ogc::ogcapi::execute::fuzz_execute(data));
