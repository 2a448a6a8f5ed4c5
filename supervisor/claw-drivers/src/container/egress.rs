//! The way out of a container that reaches listed hosts: it has an empty network, in which
//! listeners are made that lead to the supervisor, as for a process.
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
use crate::sandbox::{Listeners, Taken, network};

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
        let (Some(changes), true) = (self.inner.egress.clone(), self.record.listens) else {
            return Ok(());
        };
        // It has ended already.
        if pid == 0 {
            return Ok(());
        }
        let container = id.to_owned();
        let taken = self.record.taken;
        let made = tokio::task::spawn_blocking(move || make(pid, &container, taken));
        let made = made
            .await
            .unwrap_or_else(|_ending| Err(io::ErrorKind::Interrupted.into()));
        let listeners = made.map_err(|error| refusal(&error))?;
        let instance = self.instance().clone();
        let opened = EgressChange::Opened {
            instance: instance.clone(),
            listeners: Some(listeners),
            models: None,
        };
        // A supervisor that is ending no longer listens.
        changes.send(opened).ok();
        self.way_out = Some(WayOut { changes, instance });
        Ok(())
    }
}

fn refusal(error: &io::Error) -> SpawnError {
    let way = if error.kind() == io::ErrorKind::PermissionDenied {
        "run the supervisor as root on the engine's own machine, or write `network: none` or `network: bridge`"
    } else {
        "it has to run on the supervisor's own machine"
    };
    SpawnError {
        stage: SpawnStage::Sandbox,
        errno: error.raw_os_error().unwrap_or(0),
        detail: format!(
            "`allowed_network` is set, and the container's network cannot be entered: {error}; {way}"
        ),
    }
}

/// Makes the listeners, on a thread that enters the network and ends with it.
fn make(pid: u32, container: &str, taken: Taken) -> io::Result<Listeners> {
    let network = File::open(format!("/proc/{pid}/ns/net"))?;
    // Asked after the network is open: from here on it is that of this container and no other.
    if !is_inside(pid, container) {
        return Err(io::Error::other("its processes are not on this machine"));
    }
    let inside = move || -> io::Result<Listeners> {
        nix::sched::setns(&network, CloneFlags::CLONE_NEWNET)?;
        network::loopback_up().map_err(|fault| fault.source)?;
        network::listen(taken).map_err(|fault| fault.source)
    };
    let thread = std::thread::Builder::new().name("claw-egress".to_owned());
    let made = thread.spawn(inside)?.join();
    made.unwrap_or_else(|_panic| Err(io::ErrorKind::Interrupted.into()))
}
