//! Both sides of a SCRAM login.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| anabranch_xmpp::fuzz_scram(data));
