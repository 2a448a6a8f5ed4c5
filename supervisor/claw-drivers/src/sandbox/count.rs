//! Whether the kernel counts the processes of a namespace of users apart.

use std::io;

use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustix::process::{Pid, WaitOptions};

use crate::process::{Forked, fork_apart};

/// Tries it out, in the first process of new namespaces, which is alone there: at a limit of one
/// process no other can be made, and at one of two it can, however many the user has outside.
pub(super) fn attempt() -> Result<(), (String, i32)> {
    let failed = |errno: i32| ("RLIMIT_NPROC".to_owned(), errno);
    let (before, most) = getrlimit(Resource::RLIMIT_NPROC).map_err(|errno| failed(errno as i32))?;
    let at = |limit: u64| {
        setrlimit(Resource::RLIMIT_NPROC, limit.min(most), most)
            .map_err(io::Error::from)
            .and_then(|()| make_another())
    };
    let (one, two) = (at(1), at(2));
    setrlimit(Resource::RLIMIT_NPROC, before, most).map_err(|errno| failed(errno as i32))?;
    match (one, two) {
        (Ok(()), _) => Err(failed(libc::ENOTSUP)),
        (Err(_), Err(error)) => Err(failed(error.raw_os_error().unwrap_or(0))),
        (Err(_), Ok(())) => Ok(()),
    }
}

fn make_another() -> io::Result<()> {
    match fork_apart(0)? {
        Forked::Child => std::process::exit(0),
        Forked::Parent(pid) => {
            rustix::process::waitpid(Pid::from_raw(pid), WaitOptions::empty())?;
            Ok(())
        }
    }
}
