//! One run of an executable.

use crate::process::Settings;
use crate::service::Service;
use anabranch_model::{Error, Execution};

pub(crate) async fn run(
    _service: &Service,
    _settings: &Settings,
    _execution: Execution,
) -> Result<(), Error> {
    Err(Error::process_failed("executables can't be run yet"))
}
