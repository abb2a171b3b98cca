//! A document as a stream of features, in bounded memory.

mod members;
mod nested;

use super::error::{Error, Flaw};
use super::utf8::Utf8Check;
use members::{Members, Step};
use nested::Nested;
use std::io::{self, Read};
use std::ops::Range;

/// Largest feature, and largest head of a collection, in bytes: they are held whole, and the coastline of a continent in
/// centimetres is smaller.
pub const FEATURE_BYTES_MAX: usize = 256 << 20;

/// How much is asked for at once: fits the second-level cache with room for a feature.
const READ_BYTES: usize = 256 << 10;

/// Begins each record of a GeoJSON text sequence (RFC 8142 §2).
const RECORD_SEPARATOR: u8 = 0x1e;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A part of a document; all parts together are the document, byte for byte.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// What stands before, between and behind features.
    Between(&'a [u8]),
    /// A feature, or a geometry in the place of one.
    Feature(Feature<'a>),
}

/// One object: where braces match. Whether it is a feature is for [`super::GeometryFinder`] to say.
#[derive(Debug, PartialEq, Eq)]
pub struct Feature<'a> {
    /// From `{` to `}`.
    pub bytes: &'a [u8],
    /// Counted from 1 over the whole document.
    pub number: u64,
    /// Offset of `{` in the document.
    pub offset: u64,
    /// Where it was found.
    pub place: Place,
}

impl Feature<'_> {
    /// Places a flaw found in these bytes in the document.
    #[must_use]
    pub fn locate(&self, flaw: Flaw) -> Error {
        flaw.locate(Some(self.number), self.offset)
    }
}

/// Where a feature was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the array `features` of a FeatureCollection: it has to be a Feature.
    Collection,
    /// By itself: a Feature or a geometry.
    Root,
}

/// Cuts a byte stream into features.
///
/// A document is one object or several, the next on a new line or after a record separator. An object with an array
/// `features` whose `type` is FeatureCollection (which may come later) is cut into the elements of that array; its other
/// members may have any size behind the features. Every other object is one feature.
pub struct Splitter<R> {
    reader: R,
    buffer: Vec<u8>,
    /// What is buffered and not given away yet.
    pending: Range<usize>,
    /// How much of it is looked at.
    scanned: usize,
    /// Offset of `pending.start` in the document.
    offset: u64,
    utf8: Utf8Check,
    state: State,
    features: u64,
    roots: u64,
    has_separators: bool,
    feature_bytes_max: usize,
}

