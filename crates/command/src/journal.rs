//! What the lines of an executable mean: progress, log, values of outputs, reasons of failure.

use crate::gdal;
use crate::lines::{Line, LineState};
use crate::service::{LineMeaning, OutputSource, Service, Stream};
use crate::slurm;
use anabranch_model::{LogLine, LogSource, OutputSink};
use regex::{Captures, Regex};
use std::cell::Cell;
use std::collections::VecDeque;

/// Lines of standard error that are quoted when a run fails: tools say what is wrong at the end.
const QUOTED_LINES_MAX: usize = 10;

/// Longest line quoted, in characters.
const QUOTED_CHARS_MAX: usize = 500;

/// Files announced and not yet handed over: more than that wait until the end of the run.
const ANNOUNCED_MAX: usize = 10_000;

/// Reads the lines of one run.
pub(crate) struct Journal<'a> {
    service: &'a Service,
    sink: &'a dyn OutputSink,
    /// The run's folder with a `/` at its end: paths of this machine are nobody's business.
    folder: String,
    log_bytes_left: u64,
    lines_dropped: u64,
    last_words: VecDeque<String>,
    failure: Option<String>,
    /// A line said that the run has failed: the first one counts, and nothing after it.
    aborted: bool,
    /// Last percentage told.
    percent: Cell<f32>,
    found: Vec<(&'a str, String)>,
    announced: VecDeque<(&'a str, String)>,
}

impl<'a> Journal<'a> {
    pub(crate) fn new(service: &'a Service, sink: &'a dyn OutputSink, folder: &str) -> Self {
        Self {
            service,
            sink,
            folder: format!("{folder}/"),
            log_bytes_left: service.command.log_bytes_max,
            lines_dropped: 0,
            last_words: VecDeque::new(),
            failure: None,
            aborted: false,
            percent: Cell::new(0.0),
            found: Vec::new(),
            announced: VecDeque::new(),
        }
    }

    /// Takes a line.
    pub(crate) fn line(&mut self, stream: Stream, line: Line<'_>) {
        let text = String::from_utf8_lossy(line.bytes);
        if line.state != LineState::Complete {
            self.progress_only(stream, &text);
            return;
        }
        self.find(stream, &text);
        let meaning = self.meaning(stream, &text);
        let mut text = text.replace(&self.folder, "");
        if line.bytes_cut > 0 {
            text.push_str(&format!("… ({} bytes cut)", line.bytes_cut));
        }
        if meaning == LineMeaning::Progress {
            return;
        }
        // What the driver of a job says is not the executable's.
        let is_driver_s = self.service.command.slurm.is_some() && text.starts_with(slurm::MARK);
        if stream == Stream::Stderr && !text.trim().is_empty() && !is_driver_s {
            self.remember(&text);
        }
        if !matches!(meaning, LineMeaning::Ignore | LineMeaning::Message) {
            self.log(stream, text);
        }
    }

    /// What an executable that failed has said about it; empty where nothing.
    pub(crate) fn reason(&self) -> String {
        match &self.failure {
            Some(failure) => failure.clone(),
            None => self.last_words.iter().map(String::as_str).collect::<Vec<_>>().join("\n"),
        }
    }

    /// A line said that the run has failed.
    pub(crate) fn is_aborted(&self) -> bool {
        self.aborted
    }

    /// The value found in lines for an output.
    pub(crate) fn found(&self, output: &str) -> Option<&str> {
        self.found.iter().find(|(id, _)| *id == output).map(|(_, value)| value.as_str())
    }

    /// The next file that is announced to be complete, and the output to which it belongs.
    pub(crate) fn next_announced(&mut self) -> Option<(&'a str, String)> {
        self.announced.pop_front()
    }

    /// The run is over: says what was left out.
    pub(crate) fn close(&mut self) {
        if self.lines_dropped > 0 {
            let text = format!("the log is full: {} more lines were left out", self.lines_dropped);
            self.sink.log(LogLine { source: LogSource::System, text });
        }
    }

    fn progress_only(&self, stream: Stream, text: &str) {
        if self.gdal_progress(stream, text) {
            return;
        }
        let rules = self.service.lines.iter().filter(|rule| rule.meaning == LineMeaning::Progress);
        for rule in rules.filter(|rule| rule.stream.is_none_or(|wanted| wanted == stream)) {
            if self.progress(&rule.pattern, text) {
                return;
            }
        }
    }

    fn meaning(&mut self, stream: Stream, text: &str) -> LineMeaning {
        if self.gdal_progress(stream, text) {
            return LineMeaning::Progress;
        }
        let rules = self.service.lines.iter();
        for rule in rules.filter(|rule| rule.stream.is_none_or(|wanted| wanted == stream)) {
            match rule.meaning {
                LineMeaning::Progress if self.progress(&rule.pattern, text) => return LineMeaning::Progress,
                LineMeaning::Progress => {}
                LineMeaning::Failure => {
                    let Some(groups) = rule.pattern.captures(text) else { continue };
                    let reason = groups.get(1).map_or(text, |group| group.as_str());
                    if !self.aborted {
                        self.failure = Some(shortened(&reason.replace(&self.folder, "")));
                    }
                    return LineMeaning::Failure;
                }
                LineMeaning::Abort => {
                    let Some(groups) = rule.pattern.captures(text) else { continue };
                    let (_, reason) = level_and_text(&groups, text);
                    if !std::mem::replace(&mut self.aborted, true) {
                        self.failure = Some(shortened(&reason.replace(&self.folder, "")));
                    }
                    return LineMeaning::Abort;
                }
                LineMeaning::Message | LineMeaning::Waiting | LineMeaning::Begun => {
                    let Some(groups) = rule.pattern.captures(text) else { continue };
                    let (level, said) = level_and_text(&groups, text);
                    let said = said.replace(&self.folder, "");
                    self.tell(rule.meaning, &shortened(&said));
                    let logged = if level.is_empty() { said } else { format!("{level}: {said}") };
                    self.log(stream, logged);
                    return LineMeaning::Message;
                }
                LineMeaning::Keep | LineMeaning::Ignore if rule.pattern.is_match(text) => {
                    return rule.meaning;
                }
                LineMeaning::Keep | LineMeaning::Ignore => {}
            }
        }
        LineMeaning::Keep
    }

    /// Tells what the run does now, or why it does nothing yet.
    fn tell(&self, meaning: LineMeaning, text: &str) {
        match meaning {
            LineMeaning::Waiting => return self.sink.waiting(text),
            LineMeaning::Begun => self.sink.started(None),
            _ => {}
        }
        self.sink.progress(self.percent.get(), Some(text));
    }

    fn gdal_progress(&self, stream: Stream, text: &str) -> bool {
        if !self.service.gdal_progress.contains(&stream) {
            return false;
        }
        let percent = gdal::percent(text);
        if let Some(percent) = percent {
            self.percent.set(percent);
            self.sink.progress(percent, None);
        }
        percent.is_some()
    }

    /// The last match counts: an open line may hold many.
    fn progress(&self, pattern: &Regex, text: &str) -> bool {
        let Some(groups) = pattern.captures_iter(text).last() else { return false };
        let percent = groups.get(1).and_then(|group| group.as_str().trim().parse::<f32>().ok());
        let Some(percent) = percent.filter(|percent| percent.is_finite()) else { return false };
        let percent = percent.clamp(0.0, 100.0);
        self.percent.set(percent);
        let message = groups.get(2).map(|group| group.as_str().trim().replace(&self.folder, ""));
        self.sink.progress(percent, message.as_deref().filter(|message| !message.is_empty()));
        true
    }

    fn find(&mut self, stream: Stream, text: &str) {
        for rule in &self.service.outputs {
            match &rule.source {
                OutputSource::Line { stream: wanted, pattern } if *wanted == stream => {
                    let Some(value) = first_group(pattern, text) else { continue };
                    self.found.retain(|(id, _)| *id != rule.id);
                    self.found.push((&rule.id, value.to_owned()));
                }
                OutputSource::Glob { announced: Some((wanted, pattern)), .. }
                    if *wanted == stream && self.announced.len() < ANNOUNCED_MAX =>
                {
                    let Some(path) = first_group(pattern, text) else { continue };
                    let path = path.strip_prefix(&self.folder).unwrap_or(path);
                    self.announced.push_back((&rule.id, path.to_owned()));
                }
                _ => {}
            }
        }
    }

    fn remember(&mut self, text: &str) {
        if self.last_words.len() == QUOTED_LINES_MAX {
            self.last_words.pop_front();
        }
        self.last_words.push_back(shortened(text));
    }

    fn log(&mut self, stream: Stream, text: String) {
        // Short lines cost memory too.
        let cost = text.len() as u64 + 16;
        if self.lines_dropped > 0 || cost > self.log_bytes_left {
            self.lines_dropped += 1;
            return;
        }
        self.log_bytes_left -= cost;
        let source = match stream {
            Stream::Stdout => LogSource::Stdout,
            Stream::Stderr => LogSource::Stderr,
        };
        self.sink.log(LogLine { source, text });
    }
}

/// Group 1 and 2; or nothing and group 1; or nothing and the line.
fn level_and_text<'t>(groups: &Captures<'t>, line: &'t str) -> (&'t str, &'t str) {
    let group = |index| groups.get(index).map(|found| found.as_str().trim());
    match (group(1), group(2)) {
        (level, Some(text)) => (level.unwrap_or_default(), text),
        (Some(text), None) => ("", text),
        (None, None) => ("", line),
    }
}

fn first_group<'t>(pattern: &Regex, text: &'t str) -> Option<&'t str> {
    Some(pattern.captures(text)?.get(1)?.as_str())
}

fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(QUOTED_CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
