//! What clients see of streaming processes.

use crate::parameters::{
    ALL, CHUNKS_BY_COLUMN, CHUNKS_BY_ROW, MAX_CHUNKS_KEPT, MAX_TIME_IDLE, MAX_TIME_IDLE_DEFAULT,
    NUMBER_OF_CHUNKS,
};
use anabranch_formats::Convertible;
use anabranch_formats::raster::RasterFormat;
use anabranch_model::{
    AllowedValue, Chunking, ComplexDomain, Cut, DataDescription, Format, InputDescription, LiteralDomain,
    LiteralType, Occurs, OutputDescription, ProcessDescription, ProcessId, RangeClosure,
};

/// The only output of a streaming process.
pub(crate) const RESULT: &str = "result";

/// What the names of streaming processes begin with.
const OUTPUT: &str = "OutputStreaming";
const FULL: &str = "FullStreaming";

/// Longest time without a new chunk that may be asked for, milliseconds: what a Java `int` holds, as in 2012.
const MAX_TIME_IDLE_MAX: u64 = 2_147_483_647;

/// The process that cuts its input. `None` where the process can't be run piece by piece.
pub(crate) fn output_streaming(base: &ProcessDescription) -> Option<ProcessDescription> {
    let (chunking, domain) = streamable(base)?;
    // One run that reads all there is puts out chunks by itself.
    if chunking.is_fed {
        return None;
    }
    let mut described = variant(base, chunking, domain, OUTPUT)?;
    for input in &mut described.inputs {
        if chunking.inputs.contains(&input.id) {
            // What a process takes where it is given none lies with the process, and can't be cut here.
            input.occurs = Occurs::ONE;
            // Cut is what lies here in the format that the cutting knows; the engine converts everything else into that.
            input.data =
                DataDescription::Complex(ComplexDomain { formats: whole(chunking.cut), bytes_max: None });
        }
    }
    described.title = format!("{}, result in pieces", base.title);
    described.inputs.extend(match chunking.cut {
        Cut::Features => vec![count(
            NUMBER_OF_CHUNKS,
            "How many chunks the features are cut into, at most as many as there are features. Without it, chunks are small at first, \
             so that the first result is there soon, and become larger.",
        )],
        Cut::Tiles => vec![
            count(CHUNKS_BY_ROW, "How many tiles stand in a row of tiles. Without both counts, tiles keep to the blocks of the file."),
            count(CHUNKS_BY_COLUMN, "How many tiles stand in a column of tiles."),
        ],
    });
    Some(described)
}

/// The process whose input arrives in chunks. `None` where the process can't be run piece by piece.
pub(crate) fn full_streaming(base: &ProcessDescription, poll_ms: u64) -> Option<ProcessDescription> {
    let (chunking, domain) = streamable(base)?;
    // Tiles that arrive one by one come without their neighbours.
    if chunking.overlap > 0 {
        return None;
    }
    let mut described = variant(base, chunking, domain, FULL)?;
    for input in &mut described.inputs {
        if let (true, DataDescription::Complex(domain)) =
            (chunking.inputs.contains(&input.id), &mut input.data)
        {
            input.occurs = Occurs::ONE;
            domain.formats = playlists(domain);
            // Who says no more than that it is a playlist leaves it to the chunks to say what they are.
            domain.formats.push(Format::new(Format::PLAYLIST));
            domain.bytes_max = None;
        }
    }
    described.title = format!("{}, input and result in pieces", base.title);
    described.inputs.push(input(
        MAX_TIME_IDLE,
        "Longest time in which the input's playlist may get no new chunk, in milliseconds; then the stream ends with an exception.",
        LiteralDomain {
            default: Some(MAX_TIME_IDLE_DEFAULT.max(poll_ms).to_string()),
            ..between(poll_ms, Some(MAX_TIME_IDLE_MAX))
        },
    ));
    described.inputs.push(count(
        MAX_CHUNKS_KEPT,
        "How many chunks the result keeps: for streams without end. Older ones are removed, and are gone (410). Without it, all are kept.",
    ));
    Some(described)
}

/// What can be cut, and what the output's chunks may be.
fn streamable(base: &ProcessDescription) -> Option<(&Chunking, &ComplexDomain)> {
    let chunking = base.chunking.as_ref()?;
    let is_cut = |id: &String| {
        base.input(id).is_some_and(|input| {
            matches!(input.data, DataDescription::Complex(_)) && input.occurs.max == Some(1)
        })
    };
    let taken = base.inputs.iter().any(|input| ALL.contains(&input.id.as_str()));
    match base.output(&chunking.output).map(|output| &output.data) {
        Some(DataDescription::Complex(domain))
            if !taken && !chunking.inputs.is_empty() && chunking.inputs.iter().all(is_cut) =>
        {
            Some((chunking, domain))
        }
        _ => {
            tracing::warn!(process.id = %base.id, "how the process is run piece by piece does not fit its inputs and outputs: it is not offered as a stream");
            None
        }
    }
}

