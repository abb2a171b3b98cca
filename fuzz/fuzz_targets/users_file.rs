//! The users file: what can be read is written again as the same.
#![no_main]

use anabranch_login::Users;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(users) = Users::parse(text) {
        assert!(Users::parse(&users.to_text()).as_ref() == Ok(&users), "it reads its own writing");
    }
});
