//! What a stranger sends to the XMPP server.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| anabranch_xmpp::fuzz_parse_stream(data));
