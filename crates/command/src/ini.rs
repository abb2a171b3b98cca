//! The INI dialect of WPS Remote: that of Python 2's `ConfigParser`.
//!
//! A reader of our own, because none of the crates keeps all that is needed here: places of keys for faults, repeated
//! sections, continuation lines and interpolation with this dialect's rules.
//!
//! ```text
//! file     = { comment | blank | header | entry }
//! header   = "[" name "]"                            at the beginning of a line
//! entry    = key ("=" | ":") value { continuation }  continuation: an indented line
//! comment  = ("#" | ";") …                           a line of its own; behind a value only " ;"
//! value    = … "%(" key ")s" …                       the value of another key of the section, or of [DEFAULT]
//! ```
//!
//! `%%` becomes `%` in values that refer to others, and only in those. Sections that come again are merged and later keys
//! win, as in the original; [`parse`] warns of both.

use crate::report::Findings;
use crate::units;
use std::ops::Range;

/// The section whose keys stand in for those that another section lacks.
pub const DEFAULT: &str = "DEFAULT";

/// Most entries of a file: the longest known has about a hundred.
const ENTRIES_MAX: usize = 2_000;

/// How often what was put in may refer to others in its turn: the limit of the original, which ends circles.
const INTERPOLATION_DEPTH_MAX: usize = 10;

/// Longest value with all that it refers to, in bytes: half of what an argument may have, and far below what doubling ten
/// times could give.
const VALUE_BYTES_MAX: usize = 64 << 10;

/// A file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ini {
    /// In the order of the file, each name once.
    pub sections: Vec<Section>,
}

/// A section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Without its brackets.
    pub name: String,
    /// Where its header stands.
    pub span: Range<usize>,
    /// In the order of the file, each key once.
    pub entries: Vec<Entry>,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// As written, with a line feed before each continuation.
    pub value: String,
    /// Where the key stands.
    pub span: Range<usize>,
}

/// Whether keys that differ in the case of their letters are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// `service.config`.
    CaseSensitive,
    /// `remote.config`: kept in lower case.
    LowerCase,
}

/// Reads a file. What can't be read is reported and left out.
pub fn parse(findings: &mut Findings, text: &str, keys: Keys) -> Ini {
    let mut reader = Reader { ini: Ini::default(), section: None, open: None, entries: 0, keys };
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let span = start..start + line.trim_end_matches(['\n', '\r']).len();
        start += line.len();
        if reader.entries > ENTRIES_MAX {
            findings.fault(&span, format!("there are more than the {ENTRIES_MAX} entries allowed"));
            break;
        }
        reader.line(findings, &text[span.clone()], span.start);
    }
    reader.ini
}

struct Reader {
    ini: Ini,
    /// The section that is being read.
    section: Option<usize>,
    /// The entry that an indented line continues.
    open: Option<usize>,
    entries: usize,
    keys: Keys,
}

impl Reader {
    fn line(&mut self, findings: &mut Findings, line: &str, start: usize) {
        let line = line.strip_prefix('\u{feff}').filter(|_| start == 0).unwrap_or(line);
        let trimmed = line.trim();
        let place = start..start + line.len();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            return;
        }
        if trimmed.contains(|c: char| c.is_control() && c != '\t') {
            findings.fault(&place, "control characters are not allowed");
            return;
        }
        if line.starts_with([' ', '\t']) {
            match self.open_entry() {
                Some(entry) => {
                    entry.value.push('\n');
                    entry.value.push_str(without_comment(trimmed));
                }
                None => {
                    findings.fault(&place, "an indented line continues a value, and there is none before it")
                }
            }
            return;
        }
        self.open = None;
        if let Some(rest) = trimmed.strip_prefix('[') {
            match rest.split_once(']') {
                Some((name, _)) if !name.is_empty() => self.header(findings, name, place),
                _ => findings.fault(&place, "a section's name stands between [ and ]"),
            }
            return;
        }
        let Some(at) = line.find(['=', ':']).filter(|at| *at > 0) else {
            findings.fault(&place, format!("{trimmed:?} is no entry: key = value"));
            return;
        };
        let key = line[..at].trim_end();
        let span = start..start + key.len();
        let value = match without_comment(line[at + 1..].trim()) {
            "\"\"" => "",
            value => value,
        };
        self.entry(findings, key, value, span);
    }

    fn open_entry(&mut self) -> Option<&mut Entry> {
        self.ini.sections.get_mut(self.section?)?.entries.get_mut(self.open?)
    }

    fn header(&mut self, findings: &mut Findings, name: &str, span: Range<usize>) {
        let known = self.ini.sections.iter().position(|section| section.name == name);
        self.section = Some(known.unwrap_or(self.ini.sections.len()));
        if known.is_some() {
            let text = format!("section [{name}] comes again: both are one section, and keys given here win");
            findings.warn(&span, text);
        } else {
            self.ini.sections.push(Section { name: name.to_owned(), span, entries: Vec::new() });
        }
    }

    fn entry(&mut self, findings: &mut Findings, key: &str, value: &str, span: Range<usize>) {
        let Some(section) = self.section.and_then(|index| self.ini.sections.get_mut(index)) else {
            findings.fault(&span, format!("{key} stands before the first section"));
            return;
        };
        self.entries += 1;
        let key = match self.keys {
            Keys::CaseSensitive => key.to_owned(),
            Keys::LowerCase => key.to_lowercase(),
        };
        let entry = Entry { key, value: value.to_owned(), span };
        match section.entries.iter().position(|known| known.key == entry.key) {
            Some(at) => {
                if section.entries[at].value != entry.value {
                    let text = format!(
                        "section [{}]: {} = {:?} replaces {:?}",
                        section.name, entry.key, entry.value, section.entries[at].value
                    );
                    findings.warn(&entry.span, text);
                }
                section.entries[at] = entry;
                self.open = Some(at);
            }
            None => {
                section.entries.push(entry);
                self.open = Some(section.entries.len() - 1);
            }
        }
    }
}

