//! Named points at which a test kills the process that comes there.
//!
//! Before and after each step that somebody relies on after a death stands such a point. A test
//! arms one with a file in the directory that the variable [`VARIABLE`] names:
//!
//! ```text
//!  before-intent@2 ──reached──► before-intent@1 ──reached──► before-intent@0 and SIGKILL
//! ```
//!
//! The file is renamed by whoever comes there, so that of all processes exactly one dies, the file
//! is the mark that it did, and its successor goes on with the same environment. A process that has
//! another root directory reaches none.
//!
//! They are there in builds that have the feature `failpoints` and debug assertions, and nothing is
//! left of them in any other. The crate `fail` does not fit: it counts and pauses inside of one
//! process and kills none, while what is to die here is mostly a fork that lives for a moment.

#[cfg(all(feature = "failpoints", debug_assertions))]
mod armed;
mod point;

pub use point::{Point, Side, Step};

#[cfg(all(feature = "failpoints", debug_assertions))]
pub use armed::{inherited, reach};

/// Names the directory in which points are armed.
pub const VARIABLE: &str = "CLAW_FAILPOINTS";

/// The largest number behind the `@` of a file: a point may be reached so often before it kills.
pub const MOST: u32 = 9;

/// Comes to the point before a step.
#[inline]
pub fn before(step: Step) {
    reach(Point {
        side: Side::Before,
        step,
    });
}

/// Comes to the point after a step.
#[inline]
pub fn after(step: Step) {
    reach(Point {
        side: Side::After,
        step,
    });
}

/// Comes to a point: does not return where a test has armed it.
#[cfg(not(all(feature = "failpoints", debug_assertions)))]
#[inline]
pub const fn reach(_point: Point) {}

/// What a process that is started with a cleared environment needs for its points.
#[cfg(not(all(feature = "failpoints", debug_assertions)))]
#[inline]
#[must_use]
pub const fn inherited() -> Option<(&'static str, std::ffi::OsString)> {
    None
}
