//! What a point does where there are points.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;

use rustix::process::{Signal, getpid, kill_process};

use crate::{MOST, Point, VARIABLE};

/// Comes to a point: does not return where a test has armed it.
pub fn reach(point: Point) {
    if let Some(directory) = directory()
        && (1..=MOST).any(|left| took(directory, point, left))
    {
        die();
    }
}

/// What a process that is started with a cleared environment needs for its points.
#[must_use]
pub fn inherited() -> Option<(&'static str, OsString)> {
    let directory = directory()?.clone();
    Some((VARIABLE, directory.into()))
}

/// Read once: forks have what their parent had.
fn directory() -> Option<&'static PathBuf> {
    static DIRECTORY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let read = || std::env::var_os(VARIABLE).map(PathBuf::from);
    DIRECTORY.get_or_init(read).as_ref()
}

/// Counts the point down if so much is left of it; whether nothing is then.
fn took(directory: &std::path::Path, point: Point, left: u32) -> bool {
    let name = |left| directory.join(point.file(left));
    rustix::fs::rename(name(left), name(left - 1)).is_ok() && left == 1
}

fn die() -> ! {
    // The first process of a namespace is not killed by what it sends to itself; see below.
    kill_process(getpid(), Signal::KILL).ok();
    std::process::abort()
}
