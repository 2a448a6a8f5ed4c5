//! `clawctl doctor`

use claw_daemon::config::{self, Environment};
use claw_drivers::process::Capabilities;
use owo_colors::OwoColorize;

use crate::args::{Global, Output};
use crate::exit::{Exit, Failure};
use crate::{locate, print};

/// Says what this machine can do for agents, and what it cannot.
///
/// # Errors
///
/// The machine cannot enforce limits at all.
pub(crate) fn run(global: &Global) -> Result<(), Failure> {
    let file = locate::fleet_file(global).ok();
    let data_dir = file.as_deref().map_or_else(std::env::temp_dir, |file| {
        config::data_dir_of(file, &Environment::variables_of_process())
    });
    let found = Capabilities::probe(&data_dir);
    if global.output != Output::Table {
        return print::document(&found, global.output);
    }
    print::line(&found.to_string())?;
    print::line("sandbox: none; agents are not locked in, and can do what their user can do")?;
    if let Some(file) = file {
        match config::load(&file, &Environment::of_process()) {
            Ok(loaded) => {
                let agents = loaded.fleet.agents.len();
                print::line(&format!(
                    "fleet file: {} is valid, {agents} agents",
                    file.display()
                ))?;
            }
            Err(diagnostics) => return Err(super::validate::report(&diagnostics, global.output)),
        }
    }
    if found.is_complete() {
        return print::line(
            &"everything a fleet may ask for can be had here"
                .green()
                .to_string(),
        );
    }
    Err(
        Failure::new(Exit::Failed, "some limits cannot be enforced here")
            .hint("agents that ask for them are refused; the lines above say why"),
    )
}
