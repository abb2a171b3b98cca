//! Reading a table key by key: every fault is noted with its place, reading goes on.

pub(super) use crate::draft::At;
use crate::report::Findings;
use crate::units;
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A table that is being read: it knows which keys were asked for, and reports the others at the end.
pub(super) struct Section<'t> {
    /// How faults name it: `input 'interval'`.
    pub(super) label: String,
    /// Where it stands; for faults about what is missing in it.
    pub(super) span: Range<usize>,
    table: &'t DeTable<'t>,
    known: Vec<&'static str>,
}

type Entry<'t> = (At<&'t str>, &'t Spanned<DeValue<'t>>);

impl<'t> Section<'t> {
    pub(super) fn new(label: impl Into<String>, span: Range<usize>, table: &'t DeTable<'t>) -> Self {
        Self { label: label.into(), span, table, known: Vec::new() }
    }

    /// Notes a fault of this section.
    pub(super) fn fault(&self, findings: &mut Findings, span: &Range<usize>, text: impl AsRef<str>) {
        findings.fault(span, self.labelled(text.as_ref()));
    }

    /// Notes a likely mistake of this section.
    pub(super) fn warn(&self, findings: &mut Findings, span: &Range<usize>, text: impl AsRef<str>) {
        findings.warn(span, self.labelled(text.as_ref()));
    }

    fn labelled(&self, text: &str) -> String {
        if self.label.is_empty() { text.to_owned() } else { format!("{}: {text}", self.label) }
    }

    /// The key is one of this section, even where nobody reads it.
    pub(super) fn known(&mut self, key: &'static str) {
        self.known.push(key);
    }

