//! The `tcp` check.

use claw_core::ProbeOutcome;
use tokio::net::TcpStream;

use super::refusal;

/// Succeeds when a connection is accepted.
pub(super) async fn check(host: &str, port: u16) -> ProbeOutcome {
    match TcpStream::connect((host, port)).await {
        Ok(_connection) => ProbeOutcome::Success,
        Err(error) => refusal::outcome(&format!("cannot connect to {host}:{port}"), &error),
    }
}