fn variant(
    base: &ProcessDescription,
    chunking: &Chunking,
    domain: &ComplexDomain,
    kind: &str,
) -> Option<ProcessDescription> {
    let mut formats = playlists(domain);
    if chunking.overlap > 0 {
        // What tiles have in common is cut off GeoTIFFs.
        formats.retain(|format| format.of_chunks().is_some_and(|chunks| is_geotiff(&chunks)));
    }
    // Tiles that arrive one by one don't say which raster they are a partition of.
    if (kind == OUTPUT || chunking.cut == Cut::Features) && !chunking.is_fed {
        formats.extend(whole(chunking.cut).into_iter().take(1));
    }
    let result = OutputDescription {
        description: "A playlist: the addresses of the chunks, one after the other, as they come. Asked for in a format that is no playlist: \
                      all chunks joined, once the last one is there."
            .into(),
        // What becomes a layer is the joined whole.
        publication: base.output(&chunking.output).and_then(|output| output.publication.clone()),
        ..OutputDescription::new(RESULT, DataDescription::Complex(ComplexDomain { formats, bytes_max: None }))
    };
    let mut keywords = base.keywords.clone();
    keywords.push("streaming".into());
    Some(ProcessDescription {
        id: variant_id(&base.id, kind)?,
        keywords,
        outputs: vec![result],
        groups: base
            .groups
            .iter()
            .filter(|group| base.inputs.iter().any(|input| group.holds(&input.id)))
            .cloned()
            .collect(),
        chunking: None,
        on_agent_restart: None,
        ..base.clone()
    })
}

/// `default:gdal-contour` becomes `default:OutputStreamingGdalContour`.
fn variant_id(base: &ProcessId, kind: &str) -> Option<ProcessId> {
    let (namespace, name) =
        base.as_str().rsplit_once(':').map_or(("", base.as_str()), |(namespace, name)| (namespace, name));
    let words = name.split(|c: char| !c.is_alphanumeric()).map(|word| {
        let mut letters = word.chars();
        letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect::<String>()
    });
    let colon = if namespace.is_empty() { "" } else { ":" };
    ProcessId::new(format!("{namespace}{colon}{kind}{}", words.collect::<String>())).ok()
}

/// A playlist of chunks in each of the formats.
fn playlists(domain: &ComplexDomain) -> Vec<Format> {
    domain.formats.iter().map(Format::playlist_of).collect()
}

fn is_geotiff(format: &Format) -> bool {
    Convertible::of(&format.media_type) == Some(Convertible::Raster(RasterFormat::GeoTiff))
}

/// The formats of data that is cut here; chunks are joined in the first.
pub(crate) fn whole(cut: Cut) -> Vec<Format> {
    match cut {
        Cut::Features => {
            vec![
                Format::new(Format::GEOJSON),
                Format::new("application/json"),
                Format::new("application/geo+json-seq"),
                Format::new(Format::GEOJSON_2008),
            ]
        }
        Cut::Tiles => vec![Format::base64(Format::GEOTIFF)],
    }
}

fn count(id: &str, description: &str) -> InputDescription {
    input(id, description, between(1, None))
}

fn between(minimum: u64, maximum: Option<u64>) -> LiteralDomain {
    let range = AllowedValue::Range {
        minimum: Some(minimum.to_string()),
        maximum: maximum.map(|maximum| maximum.to_string()),
        closure: RangeClosure::Closed,
    };
    LiteralDomain { allowed: vec![range], ..LiteralDomain::any(LiteralType::Integer) }
}

fn input(id: &str, description: &str, domain: LiteralDomain) -> InputDescription {
    InputDescription {
        description: description.into(),
        ..InputDescription::new(id, Occurs::OPTIONAL, DataDescription::Literal(domain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_are_named_after_their_base() {
        let id =
            |base: &str| variant_id(&ProcessId::new(base).unwrap(), "OutputStreaming").unwrap().to_string();
        assert_eq!(id("simplify_douglas_peucker"), "OutputStreamingSimplifyDouglasPeucker");
        assert_eq!(id("default:gdaldem-hillshade"), "default:OutputStreamingGdaldemHillshade");
        assert_eq!(id("default:GdalContour"), "default:OutputStreamingGdalContour");
    }
}
