//! Links to folders of runs that are over: what an agent leaves when it is killed.

use crate::service::{RUN_ID_TOKEN, Service};
use anabranch_model::JobId;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Removes the links that runs of these services have left (`folder_link`, WPS Remote's `workdir`), and gives their number. To be called
/// while none of their runs is under way here; `work` is where their folders are.
///
/// What leads to a folder that is there and not below `work` is some other program's, and stays, and so does whatever is not named as runs
/// are.
pub fn remove_stale_links(services: &[Arc<Service>], work: &Path) -> usize {
    let links = services.iter().filter_map(|service| service.command.folder_link.as_deref());
    let mut removed = 0;
    for link in links.flat_map(matching) {
        let Ok(target) = fs::read_link(&link) else { continue };
        if (target.starts_with(work) || !target.exists()) && fs::remove_file(&link).is_ok() {
            tracing::info!(link = %link.display(), "a link to the folder of a run that is over was removed");
            removed += 1;
        }
    }
    removed
}

/// The links of a pattern, whose last part holds the run's identifier.
fn matching(pattern: &str) -> Vec<PathBuf> {
    let path = Path::new(pattern);
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Vec::new();
    };
    let Some((before, after)) = name.split_once(RUN_ID_TOKEN) else { return Vec::new() };
    let is_link = |name: &str| {
        let id = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        id.is_some_and(is_run_id)
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
    links.filter(|entry| entry.file_name().to_str().is_some_and(is_link)).map(|entry| entry.path()).collect()
}

/// A job, `JOB-ATTEMPT`, or `JOB-ATTEMPT.PART`.
fn is_run_id(text: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_attempt = |text: &str| match text.split_once('.') {
        Some((attempt, part)) => is_number(attempt) && is_number(part),
        None => is_number(text),
    };
    text.parse::<JobId>().is_ok()
        || text.rsplit_once('-').is_some_and(|(job, rest)| job.parse::<JobId>().is_ok() && is_attempt(rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_of_runs_that_are_over_go_and_all_else_stays() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        for folder in ["links", "work/old", "elsewhere/live"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        let ids: Vec<String> = (0..5).map(|_| JobId::random().to_string()).collect();
        symlink(at("work/old"), at("links").join(&ids[0])).unwrap();
        symlink(at("gone"), at("links").join(format!("{}-2.7", ids[1]))).unwrap();
        symlink(at("elsewhere/live"), at("links").join(&ids[2])).unwrap();
        symlink(at("gone"), at("links/somebody-s")).unwrap();
        fs::create_dir(at("links").join(&ids[3])).unwrap();
        fs::write(at("links").join(&ids[4]), "a file").unwrap();
        let text = format!(
            "namespace = 'd'\nidentifier = 'S'\ntitle = 'S'\n[outputs.o]\ntitle = 'o'\ntype = 'string'\nstdout = true\n\
             [command]\nprogram = '/bin/true'\nfolder_link = '{}/{{run.id}}'\n",
            at("links").display()
        );
        let report = crate::check(&at("s.toml"), &text);
        let service = report.service.unwrap_or_else(|| panic!("{:?}", report.faults));
        assert_eq!(remove_stale_links(&[service], &at("work")), 2);
        let mut left: Vec<String> = fs::read_dir(at("links"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let mut wanted = vec!["somebody-s".to_owned(), ids[2].clone(), ids[3].clone(), ids[4].clone()];
        wanted.sort();
        assert_eq!(left, wanted);
    }
}
