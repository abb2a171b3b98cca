//! Query strings of lists: pages, and the filters of the list of jobs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        anabranch_ogc::ogcapi::job::fuzz_query(text);
        let _refused = anabranch_ogc::ogcapi::query::Page::parse(text);
    }
});
