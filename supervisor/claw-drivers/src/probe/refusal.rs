//! Whether a failed connection says something about the agent or about us.

use std::io;

use claw_core::ProbeOutcome;
use nix::libc;

/// Out of descriptors, ports or memory: the check was not made.
const OURS: [i32; 6] = [
    libc::EMFILE,
    libc::ENFILE,
    libc::ENOBUFS,
    libc::ENOMEM,
    libc::EAGAIN,
    libc::EADDRNOTAVAIL,
];

/// The outcome of an attempt to connect that failed.
pub(super) fn outcome(what: &str, error: &io::Error) -> ProbeOutcome {
    let text = format!("{what}: {error}");
    match error.raw_os_error() {
        Some(number) if OURS.contains(&number) => ProbeOutcome::Unknown(text),
        Some(_) | None => ProbeOutcome::Failure(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_out_of_descriptors_is_not_the_agents_failure() {
        let ours = io::Error::from_raw_os_error(libc::EMFILE);
        assert!(matches!(outcome("x", &ours), ProbeOutcome::Unknown(_)));
        let theirs = io::Error::from_raw_os_error(libc::ECONNREFUSED);
        assert!(matches!(outcome("x", &theirs), ProbeOutcome::Failure(_)));
    }
}
