//! Linux.

use std::ffi::OsString;
use std::process::ExitCode;

/// The supervisor of one run: see the crate's documentation. `arguments` are those after [`super::SUPERVISE`].
#[must_use]
pub fn supervise_main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    drop(arguments);
    ExitCode::FAILURE
}
