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
pub(crate) async fn run(global: &Global, client: &Client) -> Result<(), Failure> {
    let applied: Applied = client.post(routes::CONFIG_APPLY, None).await?;
    if global.output != Output::Table {
        return print::document(&applied, global.output);
    }
    print::line(&super::plan::text(
        &applied.changes,
        super::plan::Tense::Done,
    ))?;
    for agent in &applied.held_back {
        print::line(&format!(
            "{agent} was left as it was: `reload: hot` restarts nobody"
        ))?;
    }
    Ok(())
}
