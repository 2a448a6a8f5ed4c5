//! How many descriptors the supervisor may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Below this, a fleet of some size comes to its end: most agents take three, and those with a
/// proxy or models more.
const FEW: u64 = 1024;

/// Takes as many as it may have (`RLIMIT_NOFILE`, getrlimit(2)); the soft limit is there for
/// programs that call select(2). Agents have the limit that the supervisor was started with: they
/// are children of the spawner, which was there before. Returns a word where even that is little.
pub(crate) fn take_all() -> Option<String> {
    let given = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: given.maximum,
        maximum: given.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, all) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    let most = most();
    (most < FEW).then(|| {
        format!(
            "the supervisor may have {most} files open at once (`ulimit -Hn`): agents that it has no room for are not started"
        )
    })
}

/// How many may be open now.
pub(crate) fn most() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
