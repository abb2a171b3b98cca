//! A data folder as a whole: `anabranch check --store`, `anabranch backup`, `anabranch restore`.

use crate::cli;
use crate::terminal::line;
use anabranch_engine::{Copied, StoreReport, back_up, check_store, repair_store, restore};
use std::path::Path;

/// Looks whether database and files agree; true where they do. With `repair`, what belongs to no job is removed.
///
/// # Errors
/// Where there is no store, or it can't be read; with `repair` also where a server runs.
pub(crate) fn check(data: &Path, repair: bool) -> anyhow::Result<bool> {
    let report = if repair { repair_store(data)? } else { check_store(data)? };
    let is_left =
        |report: &StoreReport| report.findings.iter().any(|finding| !(repair && finding.is_orphan()));
    for finding in &report.findings {
        let removed = if repair && finding.is_orphan() { " (removed)" } else { "" };
        line(format_args!("{}: {finding}{removed}", data.display()));
    }
    let StoreReport { in_use, jobs, files, findings } = &report;
    let state = if *in_use { ", in use by a server" } else { "" };
    let verdict =
        if findings.is_empty() { "good".to_owned() } else { format!("{} findings", findings.len()) };
    line(format_args!("{}: {verdict}, {jobs} jobs, {files} files{state}", data.display()));
    Ok(!is_left(&report))
}

/// Copies the data folder, also of a server that runs.
///
/// # Errors
/// Where it can't be read, or the copy can't be written.
pub(crate) fn backup(arguments: &cli::Backup) -> anyhow::Result<()> {
    let copied = back_up(&arguments.data.folder(), &arguments.to)?;
    tell(&copied, &arguments.to);
    Ok(())
}

/// Makes a data folder of a backup.
///
/// # Errors
/// Where the backup can't be read, or the folder is not empty.
pub(crate) fn restore_backup(arguments: &cli::Restore) -> anyhow::Result<()> {
    let folder = arguments.data.folder();
    let copied = restore(&arguments.from, &folder)?;
    tell(&copied, &folder);
    Ok(())
}

fn tell(copied: &Copied, to: &Path) {
    let Copied { jobs, files, removed, damaged } = copied;
    line(format_args!("{}: {jobs} jobs, {files} files", to.display()));
    if *removed > 0 {
        line(format_args!("{removed} jobs were removed while they were copied, and are left out"));
    }
    for job in damaged {
        line(format_args!(
            "warning: job {job} lacks a file in the store itself: see anabranch check --store"
        ));
    }
}
