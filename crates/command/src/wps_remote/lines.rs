//! `[Logging]`: what lines of the executable mean.

use super::table::{Context, Table};
use crate::draft::{At, regex};
use crate::ini;
use crate::report::Findings;
use crate::service::{LineMeaning, LineRule};

pub(super) const SECTION: &str = "Logging";

/// `stdout_parser` and `stdout_action`, two lists of the same length. Expressions hold at the beginning of a line, white space
/// left out; the two streams are one.
pub(super) fn read(findings: &mut Findings, context: &Context<'_>) -> Vec<LineRule> {
    let Some(section) = context.ini.section(SECTION) else { return Vec::new() };
    let mut table = Table::new(context, section);
    let patterns = list(findings, &mut table, "stdout_parser");
    let actions = list(findings, &mut table, "stdout_action");
    let mut rules = Vec::new();
    if let (Some(patterns), Some(actions)) = (&patterns, &actions) {
        if patterns.value.len() != actions.value.len() {
            let text = format!(
                "stdout_parser has {} expressions and stdout_action {} actions: a comma outside of parentheses, brackets and braces ends an expression",
                patterns.value.len(),
                actions.value.len()
            );
            table.fault(findings, &patterns.span, text);
        }
        for (pattern, action) in patterns.value.iter().zip(&actions.value) {
            rules.extend(rule(findings, &table, pattern, action, patterns));
        }
    }
    table.finish(findings);
    rules
}

fn list(findings: &mut Findings, table: &mut Table<'_>, key: &'static str) -> Option<At<Vec<String>>> {
    let at = table.required(findings, key)?;
    match ini::list(&at.value) {
        Ok(value) => Some(At { value, span: at.span }),
        Err(fault) => {
            table.fault(findings, &at.span, format!("{key} {fault}"));
            None
        }
    }
}

fn rule(
    findings: &mut Findings,
    table: &Table<'_>,
    pattern: &str,
    action: &str,
    at: &At<Vec<String>>,
) -> Option<LineRule> {
    let meaning = match action {
        "progress" => LineMeaning::Progress,
        "log" => LineMeaning::Message,
        "abort" => LineMeaning::Abort,
        "ignore" => LineMeaning::Ignore,
        other => {
            let text =
                format!("stdout_action {other:?} means nothing: it may be progress, log, abort or ignore");
            table.warn(findings, &at.span, text);
            return None;
        }
    };
    // Python's end of text, and its habit to look at the beginning only.
    let whole = format!(r"^\s*(?:{})", pattern.replace(r"\Z", r"\z"));
    let pattern = match regex(&whole) {
        Ok(pattern) => pattern,
        Err(reason) => {
            let text = format!("stdout_parser {pattern:?} is no regular expression: {reason}");
            table.fault(findings, &at.span, text);
            return None;
        }
    };
    if meaning == LineMeaning::Progress && pattern.captures_len() < 2 {
        let text =
            format!("stdout_parser {:?} needs a group in parentheses: the percentage", pattern.as_str());
        table.fault(findings, &at.span, text);
        return None;
    }
    Some(LineRule { stream: None, pattern, meaning })
}
