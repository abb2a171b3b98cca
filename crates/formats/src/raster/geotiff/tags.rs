//! Tags, types and values of TIFF 6.0, BigTIFF, GeoTIFF 1.1 and GDAL, by the names in those documents.

pub(super) const IMAGE_WIDTH: u16 = 256;
pub(super) const IMAGE_LENGTH: u16 = 257;
pub(super) const BITS_PER_SAMPLE: u16 = 258;
pub(super) const COMPRESSION: u16 = 259;
pub(super) const PHOTOMETRIC_INTERPRETATION: u16 = 262;
pub(super) const FILL_ORDER: u16 = 266;
pub(super) const STRIP_OFFSETS: u16 = 273;
pub(super) const SAMPLES_PER_PIXEL: u16 = 277;
pub(super) const ROWS_PER_STRIP: u16 = 278;
pub(super) const STRIP_BYTE_COUNTS: u16 = 279;
pub(super) const PLANAR_CONFIGURATION: u16 = 284;
pub(super) const PREDICTOR: u16 = 317;
pub(super) const TILE_WIDTH: u16 = 322;
pub(super) const TILE_LENGTH: u16 = 323;
pub(super) const TILE_OFFSETS: u16 = 324;
pub(super) const TILE_BYTE_COUNTS: u16 = 325;
pub(super) const EXTRA_SAMPLES: u16 = 338;
pub(super) const SAMPLE_FORMAT: u16 = 339;
pub(super) const MODEL_PIXEL_SCALE: u16 = 33550;
pub(super) const MODEL_TIEPOINT: u16 = 33922;
pub(super) const MODEL_TRANSFORMATION: u16 = 34264;
pub(super) const GEO_KEY_DIRECTORY: u16 = 34735;
pub(super) const GEO_DOUBLE_PARAMS: u16 = 34736;
pub(super) const GEO_ASCII_PARAMS: u16 = 34737;
pub(super) const GDAL_METADATA: u16 = 42112;
pub(super) const GDAL_NODATA: u16 = 42113;

pub(super) const BYTE: u16 = 1;
pub(super) const ASCII: u16 = 2;
pub(super) const SHORT: u16 = 3;
pub(super) const LONG: u16 = 4;
pub(super) const IFD: u16 = 13;
pub(super) const FLOAT: u16 = 11;
pub(super) const DOUBLE: u16 = 12;
pub(super) const LONG8: u16 = 16;
pub(super) const IFD8: u16 = 18;

pub(super) const SAMPLE_FORMAT_UINT: u64 = 1;
pub(super) const SAMPLE_FORMAT_INT: u64 = 2;
pub(super) const SAMPLE_FORMAT_IEEE: u64 = 3;
pub(super) const SAMPLE_FORMAT_VOID: u64 = 4;

pub(super) const PLANAR_CHUNKY: u64 = 1;
pub(super) const PLANAR_SEPARATE: u64 = 2;
pub(super) const PHOTOMETRIC_BLACK_IS_ZERO: u64 = 1;
pub(super) const PHOTOMETRIC_YCBCR: u64 = 6;
