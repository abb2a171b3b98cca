//! GDAL's own tags: the value of no data, scale and offset.

use super::directory::Directory;
use super::tags;
use crate::FormatError;
use crate::raster::{Band, SampleType};
use crate::source::Source;
use std::fmt::Write as _;

/// Bytes of GDAL's XML that are looked at; longer ones are passed over.
const METADATA_BYTES_MAX: u64 = 1 << 20;

/// Bytes of the number that stands for no data.
const NODATA_BYTES_MAX: u64 = 64;

/// The value of cells that have none, as the type can hold it.
pub(super) fn read_nodata(
    directory: &Directory,
    source: &mut Source,
    sample_type: SampleType,
) -> Result<Option<f64>, FormatError> {
    let text = directory.text(source, tags::GDAL_NODATA, NODATA_BYTES_MAX)?;
    let nodata = text.and_then(|text| text.trim().parse::<f64>().ok());
    Ok(nodata.map(|nodata| sample_type.stored(nodata)))
}

/// Scale and offset of so many bands, from `<Item name="SCALE" sample="0" role="scale">0.1</Item>` and its like.
pub(super) fn read_bands(
    directory: &Directory,
    source: &mut Source,
    count: usize,
) -> Result<Vec<Band>, FormatError> {
    let mut bands = vec![Band::AS_STORED; count];
    let text = directory.text(source, tags::GDAL_METADATA, METADATA_BYTES_MAX)?.unwrap_or_default();
    for item in text.split("<Item ").skip(1) {
        let Some((attributes, rest)) = item.split_once('>') else { break };
        let value = rest.split('<').next().and_then(|value| value.trim().parse::<f64>().ok());
        let sample = attribute(attributes, "sample").and_then(|sample| sample.parse::<usize>().ok());
        let band = sample.and_then(|sample| bands.get_mut(sample));
        let (Some(value), Some(band)) = (value.filter(|value| value.is_finite()), band) else { continue };
        match attribute(attributes, "role") {
            Some("scale") => band.scale = value,
            Some("offset") => band.offset = value,
            _ => {}
        }
    }
    Ok(bands)
}

fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    let mut parts = attributes.split('"');
    while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
        if key.trim() == format!("{name}=") {
            return Some(value);
        }
    }
    None
}

/// The value of no data as text.
pub(super) fn of_nodata(nodata: f64) -> String {
    let text = nodata.to_string().to_ascii_lowercase();
    if text.len() < NODATA_BYTES_MAX as usize { text } else { format!("{nodata:e}") }
}

/// What says scale and offset; `None` where values mean what is stored.
pub(super) fn of_bands(bands: &[Band]) -> Option<String> {
    if bands.iter().all(|band| *band == Band::AS_STORED) {
        return None;
    }
    let mut xml = String::from("<GDALMetadata>\n");
    for (sample, Band { scale, offset }) in bands.iter().enumerate() {
        for (role, value) in [("offset", offset), ("scale", scale)] {
            let name = role.to_ascii_uppercase();
            let _ =
                writeln!(xml, "  <Item name=\"{name}\" sample=\"{sample}\" role=\"{role}\">{value}</Item>");
        }
    }
    xml.push_str("</GDALMetadata>\n");
    Some(xml)
}
