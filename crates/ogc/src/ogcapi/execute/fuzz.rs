//! For fuzzing and tests: any bytes may be refused, none may panic, and a request means the same whether its values are held or spooled.

use super::{Execute, parse, stream};
use crate::ogcapi::Prefer;
use crate::spool::{InMemory, Spooling, is_base64};
use crate::xml::decode_base64;
use anabranch_model::{
    BoundingBoxDomain, ComplexDomain, Data, DataDescription, Error, Format, InputData, InputDescription,
    InputItem, Occurs, ProcessDescription, ProcessId, TextForm,
};
use std::io::BufReader;

#[doc(hidden)]
pub fn fuzz_execute(body: &[u8]) {
    let Ok(id) = ProcessId::new("fuzz") else { return };
    let many = Occurs { min: 0, max: None };
    let complex = || {
        DataDescription::Complex(ComplexDomain {
            formats: vec![Format::new("application/json")],
            bytes_max: None,
        })
    };
    let bounding_box = DataDescription::BoundingBox(BoundingBoxDomain { crs: vec!["CRS84".into()] });
    let process = ProcessDescription {
        title: String::new(),
        version: String::new(),
        inputs: vec![
            input("box", many, bounding_box),
            input("one", Occurs::ONE, complex()),
            input("many", many, complex()),
        ],
        outputs: Vec::new(),
        idempotent: true,
        ..ProcessDescription::new(id)
    };
    let prefer = Prefer::default();
    let held = parse(body, &process, &prefer);
    for (from_bytes, block_bytes) in [(0, 1), (3, 7), (50, 1000)] {
        let spooling = Spooling { to: &mut InMemory, from_bytes, held_bytes_max: u64::MAX };
        let mut input = BufReader::with_capacity(block_bytes, body);
        let spooled = stream(&mut input, &process, &prefer, spooling);
        assert!(is_same(&held, &spooled), "{held:?} becomes {spooled:?} where it is spooled");
    }
}

fn input(id: &str, occurs: Occurs, data: DataDescription) -> InputDescription {
    InputDescription::new(id, occurs, data)
}

fn is_same(held: &Result<Execute, Error>, spooled: &Result<Execute, Error>) -> bool {
    match (held, spooled) {
        (Ok(held), Ok(spooled)) => {
            let mut other = spooled.clone();
            for (item, other) in held.request.inputs.iter().zip(&mut other.request.inputs) {
                if let InputData::Bytes(Data::Bytes(bytes)) = &other.data
                    && is_same_data(item, bytes)
                {
                    other.data = item.data.clone();
                }
            }
            *held == other
        }
        // Base64 that is held is decoded by binding, which then finds the same fault.
        (Ok(held), Err(error)) => {
            error.to_string().contains("must be base64") && held.request.inputs.iter().any(is_broken)
        }
        // Which fault is found first depends on what is looked at first.
        (Err(_), Err(_)) => true,
        (Err(_), Ok(_)) => false,
    }
}

fn is_broken(item: &InputItem) -> bool {
    match &item.data {
        InputData::Text { text, form } if is_base64(&item.format) => {
            *form == TextForm::Json || decode_base64(text).is_err()
        }
        _ => false,
    }
}

fn is_same_data(held: &InputItem, spooled: &[u8]) -> bool {
    match &held.data {
        InputData::Text { text, form: TextForm::JsonString } if is_base64(&held.format) => {
            decode_base64(text).is_ok_and(|bytes| bytes == spooled)
        }
        InputData::Text { text, .. } => text.as_bytes() == spooled,
        _ => false,
    }
}
