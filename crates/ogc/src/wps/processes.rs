//! DescribeProcess requests (WPS 1.0.0 §9.2; WPS 2.0, wpsDescribeProcess.xsd).

use super::unexpected;
use crate::ows::{Exception, ExceptionReport};
use crate::xml::Reader;
use anabranch_model::ProcessDescription;
use std::sync::Arc;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribeProcess {
    /// Which processes.
    pub processes: Processes,
    /// As offered by the service; `None` means its default.
    pub language: Option<String>,
}

/// Which processes are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Processes {
    /// Every one.
    All,
    /// These; not empty; as written, perhaps unknown.
    Named(Vec<String>),
}

/// Reads the children of the root; `ows` is the namespace of identifiers.
pub(crate) fn parse(
    reader: &mut Reader<'_>,
    ows: &str,
    language: Option<String>,
) -> Result<DescribeProcess, ExceptionReport> {
    let mut ids = Vec::new();
    while let Some(child) = reader.child()? {
        if !child.is(ows, "Identifier") {
            return Err(unexpected(&child, "DescribeProcess"));
        }
        ids.push(reader.text()?.trim().to_owned());
    }
    Ok(DescribeProcess { processes: Processes::new(ids)?, language })
}

impl Processes {
    /// `ALL` in any case is every one.
    pub(crate) fn new(mut ids: Vec<String>) -> Result<Self, ExceptionReport> {
        ids.retain(|id| !id.is_empty());
        if ids.is_empty() {
            return Err(Exception::missing("identifier").into());
        }
        if ids.iter().any(|id| id.eq_ignore_ascii_case("all")) {
            return Ok(Self::All);
        }
        Ok(Self::Named(ids))
    }

    /// The descriptions in the order asked for, or all identifiers that are unknown.
    pub(crate) fn find(
        &self,
        published: &[Arc<ProcessDescription>],
    ) -> Result<Vec<Arc<ProcessDescription>>, Vec<&str>> {
        let Self::Named(ids) = self else { return Ok(published.to_vec()) };
        let mut picked = Vec::with_capacity(ids.len());
        let mut unknown = Vec::new();
        for id in ids {
            match published.iter().find(|process| process.id.as_str() == id) {
                Some(process) => picked.push(Arc::clone(process)),
                None => unknown.push(id.as_str()),
            }
        }
        if unknown.is_empty() { Ok(picked) } else { Err(unknown) }
    }
}
