//! Records on a stream: a GeoJSON text sequence (RFC 8142), or one record a line. They are cut, not read.

use crate::service::Batch;
use tokio::time::Instant;

/// Begins each record of a sequence (RFC 8142 section 2).
const SEPARATOR: u8 = 0x1e;

/// Bytes of a record, and of the records that wait: a batch as large as this is handed over, and a larger record is refused.
const BYTES_MAX: usize = 16 << 20;

/// A record that is larger than 16 MiB.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// Collects records until a batch is due.
pub(crate) struct Records {
    batch: Batch,
    /// Whole records, then the beginning of one.
    bytes: Vec<u8>,
    /// Where the last whole record ends.
    whole: usize,
    count: u64,
    /// How far the beginning is looked through.
    looked_at: usize,
    /// The stream began with a separator: records end at the next one, and lines in them mean nothing.
    separated: Option<bool>,
    /// When the first of the waiting records came.
    since: Option<Instant>,
    /// Any came at all.
    pub(crate) any: bool,
}

impl Records {
    pub(crate) fn new(batch: Batch) -> Self {
        Self {
            batch,
            bytes: Vec::new(),
            whole: 0,
            count: 0,
            looked_at: 0,
            separated: None,
            since: None,
            any: false,
        }
    }

    /// Takes bytes; gives the batches that are full.
    pub(crate) fn feed(&mut self, bytes: &[u8], now: Instant) -> Result<Vec<Vec<u8>>, TooLarge> {
        self.bytes.extend_from_slice(bytes);
        let separated =
            *self.separated.get_or_insert_with(|| self.bytes.trim_ascii_start().first() == Some(&SEPARATOR));
        let end = if separated { SEPARATOR } else { b'\n' };
        let mut full = Vec::new();
        while let Some(found) = memchr::memchr(end, &self.bytes[self.looked_at..]) {
            let at = self.looked_at + found;
            self.looked_at = at + 1;
            // A separator begins the next record, a line feed ends this one.
            let record_end = if separated { at } else { at + 1 };
            self.end_record(record_end, now);
            if self.count >= self.batch.records_max || self.whole >= BYTES_MAX {
                full.extend(self.take());
            }
        }
        self.looked_at = self.bytes.len();
        if self.bytes.len() - self.whole > BYTES_MAX { Err(TooLarge) } else { Ok(full) }
    }

    fn end_record(&mut self, end: usize, now: Instant) {
        let record = &self.bytes[self.whole..end];
        if record.iter().all(|byte| byte.is_ascii_whitespace() || *byte == SEPARATOR) {
            return;
        }
        self.whole = end;
        self.count += 1;
        self.since.get_or_insert(now);
        self.any = true;
    }

    /// What has waited long enough.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Vec<u8>> {
        // The last record of a sequence ends with no separator: its line feed and its JSON have to tell.
        let rest = &self.bytes[self.whole..];
        if self.separated == Some(true) && rest.ends_with(b"\n") {
            let json = rest.strip_prefix(&[SEPARATOR]).unwrap_or(rest);
            if serde_json::from_slice::<serde::de::IgnoredAny>(json).is_ok() {
                self.end_record(self.bytes.len(), now);
            }
        }
        let waited = self.since.is_some_and(|since| now.duration_since(since) >= self.batch.wait_max);
        if waited { self.take() } else { None }
    }

    /// The stream has ended: what is left.
    pub(crate) fn finish(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.end_record(self.bytes.len(), now);
        self.take()
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        let rest = self.bytes.split_off(self.whole);
        let taken = std::mem::replace(&mut self.bytes, rest);
        self.looked_at -= self.whole.min(self.looked_at);
        (self.whole, self.count, self.since) = (0, 0, None);
        (!taken.is_empty()).then_some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn texts(batches: Vec<Vec<u8>>) -> Vec<String> {
        batches.into_iter().map(|batch| String::from_utf8(batch).unwrap()).collect()
    }

    fn records(records_max: u64) -> Records {
        Records::new(Batch { records_max, wait_max: Duration::from_secs(1) })
    }

    #[test]
    fn a_batch_is_so_many_records() {
        let now = Instant::now();
        for step in [1, 2, 3, 100] {
            for (text, first, second, last) in [
                ("{}\n[1]\n\n\n{\"a\":2}\n3\n4", "{}\n[1]\n", "\n\n{\"a\":2}\n3\n", "4"),
                (
                    "\u{1e}{\n}\n\u{1e}1\n\u{1e}\u{1e}2\n\u{1e}[\n3]\n\u{1e}4\n",
                    "\u{1e}{\n}\n\u{1e}1\n",
                    "\u{1e}\u{1e}2\n\u{1e}[\n3]\n",
                    "\u{1e}4\n",
                ),
            ] {
                let mut records = records(2);
                let fed: Vec<_> =
                    text.as_bytes().chunks(step).flat_map(|part| records.feed(part, now).unwrap()).collect();
                assert_eq!(texts(fed), [first, second], "{step}");
                assert_eq!(texts(records.finish(now).into_iter().collect()), [last]);
                assert_eq!(records.finish(now), None);
            }
        }
    }

    #[test]
    fn what_waits_long_enough_is_due() {
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        let mut lines = records(100);
        assert!(lines.feed(b"1\n2", start).unwrap().is_empty());
        assert_eq!(lines.due(start), None);
        assert_eq!(lines.due(later).unwrap(), b"1\n");
        assert_eq!(lines.due(later), None);
        let mut sequence = records(100);
        assert!(sequence.feed("\u{1e}{\"a\":\n1}\n".as_bytes(), start).unwrap().is_empty());
        assert_eq!(sequence.due(start), None);
        assert_eq!(sequence.due(later).unwrap(), "\u{1e}{\"a\":\n1}\n".as_bytes());
        assert!(sequence.feed("\u{1e}{\n".as_bytes(), start).unwrap().is_empty());
        assert_eq!(sequence.due(later), None, "it is not whole");
    }

    #[test]
    fn endless_records_are_refused() {
        let mut records = records(1);
        let part = vec![b'x'; 1 << 20];
        let refused = (0..20).find(|_| records.feed(&part, Instant::now()).is_err());
        assert_eq!(refused, Some(16));
    }
}
