//! The raster formats and their media types.

use anabranch_model::Format;
use anabranch_model::description::media_types_match;

/// A raster format that can be read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RasterFormat {
    /// GeoTIFF 1.1 (OGC 19-008r4).
    GeoTiff,
    /// Esri ASCII grid.
    EsriGrid,
}

impl RasterFormat {
    /// All of them, the ones that people ask for first in front.
    pub const ALL: [Self; 2] = [Self::GeoTiff, Self::EsriGrid];

    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::GeoTiff => "GeoTIFF",
            Self::EsriGrid => "Esri ASCII grid",
        }
    }

    /// Media types in use; the first is the one we give. `application/arcgrid` is GeoServer's.
    #[must_use]
    pub fn media_types(self) -> &'static [&'static str] {
        match self {
            Self::GeoTiff => {
                &[Format::GEOTIFF, "image/geotiff", "application/geotiff", "application/x-geotiff"]
            }
            Self::EsriGrid => &[Format::ARCGRID, "application/x-esri-ascii-grid"],
        }
    }

    /// How it is described to clients.
    #[must_use]
    pub fn format(self) -> Format {
        let media_type = self.media_types()[0];
        match self {
            Self::GeoTiff => Format::base64(media_type),
            Self::EsriGrid => Format::new(media_type),
        }
    }

    /// The format of a media type; `None` where it is none of ours.
    #[must_use]
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|format| format.media_types().iter().any(|known| media_types_match(known, media_type)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_tell_formats_apart() {
        for format in RasterFormat::ALL {
            for media_type in format.media_types() {
                assert_eq!(RasterFormat::of_media_type(media_type), Some(format), "{media_type}");
            }
        }
        for other_words in ["image/tiff", "image/tiff; subtype=geotiff", "IMAGE/TIFF;application=\"geotiff\""]
        {
            assert_eq!(
                RasterFormat::of_media_type(other_words),
                Some(RasterFormat::GeoTiff),
                "{other_words}"
            );
        }
        for none in ["image/png", "text/plain", "application/zip"] {
            assert_eq!(RasterFormat::of_media_type(none), None, "{none}");
        }
        assert!(!RasterFormat::EsriGrid.format().is_binary());
    }
}
