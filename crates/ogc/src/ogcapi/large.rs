//! Execute requests that may be larger than memory: large values of complex inputs are taken out of the document while it arrives, and
//! what is left of it is parsed as any other.
//!
//! A value is taken out where it may stand alone (`inputs.ID`, `inputs.ID.value`, or an element of an array of these) and is a string, or
//! stands in a member `value`. What is written in its place is a string that no client can guess.

use super::json::DEPTH_MAX;
use super::text::{JsonString, Utf8};
use crate::base64_decoder::{Base64Decoder, Base64Error};
use crate::spool::{Characters, Spool, SpoolFile, Spooling, TELLING_BYTES, failure, is_base64};
use anabranch_model::{
    Data, DataDescription, Error, Fault, FaultKind, FormatHint, JobId, ProcessDescription, Subject,
};
use serde::de::IgnoredAny;
use std::io::{self, BufRead, BufReader, Read as _};

/// Bytes read from files at a time.
const BLOCK_BYTES: usize = 64 * 1024;

/// A document without its large values.
pub(super) struct Smaller {
    pub(super) document: Vec<u8>,
    pub(super) values: Values,
}

/// What has been taken out.
pub(super) struct Values {
    nonce: String,
    values: Vec<Value>,
}

pub(super) struct Value {
    data: Data,
    /// The content of a string; else an object or array as written.
    is_string: bool,
}

impl Values {
    /// The value in whose place the text was written.
    pub(super) fn find(&self, text: &str) -> Option<&Value> {
        let number = text.strip_prefix(self.nonce.as_str())?.strip_prefix('/')?;
        self.values.get(number.parse::<usize>().ok()?)
    }
}

/// Where a value stands.
#[derive(Clone, Copy)]
enum Place {
    Root,
    Inputs,
    /// The value of an input; an array may hold several.
    Input {
        takes_many: bool,
    },
    /// The member `value` of an input's value.
    Inner,
    /// Anywhere else.
    Other,
}

/// Takes large values out of a document, which need not be a correct one: what is wrong with the rest is found by parsing it.
///
/// # Errors
/// [`Error::TooLarge`] where the rest is more than is held, [`Error::Invalid`] where a value that is taken out is broken, and those of
/// reading and spooling.
pub(super) fn take_out(
    input: &mut dyn BufRead,
    process: &ProcessDescription,
    spooling: &mut Spooling<'_>,
) -> Result<Smaller, Error> {
    let values = Values { nonce: JobId::random().to_string(), values: Vec::new() };
    let smaller = Smaller { document: Vec::new(), values };
    let mut scanner = Scanner { input, process, spooling, depth: 0, of_input: String::new(), smaller };
    scanner.white_space()?;
    while scanner.peek()? == Some(0xEF) || scanner.peek()?.is_some_and(|byte| byte & 0xC0 == 0x80) {
        // A byte order mark.
        scanner.keep_byte()?;
    }
    let _is_sound = scanner.value(Place::Root)?;
    // Whatever follows is for the parser to refuse.
    while scanner.peek()?.is_some() {
        scanner.keep_block()?;
    }
    Ok(scanner.smaller)
}

struct Scanner<'a, 's> {
    input: &'a mut dyn BufRead,
    process: &'a ProcessDescription,
    spooling: &'a mut Spooling<'s>,
    depth: usize,
    /// The input whose value is read.
    of_input: String,
    smaller: Smaller,
}

/// The document goes on as JSON does; else it is not looked at any closer.
type IsSound = bool;

impl Scanner<'_, '_> {
    fn value(&mut self, place: Place) -> Result<IsSound, Error> {
        self.white_space()?;
        match (place, self.peek()?) {
            (Place::Root | Place::Inputs | Place::Input { .. }, Some(b'{')) => self.members(place),
            (Place::Input { takes_many: true }, Some(b'[')) => self.elements(),
            (Place::Input { .. } | Place::Inner, Some(b'"')) => self.large(true),
            (Place::Inner, Some(b'{' | b'[')) => self.large(false),
            _ => self.small(),
        }
    }

    fn members(&mut self, place: Place) -> Result<IsSound, Error> {
        self.open()?;
        loop {
            self.white_space()?;
            match self.peek()? {
                Some(b'"') => {}
                Some(b'}') => return self.close(),
                _ => return Ok(false),
            }
            let begin = self.smaller.document.len();
            self.small()?;
            let name = serde_json::from_slice::<String>(&self.smaller.document[begin..]).unwrap_or_default();
            self.white_space()?;
            if self.peek()? != Some(b':') {
                return Ok(false);
            }
            self.keep_byte()?;
            let inner = self.place(place, name);
            if !self.value(inner)? {
                return Ok(false);
            }
            self.white_space()?;
            match self.peek()? {
                Some(b',') => self.keep_byte()?,
                Some(b'}') => return self.close(),
                _ => return Ok(false),
            }
        }
    }

