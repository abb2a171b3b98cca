//! Conversions between formats of the same kind.

use crate::raster::{self, RasterFormat};
use crate::room::{Capped, Room};
use crate::vector::{self, FormatError, VectorFormat};
use anabranch_model::{Data, Format};
use std::io::Write;

/// A format that can be converted to every other one of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convertible {
    /// Features.
    Vector(VectorFormat),
    /// Cells.
    Raster(RasterFormat),
}

impl Convertible {
    /// The format of a media type; `None` where it is none of ours, or could be several (`text/xml`).
    #[must_use]
    pub fn of(media_type: &str) -> Option<Self> {
        let vector = VectorFormat::of_media_type(media_type).map(Self::Vector);
        vector.or_else(|| RasterFormat::of_media_type(media_type).map(Self::Raster))
    }

    /// The same for a format that a process describes as its own. Archives and tables are more often something else than features.
    #[must_use]
    pub fn of_own(media_type: &str) -> Option<Self> {
        let essence = anabranch_model::description::media_type_essence(media_type);
        if matches!(essence.as_str(), "application/zip" | "text/csv") { None } else { Self::of(media_type) }
    }

    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Vector(format) => format.name(),
            Self::Raster(format) => format.name(),
        }
    }

    /// True where both are of one kind, and not the same.
    #[must_use]
    pub fn is_convertible_to(self, other: Self) -> bool {
        match (self, other) {
            (Self::Vector(from), Self::Vector(to)) => from != to,
            (Self::Raster(from), Self::Raster(to)) => from != to,
            (Self::Vector(_), Self::Raster(_)) | (Self::Raster(_), Self::Vector(_)) => false,
        }
    }

    /// All formats that this one can be converted to, and from, as clients see them.
    pub fn others(self) -> impl Iterator<Item = Format> {
        let vector = VectorFormat::ALL.into_iter().map(Self::Vector);
        let all = vector.chain(RasterFormat::ALL.into_iter().map(Self::Raster));
        all.filter(move |other| self.is_convertible_to(*other)).map(Self::format)
    }

    fn format(self) -> Format {
        match self {
            Self::Vector(format) => format.format(),
            Self::Raster(format) => format.format(),
        }
    }
}

/// Writes `data`, which is in the format `from`, to `out` in the format `to`.
///
/// `stop` is asked again and again whether to go on.
///
/// # Errors
/// [`FormatError`]; `out` then holds part of the result.
pub fn convert(
    data: &Data,
    from: Convertible,
    to: Convertible,
    room: &Room<'_>,
    out: &mut dyn Write,
    stop: &dyn Fn() -> bool,
) -> Result<(), FormatError> {
    let mut out = Capped::new(out, room.bytes_max);
    let converted = match (from, to) {
        (Convertible::Vector(from), Convertible::Vector(to)) => {
            vector::convert(data, from, to, room, &mut out, stop).map(|_summary| ())
        }
        (Convertible::Raster(from), Convertible::Raster(to)) => {
            raster::convert(data, from, to, room, &mut out, stop)
        }
        (from @ Convertible::Vector(_), to @ Convertible::Raster(_))
        | (from @ Convertible::Raster(_), to @ Convertible::Vector(_)) => Err(FormatError::Unrepresentable {
            format: to.name(),
            what: format!("what {} holds", from.name()),
        }),
    };
    if out.is_full() { Err(FormatError::TooLarge { bytes_max: room.bytes_max }) } else { converted }
}

#[cfg(test)]
mod tests;
