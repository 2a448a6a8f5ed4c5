//! The `tcp` check.

use super::reach::Reach;
use super::refusal;
use claw_core::ProbeOutcome;

/// Succeeds when a connection is accepted.
pub(super) async fn check(reach: &Reach, host: &str, port: u16) -> ProbeOutcome {
    match reach.connect(host, port).await {
        Ok(_connection) => ProbeOutcome::Success,
        Err(error) => refusal::outcome(&format!("cannot connect to {host}:{port}"), &error),
    }
}
