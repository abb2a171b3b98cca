//! For fuzzing and tests: any request may be refused, none may panic, and a document means the same whether its payloads are held or
//! spooled.

use super::{WpsRequest, body, query, stream};
use crate::ows::ExceptionReport;
use crate::service::ServiceInfo;
use crate::spool::{InMemory, Spooling, is_base64};
use crate::xml::{decode_base64, expanded};
use anabranch_model::{Data, ExecuteRequest, InputData, InputItem, TextForm};
use std::io::BufReader;

#[doc(hidden)]
pub fn fuzz_query(text: &str) {
    let _refused = query(text, &ServiceInfo::default());
}

#[doc(hidden)]
pub fn fuzz_body(bytes: &[u8]) {
    let service = ServiceInfo::default();
    let held = body(bytes, &service);
    for (from_bytes, block_bytes) in [(0, 1), (3, 7), (100, 1000)] {
        let spooling = Spooling { to: &mut InMemory, from_bytes, held_bytes_max: u64::MAX };
        let mut input = BufReader::with_capacity(block_bytes, bytes);
        let spooled = stream(&mut input, &service, spooling);
        assert!(is_same(&held, &spooled), "{held:?} becomes {spooled:?} where it is spooled");
    }
}

type Parsed = Result<WpsRequest, ExceptionReport>;

fn is_same(held: &Parsed, spooled: &Parsed) -> bool {
    match (held, spooled) {
        (Ok(held), Ok(spooled)) => match (execute(held), execute(spooled)) {
            (Some(held), Some(spooled)) => is_same_request(held, spooled),
            _ => held == spooled,
        },
        // Base64 that is held is decoded by binding, which then finds the same fault.
        (Ok(held), Err(report)) => {
            is_about_base64(report) && execute(held).is_some_and(|held| held.inputs.iter().any(is_broken))
        }
        (Err(held), Err(spooled)) => is_same_refusal(held, spooled) || is_about_base64(spooled),
        (Err(_), Ok(_)) => false,
    }
}

/// Of several faults in one place either may be named: which is seen first depends on the pieces in which a document arrives.
fn is_same_refusal(held: &ExceptionReport, spooled: &ExceptionReport) -> bool {
    let kinds = |report: &ExceptionReport| {
        let kinds = report.exceptions.iter().map(|exception| (exception.code, exception.locator.clone()));
        (report.status, report.version, kinds.collect::<Vec<_>>())
    };
    kinds(held) == kinds(spooled)
}

fn execute(request: &WpsRequest) -> Option<&ExecuteRequest> {
    match request {
        WpsRequest::V1_0(crate::wps_1_0::Request::Execute(execute)) => Some(&execute.request),
        WpsRequest::V2_0(crate::wps_2_0::Request::Execute(request)) => Some(request),
        WpsRequest::V1_0(_) | WpsRequest::V2_0(_) => None,
    }
}

fn is_about_base64(report: &ExceptionReport) -> bool {
    report.exceptions.iter().any(|exception| exception.text.contains("must be base64"))
}

fn is_broken(item: &InputItem) -> bool {
    match &item.data {
        InputData::Text { text, form } if is_base64(&item.format) => {
            *form == TextForm::Xml || decode_base64(text).is_err()
        }
        _ => false,
    }
}

fn is_same_request(held: &ExecuteRequest, spooled: &ExecuteRequest) -> bool {
    let mut other = spooled.clone();
    for (item, other) in held.inputs.iter().zip(&mut other.inputs) {
        if let InputData::Bytes(Data::Bytes(bytes)) = &other.data
            && is_same_data(item, bytes)
        {
            other.data = item.data.clone();
        }
    }
    *held == other
}

fn is_same_data(held: &InputItem, spooled: &[u8]) -> bool {
    let InputData::Text { text, form } = &held.data else { return false };
    match form {
        // The spooled one may declare prefixes that it does not use.
        TextForm::Xml => {
            std::str::from_utf8(spooled).is_ok_and(|spooled| expanded(text) == expanded(spooled))
        }
        _ if is_base64(&held.format) => decode_base64(text).is_ok_and(|bytes| bytes == spooled),
        _ => text.as_bytes() == spooled,
    }
}