    /// Where the member of an object stands.
    fn place(&mut self, object: Place, name: String) -> Place {
        match (object, name.as_str()) {
            (Place::Root, "inputs") => Place::Inputs,
            (Place::Input { .. }, "value") => Place::Inner,
            (Place::Inputs, id) => match self.process.input(id) {
                Some(input) if matches!(input.data, DataDescription::Complex(_)) => {
                    self.of_input = name;
                    Place::Input { takes_many: input.occurs.is_many() }
                }
                _ => Place::Other,
            },
            _ => Place::Other,
        }
    }

    fn elements(&mut self) -> Result<IsSound, Error> {
        self.open()?;
        loop {
            self.white_space()?;
            if self.peek()? == Some(b']') {
                return self.close();
            }
            if !self.value(Place::Input { takes_many: false })? {
                return Ok(false);
            }
            self.white_space()?;
            match self.peek()? {
                Some(b',') => self.keep_byte()?,
                Some(b']') => return self.close(),
                _ => return Ok(false),
            }
        }
    }

    fn open(&mut self) -> Result<(), Error> {
        self.depth += 1;
        self.keep_byte()
    }

    fn close(&mut self) -> Result<IsSound, Error> {
        self.depth -= 1;
        self.keep_byte()?;
        Ok(true)
    }

    /// A value that stays where it is.
    fn small(&mut self) -> Result<IsSound, Error> {
        let mut extent = Extent::default();
        while !extent.has_ended {
            let block = self.fill()?;
            if block.is_empty() {
                return Ok(true);
            }
            let bytes = extent.of(block);
            self.keep(bytes)?;
        }
        Ok(true)
    }

    /// A value that is taken out where it is large.
    fn large(&mut self, is_string: bool) -> Result<IsSound, Error> {
        let (mut extent, mut held, mut taken) = (Extent::default(), Vec::new(), None::<Taken>);
        while !extent.has_ended {
            let block = self.fill()?;
            if block.is_empty() {
                break;
            }
            let bytes = extent.of(block);
            held.extend_from_slice(&block[..bytes]);
            self.input.consume(bytes);
            if extent.depth_seen + self.depth > DEPTH_MAX {
                let rule = format!("must not be nested deeper than {DEPTH_MAX}");
                return Err(Error::invalid(Fault::new(
                    Subject::Parameter("body".into()),
                    FaultKind::Malformed,
                    rule,
                )));
            }
            if taken.is_some() || held.len() > self.spooling.from_bytes {
                if taken.is_none() {
                    let file = self.spooling.to.file().map_err(|error| failure(&error))?;
                    taken = Some(Taken::new(file, is_string));
                }
                if let Some(taken) = &mut taken {
                    taken.push(&held).map_err(|broken| self.broken(broken))?;
                    held.clear();
                }
            }
        }
        let Some(taken) = taken else {
            self.check_held(held.len())?;
            self.smaller.document.append(&mut held);
            return Ok(true);
        };
        if !extent.has_ended {
            return Err(self.broken(Broken::Rule("must be JSON: it ends in the middle".into())));
        }
        let data = taken.finish().map_err(|broken| self.broken(broken))?;
        let Values { nonce, values } = &mut self.smaller.values;
        self.smaller.document.extend_from_slice(format!("\"{nonce}/{}\"", values.len()).as_bytes());
        values.push(Value { data, is_string });
        Ok(true)
    }

    fn broken(&self, broken: Broken) -> Error {
        match broken {
            Broken::Io(error) => failure(&error),
            Broken::Rule(rule) => {
                let subject = Subject::Input(self.of_input.clone());
                Error::invalid(Fault::new(subject, FaultKind::Malformed, rule))
            }
        }
    }

    fn white_space(&mut self) -> Result<(), Error> {
        while matches!(self.peek()?, Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.keep_byte()?;
        }
        Ok(())
    }

    fn peek(&mut self) -> Result<Option<u8>, Error> {
        Ok(self.fill()?.first().copied())
    }

    fn fill(&mut self) -> Result<&[u8], Error> {
        while let Err(error) = self.input.fill_buf() {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(failure(&error));
            }
        }
        // What is there is given again, without reading.
        self.input.fill_buf().map_err(|error| failure(&error))
    }

    fn keep_byte(&mut self) -> Result<(), Error> {
        self.keep(1)
    }

    fn keep_block(&mut self) -> Result<(), Error> {
        let bytes = self.fill()?.len();
        self.keep(bytes)
    }

    /// Moves bytes into the document that is held.
    fn keep(&mut self, bytes: usize) -> Result<(), Error> {
        self.check_held(bytes)?;
        let block = self.input.fill_buf().map_err(|error| failure(&error))?;
        let bytes = bytes.min(block.len());
        self.smaller.document.extend_from_slice(&block[..bytes]);
        self.input.consume(bytes);
        Ok(())
    }

    fn check_held(&self, more: usize) -> Result<(), Error> {
        let bytes_max = self.spooling.held_bytes_max;
        if (self.smaller.document.len() + more) as u64 > bytes_max {
            let what = "the request body without its large values".into();
            return Err(Error::TooLarge { what, bytes_max });
        }
        Ok(())
    }
}

