//! The processes of 52°North's Streaming based WPS of 2012, and the plain ones they were made of, under their names: ours, with the identifiers,
//! formats and cardinalities that clients of that time know.

use crate::parameters::OF_2012;
use crate::renamed::{Names, Renamed};
use anabranch_model::{
    ComplexDomain, DataDescription, Format, LiteralDomain, Occurs, Process, ProcessDescription, ProcessId,
};
use std::sync::Arc;

/// A process of 2012.
struct Old {
    /// Its identifier, which was its title too.
    id: &'static str,
    /// Ours.
    ours: &'static str,
    inputs: &'static [(&'static str, &'static str)],
    output: (&'static str, &'static str),
    kind: Kind,
}

enum Kind {
    Vector,
    Raster,
}

#[rustfmt::skip]
const ALL_OLD: [Old; 6] = [
    Old { id: "org.n52.wps.server.algorithm.simplify.DouglasPeuckerAlgorithm", ours: "simplify_douglas_peucker",
          inputs: &[("FEATURES", "data"), ("TOLERANCE", "tolerance")], output: ("SIMPLIFIED_FEATURES", "result"), kind: Kind::Vector },
    Old { id: "org.n52.wps.server.algorithm.streaming.OutputStreamingSimplifyDouglasPeucker", ours: "OutputStreamingSimplifyDouglasPeucker",
          inputs: &[("FEATURES", "data"), ("TOLERANCE", "tolerance")], output: ("result", "result"), kind: Kind::Vector },
    Old { id: "org.n52.wps.server.algorithm.SnapPointsToLinesAlgorithm", ours: "snap_points_to_lines",
          inputs: &[("Points", "points"), ("Lines", "lines"), ("MaximumDistance", "max_distance")], output: ("result", "result"), kind: Kind::Vector },
    Old { id: "org.n52.wps.server.algorithm.streaming.FullStreamingSnapPointsToLines", ours: "FullStreamingSnapPointsToLines",
          inputs: &[("Points", "points"), ("Lines", "lines"), ("MaximumDistance", "max_distance")], output: ("result", "result"), kind: Kind::Vector },
    Old { id: "org.n52.wps.server.algorithm.raster.ndwi", ours: "ndwi",
          inputs: &[("NIR", "nir"), ("SWIR", "swir")], output: ("NDWI", "result"), kind: Kind::Raster },
    Old { id: "org.n52.wps.server.algorithm.streaming.OutputStreamingNDWI", ours: "OutputStreamingNdwi",
          inputs: &[("NIR", "nir"), ("SWIR", "swir")], output: ("result", "result"), kind: Kind::Raster },
];

/// The process of 2012 that one of ours is; `None` where it is none.
pub(crate) fn of(ours: &Arc<dyn Process>) -> Option<Arc<dyn Process>> {
    let description = ours.description();
    let old = ALL_OLD.iter().find(|old| old.ours == description.id.as_str())?;
    let described = old.describe(&description)?;
    let owned = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
    let names = Names { inputs: old.inputs.iter().map(owned).collect(), outputs: vec![owned(&old.output)] };
    Some(Arc::new(Renamed::new(described, Arc::clone(ours), names)))
}

impl Old {
    fn describe(&self, ours: &ProcessDescription) -> Option<ProcessDescription> {
        let mut described = ours.clone();
        described.id = ProcessId::new(self.id).ok()?;
        self.id.clone_into(&mut described.title);
        described.chunking = None;
        // What was not there in 2012 keeps its default.
        described.inputs.retain(|input| {
            OF_2012.contains(&input.id.as_str()) || self.inputs.iter().any(|(_, inner)| *inner == input.id)
        });
        for input in &mut described.inputs {
            if let Some((outer, _)) = self.inputs.iter().find(|(_, inner)| *inner == input.id) {
                (*outer).clone_into(&mut input.id);
            }
            input.title.clone_from(&input.id);
            input.description.clear();
            input.occurs = Occurs::ONE;
            match &mut input.data {
                DataDescription::Complex(domain) => {
                    let is_playlist = domain.formats.first().is_some_and(Format::is_playlist);
                    domain.formats = self.formats(is_playlist, Side::Input);
                }
                DataDescription::Literal(LiteralDomain { default, .. }) => *default = None,
                DataDescription::BoundingBox(_) => {}
            }
        }
        let output = described.outputs.iter_mut().find(|output| output.id == self.output.1)?;
        self.output.0.clone_into(&mut output.id);
        output.title.clone_from(&output.id);
        output.description.clone_from(&output.id);
        if let DataDescription::Complex(ComplexDomain { formats, .. }) = &mut output.data {
            let is_playlist = formats.first().is_some_and(Format::is_playlist);
            *formats = self.formats(is_playlist, Side::Output);
        }
        let DataDescription::Complex(_) = &output.data else { return None };
        described.outputs.truncate(1);
        Some(described)
    }

    /// The formats of 2012 that were more than names: the default first. Playlists of vectors had other defaults as inputs than as outputs.
    fn formats(&self, is_playlist: bool, side: Side) -> Vec<Format> {
        let gml = |media_type: &str, version: &str| Format {
            schema: Some(format!("http://schemas.opengis.net/gml/{version}/feature.xsd")),
            ..Format::new(media_type)
        };
        const GML_2: &str = "text/xml; subtype=gml/2.1.2";
        const GML_2_1: &str = "text/xml; subtype=gml/2.1.2.1";
        let formats = match (&self.kind, is_playlist, side) {
            (Kind::Vector, false, _) => vec![gml(GML_2, "2.1.2"), gml("text/xml", "2.1.2")],
            (Kind::Vector, true, Side::Input) => vec![
                gml("text/xml", "2.1.2.1"),
                gml("text/xml", "2.1.2"),
                gml(GML_2, "2.1.2"),
                gml(GML_2_1, "2.1.2.1"),
            ],
            (Kind::Vector, true, Side::Output) => vec![
                gml(GML_2, "2.1.2"),
                gml(GML_2_1, "2.1.2.1"),
                gml("text/xml", "2.1.2.1"),
                gml("text/xml", "2.1.2"),
            ],
            (Kind::Raster, false, _) => vec![Format::base64("image/tiff")],
            (Kind::Raster, true, _) => {
                ["image/tiff", "image/geotiff", "application/geotiff", "application/x-geotiff"]
                    .map(Format::base64)
                    .into()
            }
        };
        if is_playlist { formats.iter().map(Format::playlist_of).collect() } else { formats }
    }
}

#[derive(Clone, Copy)]
enum Side {
    Input,
    Output,
}