/// Where in the document `scanned` is.
enum State {
    /// Between root objects; whether a new one may begin here.
    Outside { separated: bool },
    /// In a root object that is no collection so far.
    Root(Members),
    /// In the array `features`, at a place where an element, a comma or the end is awaited.
    Features(Awaited, Members),
    /// In an element of it.
    Feature(Nested, Members),
    /// In a collection, behind its features.
    Trailer(Members),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Awaited {
    ElementOrEnd,
    Element,
    CommaOrEnd,
}

/// What one step through the buffer led to.
enum Progress {
    /// Something else is awaited now; go on.
    On,
    /// All that is buffered is looked at.
    NeedsBytes,
    /// What was looked at is a piece.
    Between,
    Feature(Place),
}

impl<R: Read> Splitter<R> {
    /// Reads from `reader`, which needs no buffer of its own.
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            pending: 0..0,
            scanned: 0,
            offset: 0,
            utf8: Utf8Check::default(),
            state: State::Outside { separated: true },
            features: 0,
            roots: 0,
            has_separators: false,
            feature_bytes_max: FEATURE_BYTES_MAX,
        }
    }

    /// With another limit than [`FEATURE_BYTES_MAX`].
    #[must_use]
    pub fn with_feature_bytes_max(mut self, bytes: usize) -> Self {
        self.feature_bytes_max = bytes;
        self
    }

    /// Offset in the document behind the last piece.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Features given so far.
    #[must_use]
    pub fn features(&self) -> u64 {
        self.features
    }

    /// So far this is a sequence: it has record separators, or more than one root object.
    #[must_use]
    pub fn is_sequence(&self) -> bool {
        self.has_separators || self.roots > 1
    }

    /// The next piece, `None` at the end of the document.
    ///
    /// # Errors
    /// Where the document can't be read, is no GeoJSON in what the splitter looks at, or one feature is too large.
    #[allow(clippy::should_implement_trait)] // the piece borrows the buffer: a lending iterator
    pub fn next(&mut self) -> Result<Option<Piece<'_>>, Error> {
        loop {
            match self.advance().map_err(|flaw| flaw.locate(self.feature_here(), self.offset))? {
                Progress::On => {}
                Progress::Between => {
                    let (range, _offset) = self.give_away();
                    return Ok(Some(Piece::Between(&self.buffer[range])));
                }
                Progress::Feature(place) => {
                    self.features += 1;
                    let number = self.features;
                    let (range, offset) = self.give_away();
                    let bytes = &self.buffer[range];
                    return Ok(Some(Piece::Feature(Feature { bytes, number, offset, place })));
                }
                Progress::NeedsBytes => {
                    if let Some(range) = self.give_away_early() {
                        return Ok(Some(Piece::Between(&self.buffer[range])));
                    }
                    if !self.fill()? {
                        self.check_end()?;
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn advance(&mut self) -> Result<Progress, Flaw> {
        let bytes = &self.buffer[self.pending.clone()];
        match &mut self.state {
            State::Outside { .. } => self.advance_outside(),
            State::Root(members) => match members.advance(bytes, &mut self.scanned)? {
                Step::NeedsBytes => Ok(Progress::NeedsBytes),
                Step::Features => {
                    self.state = State::Features(Awaited::ElementOrEnd, members.clone());
                    Ok(Progress::Between)
                }
                Step::End => {
                    members.check_single()?;
                    self.state = State::Outside { separated: false };
                    Ok(Progress::Feature(Place::Root))
                }
            },
            State::Features(..) => self.advance_features(),
            State::Feature(nested, members) => {
                if !nested.advance(bytes, &mut self.scanned)? {
                    return Ok(Progress::NeedsBytes);
                }
                self.state = State::Features(Awaited::CommaOrEnd, members.clone());
                Ok(Progress::Feature(Place::Collection))
            }
            State::Trailer(members) => match members.advance(bytes, &mut self.scanned)? {
                Step::NeedsBytes => Ok(Progress::NeedsBytes),
                Step::Features => Err(Flaw::new(self.scanned, "'features' must stand there once")),
                Step::End => {
                    members.check_collection(self.scanned)?;
                    self.state = State::Outside { separated: false };
                    Ok(Progress::Between)
                }
            },
        }
    }

    fn advance_outside(&mut self) -> Result<Progress, Flaw> {
        let bytes = &self.buffer[self.pending.clone()];
        let State::Outside { separated } = &mut self.state else { return Ok(Progress::On) };
        while let Some(byte) = bytes.get(self.scanned) {
            match byte {
                b' ' | b'\t' => {}
                b'\n' | b'\r' => *separated = true,
                &RECORD_SEPARATOR => {
                    *separated = true;
                    self.has_separators = true;
                }
                b'{' if !*separated => {
                    return Err(Flaw::new(self.scanned, "a further object must begin on a new line"));
                }
                b'{' if self.scanned > 0 => return Ok(Progress::Between),
                b'{' => {
                    self.scanned = 1;
                    self.roots += 1;
                    self.state = State::Root(Members::new());
                    return Ok(Progress::On);
                }
                _ if self.offset == 0
                    && self.scanned == 0
                    && BYTE_ORDER_MARK.starts_with(&bytes[..bytes.len().min(3)]) =>
                {
                    if bytes.len() < BYTE_ORDER_MARK.len() {
                        self.scanned = 0;
                        return Ok(Progress::NeedsBytes);
                    }
                    self.scanned = BYTE_ORDER_MARK.len() - 1;
                }
                _ => return Err(Flaw::new(self.scanned, "a GeoJSON document must be a JSON object")),
            }
            self.scanned += 1;
        }
        Ok(Progress::NeedsBytes)
    }

    fn advance_features(&mut self) -> Result<Progress, Flaw> {
        let bytes = &self.buffer[self.pending.clone()];
        let State::Features(awaited, members) = &mut self.state else { return Ok(Progress::On) };
        loop {
            let Some(byte) = bytes.get(self.scanned) else { return Ok(Progress::NeedsBytes) };
            match (byte, *awaited) {
                (b' ' | b'\t' | b'\n' | b'\r', _) => {}
                (b',', Awaited::CommaOrEnd) => *awaited = Awaited::Element,
                (b']', Awaited::CommaOrEnd | Awaited::ElementOrEnd) => {
                    self.scanned += 1;
                    self.state = State::Trailer(members.clone());
                    return Ok(Progress::Between);
                }
                (b'{', Awaited::Element | Awaited::ElementOrEnd) if self.scanned > 0 => {
                    return Ok(Progress::Between);
                }
                (b'{', Awaited::Element | Awaited::ElementOrEnd) => {
                    self.state = State::Feature(Nested::new(b'{'), members.clone());
                    return Ok(Progress::On);
                }
                (_, Awaited::CommaOrEnd) => {
                    return Err(Flaw::new(self.scanned, "a feature must be followed by ',' or ']'"));
                }
                (_, Awaited::Element | Awaited::ElementOrEnd) => {
                    return Err(Flaw::new(self.scanned, "an element of 'features' must be an object"));
                }
            }
            self.scanned += 1;
        }
    }

    /// Takes what was looked at out of `pending`; gives its place in the buffer and in the document.
    fn give_away(&mut self) -> (Range<usize>, u64) {
        let range = self.pending.start..self.pending.start + self.scanned;
        let offset = self.offset;
        self.pending.start = range.end;
        self.offset += self.scanned as u64;
        self.scanned = 0;
        (range, offset)
    }

    /// What is certainly no part of a feature need not wait for more bytes.
    fn give_away_early(&mut self) -> Option<Range<usize>> {
        let early = match &self.state {
            State::Outside { .. } | State::Features(..) => true,
            State::Trailer(members) => !members.is_in_text(),
            State::Root(_) | State::Feature(..) => false,
        };
        (early && self.scanned > 0).then(|| self.give_away().0)
    }

    /// Reads more; false at the end of the document.
    fn fill(&mut self) -> Result<bool, Error> {
        if self.pending.len() >= self.feature_bytes_max {
            let (feature, offset) = (self.feature_here(), self.offset);
            return Err(Error::TooLarge { feature, offset, bytes_max: self.feature_bytes_max });
        }
        self.make_room();
        let start = self.pending.end;
        let read = loop {
            match self.reader.read(&mut self.buffer[start..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.pending.end += read;
        let checked = match read {
            0 => self.utf8.finish(),
            _ => self.utf8.push(&self.buffer[start..start + read]),
        };
        checked.map_err(|at| {
            let at = start - self.pending.start + at;
            Flaw::new(at, "the text must be UTF-8").locate(self.feature_here(), self.offset)
        })?;
        Ok(read > 0)
    }

    /// Moves what is pending to the front, and doubles the buffer where that leaves too little room.
    fn make_room(&mut self) {
        if self.pending.start > 0 && self.buffer.len() - self.pending.end < READ_BYTES / 2 {
            self.buffer.copy_within(self.pending.clone(), 0);
            self.pending = 0..self.pending.len();
        }
        if self.buffer.len() - self.pending.end < READ_BYTES / 2 {
            let mut larger = vec![0; (self.buffer.len() * 2).max(READ_BYTES)];
            larger[..self.pending.len()].copy_from_slice(&self.buffer[self.pending.clone()]);
            self.pending = 0..self.pending.len();
            self.buffer = larger;
        }
    }

    /// The document has ended: may it end here?
    fn check_end(&self) -> Result<(), Error> {
        let rule = match &self.state {
            State::Outside { .. } if self.roots > 0 && self.pending.is_empty() => return Ok(()),
            State::Outside { .. } => "a document must not be empty",
            State::Root(_) => "the document ends within an object",
            State::Feature(..) => "the document ends within a feature",
            State::Features(..) => "the document ends within 'features'",
            State::Trailer(_) => "the document ends within a FeatureCollection",
        };
        Err(Flaw::new(self.pending.len(), rule).locate(self.feature_here(), self.offset))
    }

    /// The number of the feature that is being read.
    fn feature_here(&self) -> Option<u64> {
        match &self.state {
            State::Feature(..) => Some(self.features + 1),
            State::Root(members) if !members.may_be_collection() => Some(self.features + 1),
            _ => None,
        }
    }
}
