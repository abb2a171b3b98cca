//! `anabranch convert`: any service file as a native one.

use crate::cli;
use crate::terminal::{line, note};
use anabranch_command::{check, to_native};
use anyhow::Context as _;

/// Converts a file; true where it is good. What is said about it goes to standard error.
///
/// # Errors
/// Where the file can't be read, or the other one can't be written.
pub(crate) fn convert(arguments: &cli::Convert) -> anyhow::Result<bool> {
    let file = &arguments.file;
    let text = std::fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
    let report = check(file, &text);
    let said = report.to_string();
    if !said.is_empty() {
        note(said.trim_end());
    }
    let Some(service) = report.service else { return Ok(false) };
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let native = format!("# Converted from {name}; its meaning is the same.\n\n{}", to_native(&service));
    match &arguments.output {
        Some(output) => {
            std::fs::write(output, native).with_context(|| format!("can't write {}", output.display()))?;
        }
        None => line(native.trim_end()),
    }
    Ok(true)
}