/// How far a value goes.
#[derive(Default)]
struct Extent {
    depth: usize,
    /// The deepest so far.
    depth_seen: usize,
    in_string: bool,
    is_escaped: bool,
    is_scalar: bool,
    has_ended: bool,
}

impl Extent {
    /// How many bytes of a block, which goes on where the last one ended, belong to the value.
    fn of(&mut self, block: &[u8]) -> usize {
        let mut at = 0;
        while at < block.len() && !self.has_ended {
            let byte = block[at];
            if self.in_string && !self.is_escaped {
                match memchr::memchr2(b'"', b'\\', &block[at..]) {
                    None => return block.len(),
                    Some(bytes) => at += bytes,
                }
                self.is_escaped = block[at] == b'\\';
                self.in_string = self.is_escaped;
                self.has_ended = !self.in_string && self.depth == 0;
                at += 1;
                continue;
            }
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r' if self.is_scalar => {
                    self.has_ended = true;
                    return at;
                }
                b'"' => self.in_string = true,
                b'{' | b'[' => {
                    self.depth += 1;
                    self.depth_seen = self.depth_seen.max(self.depth);
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.has_ended = self.depth == 0;
                }
                _ if self.depth == 0 => self.is_scalar = true,
                _ => {}
            }
            at += 1;
        }
        at
    }
}

/// A value on its way to its file.
struct Taken {
    file: Box<dyn SpoolFile>,
    utf_8: Utf8,
    /// Where it is a string.
    string: Option<JsonString>,
}

/// Why a value can't be taken out.
enum Broken {
    Rule(String),
    Io(io::Error),
}

impl Taken {
    fn new(file: Box<dyn SpoolFile>, is_string: bool) -> Self {
        Self { file, utf_8: Utf8::default(), string: is_string.then(JsonString::default) }
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.utf_8.check(bytes).map_err(|rule| Broken::Rule(rule.into()))?;
        match &mut self.string {
            None => self.file.write_all(bytes).map_err(Broken::Io),
            Some(string) => {
                let content = string.content(bytes).map_err(|rule| Broken::Rule(rule.into()))?;
                self.file.write_all(content).map_err(Broken::Io)
            }
        }
    }

    fn finish(self) -> Result<Data, Broken> {
        let data = self.file.finish().map_err(Broken::Io)?;
        if self.string.is_none() {
            let input = BufReader::with_capacity(BLOCK_BYTES, data.open().map_err(Broken::Io)?);
            // Strings of any length are looked through and not kept.
            serde_json::from_reader::<_, IgnoredAny>(input).map_err(|error| match error.is_io() {
                true => Broken::Io(error.into()),
                false => Broken::Rule(format!(
                    "must be JSON: line {}, column {} of its value",
                    error.line(),
                    error.column()
                )),
            })?;
        }
        Ok(data)
    }
}

impl Value {
    /// The value as the data of an input, decoded where it is base64.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it is none, and those of reading and spooling.
    pub(super) fn data(
        &self,
        input: &str,
        format: &FormatHint,
        characters: Characters,
        spool: &mut dyn Spool,
    ) -> Result<Data, Error> {
        let malformed =
            |rule| Error::invalid(Fault::new(Subject::Input(input.to_owned()), FaultKind::Malformed, rule));
        let characters = match characters {
            Characters::Unsaid => characters.told_by(&self.begin().map_err(|error| failure(&error))?),
            said => said,
        };
        match (characters, self.is_string) {
            (Characters::Base64, true) => self.decoded(spool).map_err(|error| match error {
                Base64Error::Broken(rule) => malformed(rule),
                Base64Error::Io(error) => failure(&error),
            }),
            (Characters::Base64, false) if is_base64(format) => {
                Err(malformed("must be base64: it is an object or an array".into()))
            }
            (Characters::Base64 | Characters::Data | Characters::Held | Characters::Unsaid, _) => {
                Ok(self.data.clone())
            }
        }
    }

    /// Its first bytes, as many as tell what it is.
    fn begin(&self) -> io::Result<Vec<u8>> {
        let mut begin = Vec::new();
        self.data.open()?.take(TELLING_BYTES as u64).read_to_end(&mut begin)?;
        Ok(begin)
    }

    fn decoded(&self, spool: &mut dyn Spool) -> Result<Data, Base64Error> {
        let mut text = BufReader::with_capacity(BLOCK_BYTES, self.data.open().map_err(Base64Error::Io)?);
        let mut file = spool.file().map_err(Base64Error::Io)?;
        let mut decoder = Base64Decoder::default();
        loop {
            let block = text.fill_buf().map_err(Base64Error::Io)?;
            let bytes = block.len();
            if bytes == 0 {
                break;
            }
            decoder.push(block, &mut *file)?;
            text.consume(bytes);
        }
        decoder.finish(&mut *file)?;
        file.finish().map_err(Base64Error::Io)
    }
}
