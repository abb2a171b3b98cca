//! `[chunking]`: what the executable does with a part of its input does not depend on the other parts.

use super::section::Section;
use crate::report::Findings;
use anabranch_model::{Chunking, Cut, DataDescription, InputDescription, OutputDescription};

pub(super) fn read(
    findings: &mut Findings,
    root: &mut Section<'_>,
    inputs: &[InputDescription],
    outputs: &[OutputDescription],
) -> Option<Chunking> {
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
    section.finish(findings);
    Some(Chunking {
        inputs: cut_inputs.into_iter().map(|at| at.value.to_owned()).collect(),
        output: output?.value.to_owned(),
        cut: kind?,
    })
}
