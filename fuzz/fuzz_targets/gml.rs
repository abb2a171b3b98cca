//! GML, read and written again.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| anabranch_formats::vector::fuzz::fuzz_gml(data));
