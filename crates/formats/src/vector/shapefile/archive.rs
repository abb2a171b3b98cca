//! The ZIP archive around a Shapefile, opened without trust.

use super::{FORMAT, malformed, of_reading};
use crate::source::Source;
use crate::vector::FormatError;
use anabranch_model::Data;
use flate2::CrcReader;
use flate2::read::DeflateDecoder;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Take};
use zip::CompressionMethod;

/// Members of an archive: a Shapefile has at most a dozen, and an archive may hold a few of them beside other things.
const MEMBERS_MAX: usize = 1000;

/// Bytes read while the directory of the archive is looked for and read: that of 1,000 members, and a comment of the
/// longest length, need less.
const DIRECTORY_BYTES_MAX: u64 = 1 << 20;

/// Bytes of all members, unpacked. Both files of a Shapefile end at 2 GiB each.
const UNPACKED_BYTES_MAX: u64 = 8 << 30;

/// Unpacked bytes a packed one, over all members: deflate reaches 1,000 on nothing but zeros, Shapefiles seldom 20.
const RATIO_MAX: u64 = 200;

/// What may be unpacked whatever the ratio.
const UNPACKED_BYTES_FREE: u64 = 16 << 20;

/// Where the members of one Shapefile lie in an archive.
#[derive(Debug)]
pub(super) struct Archive {
    data: Data,
    members: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    start: u64,
    packed: u64,
    unpacked: u64,
    crc32: u32,
    method: CompressionMethod,
}

impl Archive {
    /// Reads the directory of an archive and checks it against the limits. Nothing is unpacked yet.
    pub(super) fn open(data: &Data) -> Result<Self, FormatError> {
        let source = Budget { source: Source::open(data)?, bytes_left: DIRECTORY_BYTES_MAX };
        let mut archive = zip::ZipArchive::new(source).map_err(|error| of_zip(&error))?;
        if archive.len() > MEMBERS_MAX {
            return Err(malformed(format!(
                "may have at most {MEMBERS_MAX} members in its archive, not {}",
                archive.len()
            )));
        }
        let mut members = Vec::new();
        for index in 0..archive.len() {
            let member = archive.by_index_raw(index).map_err(|error| of_zip(&error))?;
            let name = String::from_utf8_lossy(member.name_raw()).into_owned();
            let refused = if member.is_symlink() {
                Some("is a symbolic link")
            } else if member.enclosed_name().is_none() {
                Some("has a name that leaves its folder")
            } else if member.encrypted() {
                Some("is encrypted")
            } else {
                None
            };
            if let Some(why) = refused {
                return Err(malformed(format!(
                    "must not have the member {name:?} in its archive, which {why}"
                )));
            }
            if member.is_dir() {
                continue;
            }
            let start = member
                .data_start()
                .ok_or_else(|| malformed(format!("doesn't say where its member {name:?} begins")))?;
            members.push(Entry {
                name,
                start,
                packed: member.compressed_size(),
                unpacked: member.size(),
                crc32: member.crc32(),
                method: member.compression(),
            });
        }
        let packed = members.iter().map(|member| member.packed).fold(0_u64, u64::saturating_add);
        let unpacked = members.iter().map(|member| member.unpacked).fold(0_u64, u64::saturating_add);
        if unpacked > UNPACKED_BYTES_MAX {
            return Err(malformed(format!(
                "may have {UNPACKED_BYTES_MAX} bytes unpacked, and its archive says {unpacked}"
            )));
        }
        if unpacked > UNPACKED_BYTES_FREE.max(packed.saturating_mul(RATIO_MAX)) {
            return Err(malformed(format!(
                "may unpack to {RATIO_MAX} times its size, and its archive unpacks {packed} bytes to {unpacked}"
            )));
        }
        Ok(Self { data: data.clone(), members })
    }

    /// The path of the archive's one `.shp`, without `.shp`.
    pub(super) fn stem(&self) -> Result<String, FormatError> {
        let shapes: Vec<&str> = self.members.iter().filter_map(|member| stem(&member.name)).collect();
        match shapes[..] {
            [stem] => Ok(stem.to_owned()),
            [] => Err(malformed("must have a .shp in its archive, which has none".to_owned())),
            _ => {
                let first: Vec<&str> = shapes.iter().take(5).copied().collect();
                Err(malformed(format!(
                    "must have one .shp in its archive, which has {}: {}",
                    shapes.len(),
                    first.join(", ")
                )))
            }
        }
    }

