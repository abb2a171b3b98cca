//! GeoJSON, cut into features and read in one pass.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| anabranch_formats::fuzz_geojson(data));
