//! Giving up what a process could do to others.

use std::io;

use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, setresgid, setresuid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::confinement::Limits;
use super::fault::Fault;

/// The user and the group that an agent is in its own namespace.
pub(crate) const INSIDE: u32 = 1000;

/// Becomes the user and group that a user namespace has. Without a root in it, that changes no
/// capabilities.
pub(crate) fn become_inside() -> Result<(), Fault> {
    let (uid, gid) = (Uid::from_raw(INSIDE), Gid::from_raw(INSIDE));
    setresgid(gid, gid, gid)
        .and_then(|()| setresuid(uid, uid, uid))
        .map_err(Fault::of("cannot become the user of the sandbox"))
}

/// Whether mounts can be made outside of namespaces of one's own.
pub(crate) fn may_mount() -> bool {
    let own = rustix::thread::capabilities(None);
    own.is_ok_and(|own| own.effective.contains(CapabilitySet::SYS_ADMIN))
}

/// Takes all capabilities out of reach of what is executed next. Only who has the right to can;
/// for others it changes nothing, since nothing can be gained any more after [`forbid_gain`].
pub(crate) fn empty_bounding_set() {
    for number in 0..u64::BITS {
        let Some(one) = CapabilitySet::from_bits(1 << number) else {
            continue;
        };
        // The first number that the kernel does not know ends the list.
        match rustix::thread::remove_capability_from_bounding_set(one) {
            Ok(()) => {}
            Err(_) => return,
        }
    }
}

/// Gives up all capabilities.
pub(crate) fn drop_capabilities() -> Result<(), Fault> {
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    // Kernels without ambient capabilities have none to clear.
    rustix::thread::clear_ambient_capability_set().ok();
    rustix::thread::set_capabilities(None, none).map_err(Fault::of("cannot give up capabilities"))
}

/// Nothing that is executed from here on gains anything by its file.
pub(crate) fn forbid_gain() -> Result<(), Fault> {
    rustix::thread::set_no_new_privs(true).map_err(Fault::of("cannot forbid new privileges"))
}

/// Hides this process from those of the same user.
pub(crate) fn hide() -> io::Result<()> {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Sets what each process may use.
pub(crate) fn limit(limits: Limits) -> Result<(), Fault> {
    let set = |which, wanted: u64, what: &str| {
        // What somebody limited further down stays as it is.
        let (_, most) = nix::sys::resource::getrlimit(which).unwrap_or((0, libc::RLIM_INFINITY));
        let value = wanted.min(most);
        setrlimit(which, value, value).map_err(Fault::of(format!("cannot limit {what}")))
    };
    set(Resource::RLIMIT_NOFILE, limits.nofile, "open files")?;
    if let Some(fsize) = limits.fsize {
        set(Resource::RLIMIT_FSIZE, fsize, "the size of files")?;
    }
    if let Some(most) = limits.processes {
        set(Resource::RLIMIT_NPROC, most.into(), "processes")?;
    }
    Ok(())
}
