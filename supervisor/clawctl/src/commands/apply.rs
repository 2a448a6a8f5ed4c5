//! `clawctl apply`

use claw_daemon::api::{Applied, routes};

use crate::args::{Global, Output};
use crate::client::Client;
use crate::exit::Failure;
use crate::print;

/// Puts the fleet file in force.
///
/// # Errors
///
/// No supervisor answers, or the fleet file has errors; nothing was changed then.
pub async fn run(global: &Global, client: &Client) -> Result<(), Failure> {
    let applied: Applied = client.post(routes::CONFIG_APPLY, None).await?;
    if global.output != Output::Table {
        return print::document(&applied, global.output);
    }
    let parts = [("added", &applied.added), ("changed", &applied.changed), ("removed", &applied.removed)];
    let said: Vec<String> = parts
        .iter()
        .filter(|(_, agents)| !agents.is_empty())
        .map(|(what, agents)| format!("{what}: {}", agents.join(", ")))
        .collect();
    print::line(&if said.is_empty() { "nothing changed".to_owned() } else { said.join("\n") })
}
