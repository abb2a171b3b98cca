//! The program `anabranch-agent`: all that a compute machine needs.

use std::process::ExitCode;

fn main() -> ExitCode {
    anabranch::anabranch_agent()
}
