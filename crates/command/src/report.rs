//! What is wrong with a service file, and where.

use crate::dialect::Dialect;
use crate::service::Service;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// What reading a service file gave.
#[derive(Clone, Debug)]
pub struct Report {
    /// The file.
    pub path: PathBuf,
    /// What keeps it from being published, in the order of the file.
    pub faults: Vec<Located>,
    /// What is likely a mistake, in the order of the file.
    pub warnings: Vec<Located>,
    /// The service, where there are no faults.
    pub service: Option<Arc<Service>>,
    /// How it is written.
    pub dialect: Dialect,
}

/// A sentence about a place of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The file.
    pub path: PathBuf,
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// What is wrong; names the key and quotes the value.
    pub text: String,
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.path.display(), self.line, self.column, self.text)
    }
}

impl fmt::Display for Report {
    /// One line each: faults, then warnings marked as such.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.faults {
            writeln!(f, "{fault}")?;
        }
        for Located { path, line, column, text } in &self.warnings {
            writeln!(f, "{}:{line}:{column}: warning: {text}", path.display())?;
        }
        Ok(())
    }
}

impl std::error::Error for Report {}

/// Collects faults by byte offset and gives them places at the end.
#[derive(Debug, Default)]
pub struct Findings {
    faults: Vec<(usize, String)>,
    warnings: Vec<(usize, String)>,
}

impl Findings {
    /// Notes a fault at the beginning of a span.
    pub fn fault(&mut self, span: &Range<usize>, text: impl Into<String>) {
        self.faults.push((span.start, text.into()));
    }

    /// Notes a likely mistake at the beginning of a span.
    pub fn warn(&mut self, span: &Range<usize>, text: impl Into<String>) {
        self.warnings.push((span.start, text.into()));
    }

    /// There is a fault.
    #[must_use]
    pub fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    /// Faults and warnings with their places in `source`.
    #[must_use]
    pub fn locate(self, path: &std::path::Path, source: &str) -> (Vec<Located>, Vec<Located>) {
        let place = |mut found: Vec<(usize, String)>| {
            found.sort_by_key(|(offset, _)| *offset);
            found.dedup();
            found.into_iter().map(|(offset, text)| located(path, source, offset, text)).collect()
        };
        (place(self.faults), place(self.warnings))
    }
}

fn located(path: &std::path::Path, source: &str, offset: usize, text: String) -> Located {
    let mut end = offset.min(source.len());
    while !source.is_char_boundary(end) {
        end -= 1;
    }
    let before = &source[..end];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let count = |n: usize| u32::try_from(n + 1).unwrap_or(u32::MAX);
    Located {
        path: path.to_owned(),
        line: count(before.matches('\n').count()),
        column: count(before[line_start..].chars().count()),
        text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let source = "a = 1\nä = \"ü\" x\n";
        let place = |offset| {
            let found = located("f.toml".as_ref(), source, offset, "here".into());
            (found.line, found.column)
        };
        assert_eq!(place(0), (1, 1));
        assert_eq!(place(source.find('x').unwrap()), (2, 9));
        assert_eq!(place(9999), (3, 1));
        // In the middle of a character: its beginning.
        assert_eq!(place(7), (2, 1));
        assert_eq!(
            located("d/f.toml".as_ref(), source, 6, "is bad".into()).to_string(),
            "d/f.toml:2:1: is bad"
        );
    }
}
