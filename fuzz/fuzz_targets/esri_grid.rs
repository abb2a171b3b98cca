//! Esri ASCII grid, read and written again.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| anabranch_formats::raster::fuzz::fuzz_esri_grid(data));
