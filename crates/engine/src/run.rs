use anabranch_model::Error;
use std::any::Any;

/// The error of a run that panicked; the payload is for the log.
pub(crate) fn panicked(payload: &(dyn Any + Send)) -> Error {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    Error::internal(format!("the process panicked: {}", text.unwrap_or("without a text")))
}
