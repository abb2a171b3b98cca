//! Pickles of Python, in which WPS Remote carries the inputs of a request.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| anabranch_remote::wire::pickle::fuzz_pickle(data));