/// A comment behind a value begins with a semicolon behind white space.
fn without_comment(value: &str) -> &str {
    match value.find(';') {
        Some(at) if at == 0 || value[..at].ends_with([' ', '\t']) => value[..at].trim_end(),
        _ => value,
    }
}

impl Section {
    /// The entry of that key.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// It has that key.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }
}

impl Ini {
    /// The section of that name.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// The value of an entry with all that it refers to. `injected` are keys that stand for what only a run knows.
    ///
    /// # Errors
    /// Names the reference: unknown, unfinished, circular, or too long a value.
    pub fn interpolate(
        &self,
        section: &Section,
        entry: &Entry,
        injected: &[(&str, &str)],
    ) -> Result<String, String> {
        let mut value = entry.value.clone();
        for _ in 0..INTERPOLATION_DEPTH_MAX {
            if !value.contains("%(") {
                return Ok(value);
            }
            value = self.substitute(section, &value, injected)?;
        }
        if value.contains("%(") {
            return Err(format!("refers to others more than {INTERPOLATION_DEPTH_MAX} deep, or in a circle"));
        }
        Ok(value)
    }

    fn substitute(
        &self,
        section: &Section,
        value: &str,
        injected: &[(&str, &str)],
    ) -> Result<String, String> {
        let (mut whole, mut rest) = (String::new(), value);
        while let Some(at) = rest.find('%') {
            whole.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                whole.push('%');
                rest = after;
            } else if let Some(reference) = rest.strip_prefix('(') {
                let Some((key, after)) = reference.split_once(")s") else {
                    return Err("has a reference that is not %(key)s (a percent sign itself is %%)".into());
                };
                whole.push_str(self.referred(section, key, injected)?);
                rest = after;
            } else {
                whole.push('%');
            }
            if whole.len() > VALUE_BYTES_MAX {
                return Err(format!("is longer than {VALUE_BYTES_MAX} bytes with what it refers to"));
            }
        }
        whole.push_str(rest);
        Ok(whole)
    }

    fn referred<'a>(
        &'a self,
        section: &'a Section,
        key: &str,
        injected: &[(&'a str, &'a str)],
    ) -> Result<&'a str, String> {
        let defaults = self.section(DEFAULT);
        let entries = || section.entries.iter().chain(defaults.iter().flat_map(|section| &section.entries));
        let own = entries().find(|entry| entry.key == key).map(|entry| entry.value.as_str());
        let found = own.or_else(|| injected.iter().find(|(known, _)| *known == key).map(|(_, value)| *value));
        found.ok_or_else(|| {
            let known = entries().map(|entry| entry.key.as_str()).chain(injected.iter().map(|(key, _)| *key));
            let hint = match units::nearest(key, known) {
                Some(near) => format!(", did you mean %({near})s?"),
                None => String::new(),
            };
            format!("refers to %({key})s, which is neither in [{}] nor in [{DEFAULT}]{hint}", section.name)
        })
    }
}

