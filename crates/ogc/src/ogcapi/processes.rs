//! The list of processes (§7.9).

use super::link::{BaseUrl, Link, segment};
use super::query::{Page, fault, whole};
use anabranch_model::{Error, Metadata, ProcessDescription};
use serde::Serialize;
use std::sync::Arc;

/// The list (`processList.yaml`).
#[derive(Clone, Debug, Serialize)]
pub struct ProcessList<'a> {
    /// One page of them.
    pub processes: Vec<ProcessSummary<'a>>,
    /// `self`, `alternate`, `next`, `prev`.
    pub links: Vec<Link>,
}

/// What a list says about a process (`processSummary.yaml`).
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessSummary<'a> {
    /// Identifier.
    pub id: &'a str,
    /// Version of the process.
    pub version: &'a str,
    /// One line for people.
    pub title: &'a str,
    /// In sentences.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub description: &'a str,
    /// Words to find it by.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub keywords: &'a [String],
    /// Links to more about it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metadata: Vec<MetadataLink<'a>>,
    /// How it may be executed.
    pub job_control_options: Vec<&'static str>,
    /// How outputs may be handed over.
    pub output_transmission: [&'static str; 2],
    /// `self`, `alternate`, `execute`.
    pub links: Vec<Link>,
}

/// A link from a description (`metadata.yaml`).
#[derive(Clone, Debug, Serialize)]
pub struct MetadataLink<'a> {
    /// For people.
    pub title: &'a str,
    /// What it means, as a URI.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub role: &'a str,
    /// Where it leads.
    pub href: &'a str,
}

impl<'a> From<&'a Metadata> for MetadataLink<'a> {
    fn from(metadata: &'a Metadata) -> Self {
        Self { title: &metadata.title, role: &metadata.role, href: &metadata.href }
    }
}

/// Makes one page of the list of processes.
///
/// # Errors
/// Where the page's cursor is none of ours.
pub fn list<'a>(
    processes: &'a [Arc<ProcessDescription>],
    page: &Page,
    base: &BaseUrl,
) -> Result<ProcessList<'a>, Error> {
    let from = match page.cursor.as_deref() {
        None => 0,
        Some(cursor) => match whole(cursor) {
            Some(from) => usize::try_from(from).unwrap_or(usize::MAX),
            None => {
                return Err(Error::invalid(fault("cursor", "must come from a link of this server", cursor)));
            }
        },
    };
    let url = |from: usize| format!("?limit={}&cursor={from}", page.limit);
    let own = if page == &Page::default() { String::new() } else { url(from) };
    let mut links = base.own_links("/processes", &own);
    let to = from.saturating_add(page.limit);
    if to < processes.len() {
        links.push(Link::new("next", super::MEDIA_TYPE, base.at(&format!("/processes{}", url(to)))));
    }
    if from > 0 {
        let before = from.saturating_sub(page.limit);
        links.push(Link::new("prev", super::MEDIA_TYPE, base.at(&format!("/processes{}", url(before)))));
    }
    let processes =
        processes.iter().skip(from).take(page.limit).map(|process| summary(process, base)).collect();
    Ok(ProcessList { processes, links })
}

/// What a list says about a process.
#[must_use]
pub fn summary<'a>(process: &'a ProcessDescription, base: &BaseUrl) -> ProcessSummary<'a> {
    let mut links = base.own_links(&format!("/processes/{}", segment(process.id.as_str())), "");
    links.push(
        Link::ogc("execute", super::MEDIA_TYPE, base.execution(&process.id)).titled("executes the process"),
    );
    ProcessSummary {
        id: process.id.as_str(),
        version: &process.version,
        title: &process.title,
        description: &process.description,
        keywords: &process.keywords,
        metadata: process.metadata.iter().map(MetadataLink::from).collect(),
        job_control_options: job_control_options(process),
        output_transmission: ["value", "reference"],
        links,
    }
}

/// `dismiss` goes with asynchronous execution: the job of a synchronous one is known to nobody while it runs.
fn job_control_options(process: &ProcessDescription) -> Vec<&'static str> {
    let mut options = Vec::with_capacity(3);
    if process.sync_execute {
        options.push("sync-execute");
    }
    if process.async_execute {
        options.extend(["async-execute", "dismiss"]);
    }
    options
}
