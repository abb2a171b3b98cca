//! Cutting a stream of bytes into lines, in bounded memory.

/// Longest line kept, in bytes: what is beyond is counted, not kept. A gigabyte without an end of line stays eight kilobytes.
pub(crate) const LINE_BYTES_MAX: usize = 8 << 10;

/// A line, or the beginning of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// Its first bytes, without the end of line.
    pub(crate) bytes: &'a [u8],
    /// How many bytes more there were.
    pub(crate) bytes_cut: u64,
    pub(crate) state: LineState,
}

/// What may still happen to a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineState {
    /// It has ended.
    Complete,
    /// It is being overwritten (a lone carriage return, as progress bars do).
    Redrawn,
    /// More of it may come.
    Open,
}

/// Cuts at line feeds and carriage returns.
#[derive(Debug, Default)]
pub(crate) struct LineCutter {
    line: Vec<u8>,
    bytes_cut: u64,
    /// The last byte was a carriage return: what comes next tells what it meant.
    after_return: bool,
}

impl LineCutter {
    /// Takes bytes, gives the lines in them, and at last the open one if it has grown.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut line: impl FnMut(Line<'_>)) {
        let mut grown = false;
        while let Some(first) = bytes.first() {
            if std::mem::take(&mut self.after_return) {
                let ended = *first == b'\n';
                self.give(if ended { LineState::Complete } else { LineState::Redrawn }, &mut line);
                grown = false;
                if ended {
                    bytes = &bytes[1..];
                    continue;
                }
            }
            let Some(end) = memchr::memchr2(b'\n', b'\r', bytes) else {
                grown |= self.push(bytes);
                break;
            };
            self.push(&bytes[..end]);
            if bytes[end] == b'\n' {
                self.give(LineState::Complete, &mut line);
                grown = false;
            } else {
                self.after_return = true;
                grown = true;
            }
            bytes = &bytes[end + 1..];
        }
        if grown {
            line(Line { bytes: &self.line, bytes_cut: self.bytes_cut, state: LineState::Open });
        }
    }

    /// The stream has ended, and with it the open line.
    pub(crate) fn finish(&mut self, mut line: impl FnMut(Line<'_>)) {
        if self.after_return || !self.line.is_empty() {
            self.give(LineState::Complete, &mut line);
        }
    }

    /// Gives true where the line kept has grown.
    fn push(&mut self, bytes: &[u8]) -> bool {
        let kept = bytes.len().min(LINE_BYTES_MAX - self.line.len());
        self.line.extend_from_slice(&bytes[..kept]);
        self.bytes_cut += (bytes.len() - kept) as u64;
        kept > 0
    }

    fn give(&mut self, state: LineState, line: &mut impl FnMut(Line<'_>)) {
        line(Line { bytes: &self.line, bytes_cut: self.bytes_cut, state });
        self.line.clear();
        self.bytes_cut = 0;
        self.after_return = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(chunks: &[&str]) -> Vec<(String, LineState)> {
        let mut cutter = LineCutter::default();
        let mut lines = Vec::new();
        let mut keep =
            |line: Line<'_>| lines.push((String::from_utf8(line.bytes.to_vec()).unwrap(), line.state));
        for chunk in chunks {
            cutter.feed(chunk.as_bytes(), &mut keep);
        }
        cutter.finish(&mut keep);
        lines
    }

    #[test]
    fn lines_end_at_line_feeds_also_across_chunks() {
        use LineState::{Complete, Open};
        assert_eq!(
            cut(&["a\n\nb", "c\r", "\nd"]),
            [
                ("a".into(), Complete),
                (String::new(), Complete),
                ("b".into(), Open),
                ("bc".into(), Open),
                ("bc".into(), Complete),
                ("d".into(), Open),
                ("d".into(), Complete),
            ]
        );
    }

    #[test]
    fn a_lone_carriage_return_redraws() {
        use LineState::{Complete, Open, Redrawn};
        assert_eq!(
            cut(&["1%\r2%\r", "3%\n"]),
            [("1%".into(), Redrawn), ("2%".into(), Open), ("2%".into(), Redrawn), ("3%".into(), Complete),]
        );
    }

    #[test]
    fn a_line_without_end_does_not_grow() {
        let mut cutter = LineCutter::default();
        let chunk = vec![b'x'; 64 << 10];
        let mut opened = 0;
        for _ in 0..1000 {
            cutter.feed(&chunk, |_| opened += 1);
        }
        assert_eq!(opened, 1, "an open line that no longer grows is not looked at again");
        assert!(cutter.line.capacity() <= 2 * LINE_BYTES_MAX);
        cutter.finish(|line| {
            assert_eq!(line.bytes.len(), LINE_BYTES_MAX);
            assert_eq!(line.bytes_cut, 1000 * (64 << 10) - LINE_BYTES_MAX as u64);
        });
    }
}