/// `[a, b, c]`. Commas within parentheses, brackets and braces belong to their item: items may be regular expressions, which the
/// original breaks there.
pub(crate) fn list(value: &str) -> Result<Vec<String>, String> {
    let inside = value
        .trim()
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .ok_or_else(|| format!("must be a list such as [a, b], not {value:?}"))?;
    let (mut items, mut item, mut depth, mut escaped) = (Vec::new(), String::new(), 0_usize, false);
    for c in inside.chars() {
        if c == ',' && depth == 0 && !escaped {
            items.push(std::mem::take(&mut item));
            continue;
        }
        if !escaped {
            match c {
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        escaped = c == '\\' && !escaped;
        item.push(c);
    }
    items.push(item);
    let items: Vec<String> = items.into_iter().map(|item| item.trim().to_owned()).collect();
    if items.iter().all(String::is_empty) { Ok(Vec::new()) } else { Ok(items) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn read(text: &str) -> (Ini, Vec<String>) {
        let mut findings = Findings::default();
        let ini = parse(&mut findings, text, Keys::CaseSensitive);
        let (faults, warnings) = findings.locate(Path::new("f"), text);
        (ini, faults.iter().chain(&warnings).map(ToString::to_string).collect())
    }

    fn value(text: &str, section: &str, key: &str) -> Result<String, String> {
        let (ini, _) = read(text);
        let section = ini.section(section).unwrap();
        let entry = section.entry(key).unwrap();
        ini.interpolate(section, entry, &[("unique_exe_id", "ID")])
    }

    #[test]
    fn entries_have_two_signs_comments_and_continuations() {
        let text = "# c\n[A b]\nk = v ; note\nl: a;b\n  more\n\n  and = more\n; c\nempty =\nquoted = \"\"\n";
        let (ini, said) = read(text);
        assert_eq!(said, [""; 0]);
        let entries: Vec<_> =
            ini.sections[0].entries.iter().map(|entry| (entry.key.as_str(), entry.value.as_str())).collect();
        let expected = [("k", "v"), ("l", "a;b\nmore\nand = more"), ("empty", ""), ("quoted", "")];
        assert_eq!(entries, expected);
    }

    #[test]
    fn sections_that_come_again_are_merged_and_that_is_told() {
        let (ini, said) = read("[A]\nx = 1\ny = 2\n[B]\n[A]\nx = 3\n");
        assert_eq!(ini.sections.len(), 2);
        let values: Vec<_> = ini.sections[0].entries.iter().map(|entry| entry.value.as_str()).collect();
        assert_eq!(values, ["3", "2"]);
        assert_eq!(
            said,
            [
                "f:5:1: section [A] comes again: both are one section, and keys given here win",
                "f:6:1: section [A]: x = \"3\" replaces \"1\"",
            ]
        );
    }

    #[test]
    fn what_is_no_entry_is_told_with_its_line() {
        let (_, said) = read("a = 1\n  b\n[x\n[]\n[s]\nword\n= v\n");
        assert_eq!(
            said,
            [
                "f:1:1: a stands before the first section",
                "f:2:1: an indented line continues a value, and there is none before it",
                "f:3:1: a section's name stands between [ and ]",
                "f:4:1: a section's name stands between [ and ]",
                "f:6:1: \"word\" is no entry: key = value",
                "f:7:1: \"= v\" is no entry: key = value",
            ]
        );
    }

    #[test]
    fn values_refer_to_the_section_then_to_default_then_to_the_run() {
        let text = "[DEFAULT]\nroot = /a\nid = %(unique_exe_id)s\ndir = %(root)s/%(id)s\n[S]\nroot = /b\nx = %(dir)s/100%%\ny = 100%% %d\n";
        assert_eq!(value(text, "S", "x").unwrap(), "/b/ID/100%");
        assert_eq!(value(text, "DEFAULT", "dir").unwrap(), "/a/ID");
        assert_eq!(value(text, "S", "y").unwrap(), "100%% %d", "nothing is referred to: left as it is");
    }

    #[test]
    fn references_that_lead_nowhere_are_told() {
        let fault = |value_text: &str| {
            let text = format!("[DEFAULT]\noutput_dir = /o\n[S]\na = %(b)s\nb = %(a)s\nx = {value_text}\n");
            value(&text, "S", "x").unwrap_err()
        };
        assert_eq!(
            fault("%(outputdir)s"),
            "refers to %(outputdir)s, which is neither in [S] nor in [DEFAULT], did you mean %(output_dir)s?"
        );
        assert_eq!(
            fault("%(output_dir)"),
            "has a reference that is not %(key)s (a percent sign itself is %%)"
        );
        assert_eq!(fault("%(a)s"), "refers to others more than 10 deep, or in a circle");
    }

    #[test]
    fn doubling_references_stay_small() {
        let mut text =
            "[S]\nk0 = 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n".to_owned();
        for n in 1..10 {
            let twice = format!("%(k{})s", n - 1).repeat(10);
            text.push_str(&format!("k{n} = {twice}\n"));
        }
        assert!(value(&text, "S", "k9").unwrap_err().starts_with("is longer than 65536 bytes"));
    }

    #[test]
    fn lists_keep_the_commas_of_regular_expressions() {
        assert_eq!(list("[ignore,  log]").unwrap(), ["ignore", "log"]);
        assert_eq!(
            list(r"[a{1,3}, (b,c)[,], \[x\](.*), \(]").unwrap(),
            ["a{1,3}", "(b,c)[,]", r"\[x\](.*)", r"\("]
        );
        assert_eq!(list("[]").unwrap(), [""; 0]);
        assert!(list("a, b").is_err());
    }
}
