//! Writes pickles of protocol 2 as GeoServer's writer does: each text, list, map and date is put into the memo, and a text
//! that has been written before is got from there.

use std::collections::HashMap;

use super::Pickle;

/// Writes a value. Anything that [`Pickle`] holds can be written; Python 2 and 3 load it.
#[must_use]
pub fn write(value: &Pickle) -> Vec<u8> {
    let mut writer = Writer { out: vec![0x80, 2], texts: HashMap::new(), memo: 0 };
    writer.value(value);
    writer.out.push(b'.');
    writer.out
}

struct Writer<'a> {
    out: Vec<u8>,
    /// Where in the memo texts are.
    texts: HashMap<&'a str, u32>,
    memo: u32,
}

impl<'a> Writer<'a> {
    fn value(&mut self, value: &'a Pickle) {
        match value {
            Pickle::None => self.out.push(b'N'),
            Pickle::Bool(true) => self.out.push(0x88),
            Pickle::Bool(false) => self.out.push(0x89),
            Pickle::Int(number) => self.int(*number),
            Pickle::Float(number) => {
                self.out.push(b'G');
                self.out.extend(number.to_be_bytes());
            }
            Pickle::Text(text) => self.text(text),
            Pickle::DateTime(time) => self.date_time(*time),
            Pickle::Decimal(text) => {
                self.out.extend(b"cdecimal\nDecimal\n");
                self.text(text);
                self.out.extend([0x85, b'R']);
                self.put();
            }
            Pickle::List(values) => {
                self.out.push(b']');
                self.put();
                self.out.push(b'(');
                for value in values {
                    self.value(value);
                }
                self.out.push(b'e');
            }
            Pickle::Map(members) => {
                self.out.push(b'}');
                self.put();
                self.out.push(b'(');
                for (key, value) in members {
                    self.text(key);
                    self.value(value);
                }
                self.out.push(b'u');
            }
        }
    }

    fn int(&mut self, number: i64) {
        if let Ok(number) = u8::try_from(number) {
            self.out.extend([b'K', number]);
        } else if let Ok(number) = u16::try_from(number) {
            self.out.push(b'M');
            self.out.extend(number.to_le_bytes());
        } else if let Ok(number) = i32::try_from(number) {
            self.out.push(b'J');
            self.out.extend(number.to_le_bytes());
        } else {
            self.out.extend(format!("I{number}\n").into_bytes());
        }
    }

    fn text(&mut self, text: &'a str) {
        if let Some(index) = self.texts.get(text).copied() {
            return self.indexed([b'h', b'j'], index);
        }
        self.out.push(b'X');
        // A text of 4 GiB fits into no stanza, so that its length is never cut.
        self.out.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.out.extend(text.as_bytes());
        self.texts.insert(text, self.memo);
        self.put();
    }

    fn date_time(&mut self, time: jiff::civil::DateTime) {
        self.out.extend(b"cdatetime\ndatetime\n(");
        self.int(time.year().into());
        for part in [time.month(), time.day(), time.hour(), time.minute(), time.second()] {
            self.int(part.into());
        }
        self.int((time.subsec_nanosecond() / 1000).into());
        self.out.extend(b"tR");
        self.put();
    }

    fn put(&mut self) {
        self.indexed([b'q', b'r'], self.memo);
        self.memo += 1;
    }

    /// An opcode with an index of one byte, or its brother with one of four.
    fn indexed(&mut self, [short, long]: [u8; 2], index: u32) {
        if let Ok(index) = u8::try_from(index) {
            self.out.extend([short, index]);
        } else {
            self.out.push(long);
            self.out.extend(index.to_le_bytes());
        }
    }
}
