//! The way out of a container: listeners are made in its network that lead to the supervisor, as
//! for a process. One that reaches listed hosts has an empty network otherwise; one that calls
//! language models may have any of its own.
//!
//! The engine makes the network together with the container's first process, which may run for a
//! few milliseconds before the listeners are there; a connection is refused until then.

use std::fs::File;
use std::io;

use claw_core::{InstanceId, SpawnError, SpawnStage};
use nix::sched::CloneFlags;
use tokio::sync::mpsc;

use super::instance::Follower;
use super::usage::is_inside;
use crate::process::EgressChange;
use crate::sandbox::{Fault, Ports, Sockets, network};

/// A way out that is open; dropping it says that it is closed.
#[derive(Debug)]
pub(super) struct WayOut {
    changes: mpsc::UnboundedSender<EgressChange>,
    instance: InstanceId,
}

impl Drop for WayOut {
    fn drop(&mut self) {
        let instance = self.instance.clone();
        // A supervisor that is ending no longer listens.
        self.changes.send(EgressChange::Closed { instance }).ok();
    }
}

impl Follower {
    /// Opens the way out, if the container is to have one.
    pub(super) async fn open_way_out(&mut self, id: &str, pid: u32) -> Result<(), SpawnError> {
        let ports = self.record.ports();
        let Some(changes) = self.inner.egress.clone() else {
            return Ok(());
        };
        // Without a process it has ended already.
        if ports == Ports::default() || pid == 0 {
            return Ok(());
        }
        let container = id.to_owned();
        let made = tokio::task::spawn_blocking(move || make(pid, &container, ports));
        let made = made
            .await
            .unwrap_or_else(|_ending| Err(Missing::Entry(io::ErrorKind::Interrupted.into())));
        let sockets = made.map_err(|missing| missing.into_spawn_error(ports))?;
        let instance = self.instance().clone();
        let opened = EgressChange::Opened {
            instance: instance.clone(),
            listeners: sockets.hosts,
            models: sockets.models,
        };
        // A supervisor that is ending no longer listens.
        changes.send(opened).ok();
        self.way_out = Some(WayOut { changes, instance });
        Ok(())
    }
}

/// Why there are no listeners.
enum Missing {
    /// The network cannot be entered.
    Entry(io::Error),
    /// One cannot be made there, where the container's program may have been faster.
    Listener(Fault),
}

impl Missing {
    fn into_spawn_error(self, ports: Ports) -> SpawnError {
        match self {
            Self::Entry(error) => refusal(ports, &error),
            Self::Listener(fault) => fault.into_spawn_error(),
        }
    }
}

fn refusal(ports: Ports, error: &io::Error) -> SpawnError {
    let (wanted, instead) = match (ports.hosts, ports.models) {
        (Some(_), None) => (
            "`allowed_network` is set",
            ", or write `network: none` or `network: bridge`",
        ),
        (Some(_), Some(_)) => (
            "`allowed_network` is set and it calls language models",
            ", or run the agent as a process, without an `image`",
        ),
        (None, _) => (
            "it calls language models through its own network",
            ", or run the agent as a process, without an `image`",
        ),
    };
    let way = if error.kind() == io::ErrorKind::PermissionDenied {
        format!("run the supervisor as root on the engine's own machine{instead}")
    } else {
        "it has to run on the supervisor's own machine".to_owned()
    };
    SpawnError {
        stage: SpawnStage::Sandbox,
        errno: error.raw_os_error().unwrap_or(0),
        detail: format!("{wanted}, and the container's network cannot be entered: {error}; {way}"),
    }
}

/// Makes the listeners, on a thread that enters the network and ends with it.
fn make(pid: u32, container: &str, ports: Ports) -> Result<Sockets, Missing> {
    let network = File::open(format!("/proc/{pid}/ns/net")).map_err(Missing::Entry)?;
    // Asked after the network is open: from here on it is that of this container and no other.
    if !is_inside(pid, container) {
        let elsewhere = io::Error::other("its processes are not on this machine");
        return Err(Missing::Entry(elsewhere));
    }
    let inside = move || -> Result<Sockets, Missing> {
        let entered = nix::sched::setns(&network, CloneFlags::CLONE_NEWNET);
        entered.map_err(|errno| Missing::Entry(errno.into()))?;
        network::loopback_up().map_err(Missing::Listener)?;
        network::listen(ports).map_err(Missing::Listener)
    };
    let thread = std::thread::Builder::new().name("claw-egress".to_owned());
    let made = thread.spawn(inside).map_err(Missing::Entry)?.join();
    made.unwrap_or_else(|_panic| Err(Missing::Entry(io::ErrorKind::Interrupted.into())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Taken;

    #[test]
    fn a_network_that_cannot_be_entered_is_told_by_what_it_is_needed_for() {
        let told = |hosts, models| {
            let denied = io::ErrorKind::PermissionDenied.into();
            refusal(Ports { hosts, models }, &denied).detail
        };
        let (hosts, models) = (Some(Taken::All), Some(4141));
        let way = "run the supervisor as root on the engine's own machine, or";
        for (said, begin, instead) in [
            (
                told(hosts, None),
                "`allowed_network` is set, and the container's network",
                "write `network: none`",
            ),
            (
                told(hosts, models),
                "`allowed_network` is set and it calls language models, and the container's network",
                "run the agent as a process",
            ),
            (
                told(None, models),
                "it calls language models through its own network, and the container's network",
                "run the agent as a process",
            ),
        ] {
            assert!(said.starts_with(begin), "{said}");
            assert!(said.contains(&format!("{way} {instead}")), "{said}");
        }
    }
}
