//! cgroups: limits that hold, trees that can be killed whole, counters that tell the truth.
//!
//! ```text
//!  v2       /sys/fs/cgroup/<ours>/openclaw/<project>/<agent>-<generation>      one group for all
//!  hybrid   /sys/fs/cgroup/unified/<ours>/openclaw/…   kill, freeze, emptiness, processor time
//!           /sys/fs/cgroup/{memory,cpu,pids}/openclaw/…                        limits
//!  v1       /sys/fs/cgroup/freezer/openclaw/…          kill by freeze, signal, thaw
//!           /sys/fs/cgroup/{memory,cpu,pids}/openclaw/…                        limits
//!  none     nothing; the shim walks its descendants
//! ```
//!
//! Which one is used is found out by doing it once at start: making a group, writing to it,
//! entering it, removing it. What the backend cannot enforce is refused, never left out.

mod capabilities;
mod detect;
mod file;
mod foreign;
mod group;
mod mounts;
mod v1;
mod v2;

pub use capabilities::{Backend, Capabilities, Enforcement, KillMethod};
pub use detect::CgroupChoice;
pub(crate) use detect::Cgroups;
pub(crate) use file::CgroupError;
pub(crate) use foreign::usage_of_process;
pub(crate) use group::{Entrances, Group};