    /// A member by its stem and the extension after it, whatever its case.
    pub(super) fn member(&self, stem: &str, extension: &str) -> Result<Option<Member>, FormatError> {
        let entry = self.members.iter().find(|member| {
            member.name.rsplit_once('.').is_some_and(|(own_stem, own_extension)| {
                own_stem.eq_ignore_ascii_case(stem) && own_extension.eq_ignore_ascii_case(extension)
            })
        });
        entry.map(|entry| Member::open(&self.data, entry.clone())).transpose()
    }
}

/// The name of a `.shp` without the extension; macOS puts a shadow of every file in `__MACOSX/`, which is none.
fn stem(name: &str) -> Option<&str> {
    let (stem, extension) = name.rsplit_once('.')?;
    (extension.eq_ignore_ascii_case("shp") && !name.starts_with("__MACOSX/")).then_some(stem)
}

/// One member, unpacked as it is read; ends where the directory says, and with an error where that is not true.
#[derive(Debug)]
pub(super) struct Member {
    entry: Entry,
    bytes: CrcReader<Take<Unpacked>>,
}

#[derive(Debug)]
enum Unpacked {
    Stored(BufReader<Take<Source>>),
    Deflated(DeflateDecoder<BufReader<Take<Source>>>),
}

impl Member {
    fn open(data: &Data, entry: Entry) -> Result<Self, FormatError> {
        let mut source = Source::open(data)?;
        source.seek(SeekFrom::Start(entry.start))?;
        let packed = BufReader::new(source.take(entry.packed));
        let unpacked = match entry.method {
            CompressionMethod::Stored => Unpacked::Stored(packed),
            CompressionMethod::Deflated => Unpacked::Deflated(DeflateDecoder::new(packed)),
            other => {
                return Err(malformed(format!(
                    "may be stored or deflated in its archive, and {:?} is packed by {other}",
                    entry.name
                )));
            }
        };
        Ok(Self { bytes: CrcReader::new(unpacked.take(entry.unpacked)), entry })
    }

    /// Its size, as the directory says.
    pub(super) fn len(&self) -> u64 {
        self.entry.unpacked
    }

    /// A small member as text; `None` where it is longer than `bytes_max`.
    pub(super) fn read_text(mut self, bytes_max: u64) -> Result<Option<String>, FormatError> {
        if self.entry.unpacked > bytes_max {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).map_err(|error| of_reading(error, None))?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

impl Read for Member {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(buffer)?;
        let limit = self.bytes.get_ref().limit();
        if read == 0 && !buffer.is_empty() {
            let sound = limit == 0 && self.bytes.crc().sum() == self.entry.crc32;
            if !sound {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("the member {:?} of the archive is damaged", self.entry.name),
                ));
            }
        }
        Ok(read)
    }
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stored(bytes) => bytes.read(buffer),
            Self::Deflated(bytes) => bytes.read(buffer),
        }
    }
}

/// A source that gives so many bytes and no more: the directory of an archive says itself how long it is.
struct Budget {
    source: Source,
    bytes_left: u64,
}

impl Read for Budget {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.bytes_left == 0 && !buffer.is_empty() {
            return Err(io::Error::other(format!(
                "its directory isn't found within the {DIRECTORY_BYTES_MAX} bytes read for it"
            )));
        }
        let count = buffer.len().min(usize::try_from(self.bytes_left).unwrap_or(usize::MAX));
        let read = self.source.read(&mut buffer[..count])?;
        self.bytes_left -= read as u64;
        Ok(read)
    }
}

impl Seek for Budget {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.source.seek(to)
    }
}

fn of_zip(error: &zip::result::ZipError) -> FormatError {
    FormatError::Malformed {
        format: FORMAT,
        rule: format!("must be a ZIP archive that can be read ({error})"),
        place: None,
    }
}
