//! Trying out what can be done, in a process that is there for nothing else.

use std::fs::File;
use std::io::{self, Write};

use claw_core::sandbox::{Abilities, Ability, Lack, Privilege};
use nix::libc;
use serde::{Deserialize, Serialize};

use super::causes::lack;
use super::confinement::{Filter, Internet, Otherwise};
use super::{filter, network, privileges, root_dir, rules};
use crate::process::{Forked, fork_apart};

/// What a process in new namespaces found it could do; each by call and error number.
#[derive(Debug, Serialize, Deserialize)]
struct Inside {
    user: Attempt,
    root_dir: Attempt,
    proc: Attempt,
    network: Attempt,
}

type Attempt = Result<(), (String, i32)>;

/// Everything but the network.
const KINDS: libc::c_int = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS;

/// Tries everything once and prints the [`Abilities`] as JSON; the exit code.
pub(crate) fn run() -> u8 {
    let text = serde_json::to_vec(&abilities()).unwrap_or_default();
    match io::stdout().write_all(&text) {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

fn abilities() -> Abilities {
    let privilege = if rustix::process::geteuid().is_root() {
        Privilege::Root
    } else {
        Privilege::User
    };
    let (namespaces, inside) = match in_namespaces(KINDS | libc::CLONE_NEWNET) {
        Ok(inside) => (Ok(()), inside),
        // Perhaps it is the network alone that cannot be had.
        Err(with_network) => match in_namespaces(KINDS) {
            Ok(mut inside) => {
                inside.network = Err(failed("clone", &with_network));
                (Ok(()), inside)
            }
            Err(error) => {
                let missing = Err(failed("clone", &error));
                let inside = Inside {
                    user: Ok(()),
                    root_dir: missing.clone(),
                    proc: missing.clone(),
                    network: missing.clone(),
                };
                (missing, inside)
            }
        },
    };
    let ability = |attempt: Attempt| -> Ability {
        attempt.map_err(|(call, errno)| lack(&call, errno, privilege))
    };
    let landlock = rules::version().map_err(|error| failed("landlock_create_ruleset", &error));
    Abilities {
        privilege,
        namespaces: ability(namespaces.and(inside.user)),
        root_dir: ability(inside.root_dir),
        proc: ability(inside.proc),
        network: ability(inside.network),
        landlock: landlock.map_err(|(call, errno)| lack(&call, errno, privilege)),
        seccomp: ability(in_child(try_filter)),
        quota: Err(Lack {
            call: "mount".to_owned(),
            errno: libc::ENOSYS,
            reason: "there are no file systems of a fixed size yet".to_owned(),
        }),
    }
}

fn failed(call: &str, error: &io::Error) -> (String, i32) {
    (call.to_owned(), error.raw_os_error().unwrap_or(0))
}

/// Makes the namespaces and tries out in them what a sandbox needs.
fn in_namespaces(kinds: libc::c_int) -> io::Result<Inside> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    match fork_apart(kinds)? {
        Forked::Child => {
            drop(ours);
            let inside = look_around(&theirs);
            let text = serde_json::to_vec(&inside).unwrap_or_default();
            // A parent that got nothing says so.
            (&theirs).write_all(&text).ok();
            std::process::exit(0)
        }
        Forked::Parent(pid) => {
            drop(theirs);
            map_own_user(pid)?;
            (&ours).write_all(b"g")?;
            ours.shutdown(std::net::Shutdown::Write)?;
            let inside = serde_json::from_reader(&ours);
            wait_for(pid);
            inside.map_err(io::Error::other)
        }
    }
}

fn look_around(parent: &std::os::unix::net::UnixStream) -> Inside {
    let begun = io::Read::read_exact(&mut { parent }, &mut [0])
        .map_err(|error| failed("clone", &error))
        .and_then(|()| {
            privileges::become_inside().map_err(|fault| failed("setresuid", &fault.source))
        });
    let network = network::loopback_up()
        .map(drop)
        .map_err(|fault| failed("ioctl", &fault.source));
    let proc = root_dir::try_proc().map_err(|error| failed("mount", &error));
    let root_dir = root_dir::try_mounts().map_err(|(call, error)| failed(call, &error));
    Inside {
        user: begun,
        root_dir,
        proc,
        network,
    }
}

/// What the shim does for a sandbox, with the user that everybody may map: one's own.
fn map_own_user(pid: i32) -> io::Result<()> {
    let inside = privileges::INSIDE;
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let write = |file: &str, text: String| {
        let path = format!("/proc/{pid}/{file}");
        let mut file = File::options().write(true).open(path)?;
        file.write_all(text.as_bytes())
    };
    write("setgroups", "deny".to_owned())?;
    write("gid_map", format!("{inside} {} 1", gid.as_raw()))?;
    write("uid_map", format!("{inside} {} 1", uid.as_raw()))
}

fn try_filter() -> Attempt {
    let usual = Filter {
        otherwise: Otherwise::Fail,
        also: Vec::new(),
        internet: Internet::Allowed,
    };
    privileges::forbid_gain()
        .and_then(|()| filter::install(&usual))
        .map_err(|fault| failed("seccomp", &fault.source))
}

/// Tries in a process what cannot be undone.
fn in_child(attempt: impl FnOnce() -> Attempt) -> Attempt {
    let tried = || -> io::Result<Attempt> {
        let (ours, theirs) = io::pipe()?;
        match fork_apart(0)? {
            Forked::Child => {
                let text = serde_json::to_vec(&attempt()).unwrap_or_default();
                (&theirs).write_all(&text).ok();
                std::process::exit(0)
            }
            Forked::Parent(pid) => {
                drop(theirs);
                let answer = serde_json::from_reader(&ours);
                wait_for(pid);
                answer.map_err(io::Error::other)
            }
        }
    };
    tried().unwrap_or_else(|error| Err(failed("fork", &error)))
}

fn wait_for(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid);
    // Its answer is all that is of interest.
    rustix::process::waitpid(pid, rustix::process::WaitOptions::empty()).ok();
}
