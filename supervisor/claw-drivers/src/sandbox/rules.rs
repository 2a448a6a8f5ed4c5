//! Landlock: a second wall, of rules about files, and about ports where there is no better one.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath,
    PathFd, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, Scope as Outside,
};

use super::confinement::{Rules, Scope, Tcp};
use super::fault::Fault;

/// The newest version that is made use of. What of it a kernel does not know is left out.
const VERSION: ABI = ABI::V6;

/// What a directory is written to with: anything but devices.
fn writing() -> BitFlags<AccessFs> {
    AccessFs::from_all(VERSION) & !(AccessFs::MakeChar | AccessFs::MakeBlock)
}

fn reading() -> BitFlags<AccessFs> {
    AccessFs::from_read(VERSION)
}

/// Confines this process and what it makes to the rules.
pub(crate) fn apply(rules: &Rules) -> Result<(), Fault> {
    let build = || -> Result<(), landlock::RulesetError> {
        let mut ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(VERSION))?;
        if rules.scope == Scope::Closed {
            ruleset = ruleset.scope(Outside::AbstractUnixSocket | Outside::Signal)?;
        }
        if let Tcp::To(_) = rules.tcp {
            // Without these rules it would reach every host.
            ruleset = ruleset
                .set_compatibility(CompatLevel::HardRequirement)
                .handle_access(AccessNet::BindTcp | AccessNet::ConnectTcp)?
                .set_compatibility(CompatLevel::BestEffort);
        }
        let mut created = ruleset.create()?;
        if let Tcp::To(port) = rules.tcp {
            created = created.add_rule(NetPort::new(port, AccessNet::ConnectTcp))?;
        }
        for path in &rules.readable {
            created = allow(created, path, reading())?;
        }
        for path in &rules.writable {
            created = allow(created, path, writing())?;
        }
        created.restrict_self().map(drop)
    };
    build().map_err(|error| Fault {
        what: "cannot apply Landlock's rules".to_owned(),
        source: std::io::Error::other(error),
    })
}

/// A path that is not there needs no rule: nothing can be done with it.
fn allow(
    created: RulesetCreated,
    path: &PathBuf,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, landlock::RulesetError> {
    let Ok(opened) = PathFd::new(path) else {
        return Ok(created);
    };
    let access = if path.is_dir() {
        access
    } else {
        access & AccessFs::from_file(VERSION)
    };
    created.add_rule(PathBeneath::new(opened, access))
}

/// The rules of a process with a root directory of its own: all of it is there to be read. What a
/// process could write to in `/proc` is how it counts when memory runs out.
pub(crate) fn inside<'a>(writable: impl Iterator<Item = &'a Path>, tcp: Tcp) -> Rules {
    let own = [
        "/tmp",
        "/dev/shm",
        "/dev/null",
        "/dev/zero",
        "/dev/full",
        "/dev/random",
        "/dev/urandom",
    ];
    Rules {
        readable: vec![PathBuf::from("/")],
        writable: own
            .into_iter()
            .map(PathBuf::from)
            .chain(writable.map(Path::to_owned))
            .collect(),
        scope: Scope::Closed,
        tcp,
    }
}

/// The version of the kernel's interface.
///
/// # Errors
///
/// There is none, or it is switched off.
pub(crate) fn version() -> std::io::Result<u32> {
    /// `LANDLOCK_CREATE_RULESET_VERSION`.
    const ASK: u32 = 1;
    // SAFETY: with no attributes and this flag the call reads no memory and answers with a number.
    let answer = unsafe {
        nix::libc::syscall(
            nix::libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0_usize,
            ASK,
        )
    };
    u32::try_from(answer).map_err(|_negative| std::io::Error::last_os_error())
}
