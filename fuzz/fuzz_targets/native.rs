//! The native wire form between server and agent.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| anabranch_remote::wire::fuzz_native(data));
