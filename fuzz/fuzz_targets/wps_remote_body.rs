//! Bodies of WPS Remote, as both ends read them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| anabranch_remote::wire::wps_remote::fuzz_wps_remote_body(data));
