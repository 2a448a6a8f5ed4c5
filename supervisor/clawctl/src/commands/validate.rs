//! `clawctl validate`

use claw_daemon::config::{self, Diagnostics, Environment, Style};

use crate::args::{Global, Output};
use crate::exit::{Exit, Failure};
use crate::{locate, print};

/// Checks the fleet file and says all that is wrong with it.
///
/// # Errors
///
/// It has errors.
pub(crate) fn run(global: &Global) -> Result<(), Failure> {
    let file = locate::fleet_file(global)?;
    let loaded = config::load(&file, &Environment::of_process())
        .map_err(|diagnostics| report(&diagnostics, global.output))?;
    if !loaded.warnings.is_empty() {
        print::note(loaded.warnings.render(style()).trim_end());
    }
    let agents = loaded.fleet.agents.len();
    match global.output {
        Output::Table => print::line(&format!("{} is valid: {agents} agents", file.display())),
        Output::Json | Output::Yaml => print::document(
            &serde_json::json!({"valid": true, "agents": agents}),
            global.output,
        ),
    }
}

/// Prints what is wrong with a fleet file, where the format says, and makes the exit code of it.
pub(crate) fn report(diagnostics: &Diagnostics, output: Output) -> Failure {
    match output {
        Output::Table => print::note(diagnostics.render(style()).trim_end()),
        Output::Json | Output::Yaml => {
            let document = serde_json::json!({"valid": false, "errors": diagnostics.to_json()});
            if let Err(failure) = print::document(&document, output) {
                return failure;
            }
        }
    }
    Failure::silent(Exit::InvalidConfig)
}

/// Colour is taken out again where it does not belong, so it is always put in.
const fn style() -> Style {
    Style::Colored
}
