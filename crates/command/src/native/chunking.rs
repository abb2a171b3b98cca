//! `[chunking]`: what the executable does with a part of its input does not depend on the other parts; or it is fed all of them.

use super::section::Section;
use crate::report::Findings;
use crate::service::{FRAMINGS, StdinRule};
use anabranch_formats::Convertible;
use anabranch_formats::playlist::features::Framing;
use anabranch_formats::vector::VectorFormat;
use anabranch_model::{Chunking, Cut, DataDescription, InputDescription, OutputDescription};

/// Most cells that tiles may overlap on each side: a tile of 256 cells is read 9 times then.
const OVERLAP_MAX: u64 = 256;

pub(super) fn read(
    findings: &mut Findings,
    root: &mut Section<'_>,
    inputs: &[InputDescription],
    outputs: &[OutputDescription],
) -> Option<(Chunking, Option<StdinRule>)> {
    let mut section = root.section(findings, "chunking")?;
    let is_complex = |data: &DataDescription| matches!(data, DataDescription::Complex(_));
    let cut_inputs = section.strings(findings, "inputs");
    if cut_inputs.is_empty() {
        section.fault(findings, &section.span, "inputs is missing: which of them are cut");
    }
    for at in &cut_inputs {
        match inputs.iter().find(|input| input.id == at.value) {
            None => section.fault(findings, &at.span, format!("there is no input '{}'", at.value)),
            Some(input) if !is_complex(&input.data) => {
                section.fault(
                    findings,
                    &at.span,
                    format!("only complex data can be cut, and input '{}' is none", at.value),
                );
            }
            Some(input) if input.occurs.is_many() => {
                let text = format!("input '{}' may have several values, and one is cut", at.value);
                section.fault(findings, &at.span, text);
            }
            Some(_) => {}
        }
    }
    let output = section.string(findings, "output");
    match &output {
        None => section.fault(findings, &section.span, "output is missing: which of them comes in pieces"),
        Some(at) => match outputs.iter().find(|output| output.id == at.value) {
            None => section.fault(findings, &at.span, format!("there is no output '{}'", at.value)),
            Some(output) if !is_complex(&output.data) => {
                let text = format!("only complex data can come in pieces, and output '{}' is none", at.value);
                section.fault(findings, &at.span, text);
            }
            Some(_) => {}
        },
    }
    let cut = section.string(findings, "cut");
    let kind = match cut.as_ref().map(|at| at.value) {
        Some("features") => Some(Cut::Features),
        Some("tiles") => Some(Cut::Tiles),
        Some(other) => {
            let text = format!("cut must be \"features\" or \"tiles\", not {other:?}");
            let span = cut.as_ref().map_or(&section.span, |at| &at.span).clone();
            section.fault(findings, &span, text);
            None
        }
        None => {
            section.fault(findings, &section.span, "cut is missing: \"features\" or \"tiles\"");
            None
        }
    };
    if kind == Some(Cut::Features)
        && let [_, second, ..] = cut_inputs.as_slice()
    {
        section.fault(findings, &second.span, "features of one input can be cut, not of several");
    }
    let overlap = overlap(findings, &mut section, kind);
    let framing = stdin(findings, &mut section, kind);
    let inputs_cut: Vec<_> = cut_inputs.into_iter().map(|at| at.value.to_owned()).collect();
    let stdin =
        framing.zip(inputs_cut.first()).map(|(framing, input)| StdinRule { input: input.clone(), framing });
    if let Some(stdin) = &stdin {
        check_records(findings, &section, inputs, &stdin.input);
    }
    section.finish(findings);
    let chunking = Chunking::new(inputs_cut, output?.value, kind?);
    Some((Chunking { overlap, is_fed: stdin.is_some(), ..chunking }, stdin))
}

fn overlap(findings: &mut Findings, section: &mut Section<'_>, cut: Option<Cut>) -> u32 {
    let Some(at) = section.count(findings, "overlap") else { return 0 };
    if cut == Some(Cut::Features) {
        section.fault(findings, &at.span, "overlap goes with tiles only");
    }
    if at.value > OVERLAP_MAX {
        section.fault(findings, &at.span, format!("overlap must be at most {OVERLAP_MAX} cells"));
    }
    u32::try_from(at.value).unwrap_or(0)
}

fn stdin(findings: &mut Findings, section: &mut Section<'_>, cut: Option<Cut>) -> Option<Framing> {
    let at = section.string(findings, "stdin")?;
    if cut == Some(Cut::Tiles) {
        section.fault(findings, &at.span, "stdin goes with features only");
    }
    let framing = FRAMINGS.iter().find(|(_, name)| *name == at.value).map(|(framing, _)| *framing);
    if framing.is_none() {
        let text = format!("stdin must be \"geojsonseq\" or \"ndjson\", not {:?}", at.value);
        section.fault(findings, &at.span, text);
    }
    framing
}

/// Records are made of GeoJSON in degrees: other systems are named by collections, which records have none of.
fn check_records(findings: &mut Findings, section: &Section<'_>, inputs: &[InputDescription], id: &str) {
    let Some(input) = inputs.iter().find(|input| input.id == id) else { return };
    let DataDescription::Complex(domain) = &input.data else { return };
    for format in &domain.formats {
        let known = Convertible::of(&format.media_type);
        let is_geojson =
            matches!(known, Some(Convertible::Vector(VectorFormat::GeoJson | VectorFormat::GeoJsonSeq)));
        if !is_geojson {
            let text =
                format!("input '{id}' comes on standard input as GeoJSON: {:?} is none", format.media_type);
            section.fault(findings, &section.span, text);
        }
    }
}
