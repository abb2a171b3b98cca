//! Built-in processes, one file each.
//!
//! An algorithm can't know who called it: it reads bound inputs, pushes into a sink, and knows no protocol, no runtime and no
//! job store. What runs on the CPU is an [`Algorithm`] (a plain function on a thread of its own); what only waits and copies
//! is a [`Process`].
//!
//! Read these three first: [`SimplifyDouglasPeucker`] (an algorithm), [`Echo`] (a process), [`all_algorithms`].

mod batches;
mod describe;
mod echo;
mod ndwi;
mod progress;
mod refusal;
mod result_writer;
mod simplify_douglas_peucker;
mod snap_points_to_lines;
#[cfg(test)]
mod test_sink;

pub use echo::{Echo, EchoInputs};
pub use ndwi::Ndwi;
pub use simplify_douglas_peucker::SimplifyDouglasPeucker;
pub use snap_points_to_lines::SnapPointsToLines;

use anabranch_model::{Algorithm, Process};
use std::sync::Arc;

/// Every built-in that computes, to be run on a pool for the CPU.
#[must_use]
pub fn all_algorithms() -> Vec<Arc<dyn Algorithm>> {
    vec![Arc::new(Ndwi::new()), Arc::new(SimplifyDouglasPeucker::new()), Arc::new(SnapPointsToLines::new())]
}

/// Every built-in that only waits and copies.
#[must_use]
pub fn all_processes() -> Vec<Arc<dyn Process>> {
    vec![Arc::new(Echo::new()), Arc::new(Echo::for_wps_2_0_suite())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_unique_and_descriptions_complete() {
        let algorithms = all_algorithms().into_iter().map(|algorithm| algorithm.description());
        let descriptions: Vec<_> =
            algorithms.chain(all_processes().into_iter().map(|process| process.description())).collect();
        let mut ids: Vec<_> = descriptions.iter().map(|description| description.id.as_str()).collect();
        ids.sort_unstable();
        let expected = [
            "echo",
            "ndwi",
            "org.n52.javaps.test.EchoProcess",
            "simplify_douglas_peucker",
            "snap_points_to_lines",
        ];
        assert_eq!(ids, expected);
        for description in descriptions {
            assert!(!description.title.is_empty() && !description.description.is_empty());
            assert!(!description.keywords.is_empty() && !description.outputs.is_empty());
            for input in &description.inputs {
                assert!(!input.title.is_empty() && !input.description.is_empty(), "{}", input.id);
            }
        }
    }
}
