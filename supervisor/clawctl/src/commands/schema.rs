//! `clawctl schema`

use claw_daemon::config;

use crate::args::Output;
use crate::exit::Failure;
use crate::print;

/// Prints the JSON Schema of the fleet file.
///
/// # Errors
///
/// Standard output is closed.
pub(crate) fn run() -> Result<(), Failure> {
    print::document(&config::schema(), Output::Json)
}
