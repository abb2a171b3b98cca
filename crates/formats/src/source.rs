//! Data that can be read from anywhere, for the formats that need it.

use anabranch_model::Data;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// Bytes in memory or a file, with a position.
#[derive(Debug)]
pub(crate) enum Source {
    Bytes(io::Cursor<bytes::Bytes>),
    File(File),
}

impl Source {
    /// Data from its start.
    pub(crate) fn open(data: &Data) -> io::Result<Self> {
        Ok(match data {
            Data::Bytes(bytes) => Self::Bytes(io::Cursor::new(bytes.clone())),
            Data::File(file) => Self::File(File::open(&file.path)?),
        })
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Bytes(bytes) => bytes.read(buffer),
            Self::File(file) => file.read(buffer),
        }
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::Bytes(bytes) => bytes.seek(to),
            Self::File(file) => file.seek(to),
        }
    }
}