    /// The key is there, with whatever value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    pub(super) fn value(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.known.push(key);
        self.table.get(key)
    }

    fn wrong_type(&self, findings: &mut Findings, key: &str, wanted: &str, value: &Spanned<DeValue<'_>>) {
        let text = format!("{key} must be {wanted}, not {}", described(value.get_ref()));
        self.fault(findings, &value.span(), text);
    }

    fn typed<T>(
        &mut self,
        findings: &mut Findings,
        key: &'static str,
        wanted: &str,
        read: impl FnOnce(&'t DeValue<'t>) -> Option<T>,
    ) -> Option<At<T>> {
        let found = self.value(key)?;
        match read(found.get_ref()) {
            Some(value) => Some(At { value, span: found.span() }),
            None => {
                self.wrong_type(findings, key, wanted, found);
                None
            }
        }
    }

    pub(super) fn string(&mut self, findings: &mut Findings, key: &'static str) -> Option<At<&'t str>> {
        self.typed(findings, key, "a string", DeValue::as_str)
    }

    pub(super) fn boolean(&mut self, findings: &mut Findings, key: &'static str) -> Option<At<bool>> {
        self.typed(findings, key, "true or false", DeValue::as_bool)
    }

    /// A whole number from 0.
    pub(super) fn count(&mut self, findings: &mut Findings, key: &'static str) -> Option<At<u64>> {
        self.typed(findings, key, "a whole number from 0", unsigned)
    }

    pub(super) fn number(&mut self, findings: &mut Findings, key: &'static str) -> Option<At<f64>> {
        self.typed(findings, key, "a number", |value| match value {
            DeValue::Integer(_) | DeValue::Float(_) => scalar(value)?.parse().ok(),
            _ => None,
        })
    }

    /// A string, number, date or truth value, as text.
    pub(super) fn scalar(&mut self, findings: &mut Findings, key: &'static str) -> Option<At<String>> {
        self.typed(findings, key, "a single value", scalar)
    }

    /// `"512 MiB"`, or a number of bytes.
    pub(super) fn bytes(&mut self, findings: &mut Findings, key: &'static str) -> Option<u64> {
        let wanted = "a size such as \"512 MiB\"";
        let read = |value: &DeValue<'_>| match value {
            DeValue::String(text) => units::bytes(text),
            other => unsigned(other),
        };
        self.typed(findings, key, wanted, read).map(|at| at.value)
    }

    /// `"10 min"`, or a number of seconds.
    pub(super) fn duration(&mut self, findings: &mut Findings, key: &'static str) -> Option<At<Duration>> {
        let wanted = "a time such as \"10 min\"";
        let read = |value: &DeValue<'_>| match value {
            DeValue::String(text) => units::duration(text),
            other => unsigned(other).map(Duration::from_secs),
        };
        self.typed(findings, key, wanted, read)
    }

    /// A whole number from 0, or the text `"unbounded"` for none.
    pub(super) fn bound(&mut self, findings: &mut Findings, key: &'static str) -> Option<At<Option<u32>>> {
        let read = |value: &DeValue<'_>| match value {
            DeValue::String(text) => (text == "unbounded").then_some(None),
            other => unsigned(other).and_then(|n| u32::try_from(n).ok()).map(Some),
        };
        self.typed(findings, key, "a whole number or \"unbounded\"", read)
    }

    /// The items of an array.
    pub(super) fn array(
        &mut self,
        findings: &mut Findings,
        key: &'static str,
    ) -> Option<At<Vec<&'t Spanned<DeValue<'t>>>>> {
        self.typed(findings, key, "an array", |value| value.as_array().map(|items| items.iter().collect()))
    }

    /// An array of strings.
    pub(super) fn strings(&mut self, findings: &mut Findings, key: &'static str) -> Vec<At<&'t str>> {
        let items = self.array(findings, key).map(|at| at.value).unwrap_or_default();
        let read = |item: &'t Spanned<DeValue<'t>>| match item.get_ref().as_str() {
            Some(text) => Some(At { value: text, span: item.span() }),
            None => {
                self.wrong_type(findings, key, "an array of strings", item);
                None
            }
        };
        items.into_iter().filter_map(read).collect()
    }

    /// The entries of a table, in the order of the file.
    pub(super) fn entries(&mut self, findings: &mut Findings, key: &'static str) -> Vec<Entry<'t>> {
        let Some(table) = self.typed(findings, key, "a table", DeValue::as_table) else { return Vec::new() };
        entries(table.value)
    }

    /// A table of its own.
    pub(super) fn section(&mut self, findings: &mut Findings, key: &'static str) -> Option<Self> {
        let found = self.typed(findings, key, "a table", DeValue::as_table)?;
        Some(Self::new(key, found.span, found.value))
    }

    /// The tables of an array of tables: `[[key]]`.
    pub(super) fn sections(&mut self, findings: &mut Findings, key: &'static str) -> Vec<Self> {
        let items = self.array(findings, key).map(|at| at.value).unwrap_or_default();
        let mut sections = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            match item.get_ref().as_table() {
                Some(table) => {
                    sections.push(Self::new(format!("{key} {}", index + 1), item.span(), table));
                }
                None => self.wrong_type(findings, key, "tables", item),
            }
        }
        sections
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self, findings: &mut Findings) {
        for (key, _) in entries(self.table) {
            if self.known.contains(&key.value) {
                continue;
            }
            let hint = match units::nearest(key.value, self.known.iter().copied()) {
                Some(near) => format!(", did you mean '{near}'?"),
                None => format!(": it may be {}", self.known.join(", ")),
            };
            self.fault(findings, &key.span, format!("unknown key '{}'{hint}", key.value));
        }
    }
}

fn entries<'t>(table: &'t DeTable<'t>) -> Vec<Entry<'t>> {
    let mut entries: Vec<Entry<'t>> = table
        .iter()
        .map(|(key, value)| (At { value: key.get_ref().as_ref(), span: key.span() }, value))
        .collect();
    entries.sort_by_key(|(key, _)| key.span.start);
    entries
}

fn unsigned(value: &DeValue<'_>) -> Option<u64> {
    let integer = value.as_integer()?;
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// A single value as the text that a client would send.
pub(super) fn scalar(value: &DeValue<'_>) -> Option<String> {
    Some(match value {
        DeValue::String(text) => text.clone().into_owned(),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix()).ok()?.to_string(),
        DeValue::Float(float) => match float.as_str() {
            "inf" | "+inf" => "INF".to_owned(),
            "-inf" => "-INF".to_owned(),
            other => other.to_owned(),
        },
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(datetime) => datetime.to_string(),
        DeValue::Array(_) | DeValue::Table(_) => return None,
    })
}

fn described(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{:?}", text.chars().take(60).collect::<String>()),
        DeValue::Array(_) => "an array".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
        other => scalar(other).unwrap_or_else(|| other.type_str().to_owned()),
    }
}
