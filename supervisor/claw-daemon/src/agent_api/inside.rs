//! What an agent that is a container sees of the supervisor.
//!
//! ```text
//!  /run/openclaw/        read only: its socket and its config
//!  /run/openclaw-notify/ read only: the driver's socket for sd_notify
//!  /data/<name>/         one of its `data_dirs`, by the last part of its path
//! ```

use std::path::{Path, PathBuf};

use claw_core::spec::Launch;
use claw_core::spec::container::{Access, Mount, MountSource};

use crate::config::user_id;

/// Where a container sees its agent's socket.
pub(super) const API: &str = "/run/openclaw";

/// Places in a container that are the supervisor's.
pub(crate) const OURS_INSIDE: [&str; 2] = [API, "/run/openclaw-notify"];

/// Below which a container sees its agent's directories.
pub(crate) const DATA_INSIDE: &str = "/data";

/// The user of a container for which the file names none, with its group.
const USUAL_USER: (u32, u32) = (1000, 1000);

/// Has a container see its agent's directories and, at `api`, its socket. Does nothing for a
/// process.
pub(super) fn mount(launch: &mut Launch, api: PathBuf) {
    let Some(container) = &mut launch.container else {
        return;
    };
    let kept = launch.data_dirs.iter().filter_map(|path| {
        let target = Path::new(DATA_INSIDE).join(path.file_name()?);
        Some((path.clone(), target, Access::ReadWrite))
    });
    let ours = (api, PathBuf::from(API), Access::ReadOnly);
    let mounts = kept.chain([ours]).map(|(source, target, access)| Mount {
        source: MountSource::Path(source),
        target,
        access,
    });
    container.mounts.extend(mounts);
}

/// Whose a container's directories are. A user that only the image knows has none.
pub(super) fn owner(launch: &Launch) -> (u32, u32) {
    let user = launch.user.as_deref();
    user.and_then(user_id).unwrap_or(USUAL_USER)
}
