//! Why a machine cannot do something, as far as that can be known.

use std::path::Path;

use claw_core::sandbox::{Lack, Privilege};
use nix::errno::Errno;
use nix::libc;

/// A call that failed, with what is known of the cause.
pub(super) fn lack(call: &str, errno: i32, privilege: Privilege) -> Lack {
    let error = if errno == 0 {
        "it did not answer".to_owned()
    } else {
        format!("{:?}", Errno::from_raw(errno))
    };
    let reason = match cause(call, errno, privilege) {
        Some(cause) => format!("{error}, {cause}"),
        None => error,
    };
    Lack {
        call: call.to_owned(),
        errno,
        reason,
    }
}

/// The setting that has the kernel make no namespaces, once it made none and said `errno`.
pub(crate) fn setting_against_namespaces(errno: i32) -> Option<String> {
    let privilege = if rustix::process::geteuid().is_root() {
        Privilege::Root
    } else {
        Privilege::User
    };
    matches!(errno, libc::EPERM | libc::ENOSPC)
        .then(|| switched_off(privilege))
        .flatten()
}

fn cause(call: &str, errno: i32, privilege: Privilege) -> Option<String> {
    match (call, errno) {
        ("landlock_create_ruleset", libc::ENOSYS) => Some("this kernel has none".to_owned()),
        ("landlock_create_ruleset", libc::EOPNOTSUPP) => {
            Some("it is not in the `lsm=` list of this kernel".to_owned())
        }
        ("seccomp", libc::ENOSYS | libc::EINVAL) => Some("this kernel has none".to_owned()),
        ("mkfs.ext4" | "e2fsck" | "resize2fs", _) => {
            Some("there is no such program; install e2fsprogs".to_owned())
        }
        ("fsopen", libc::ENODEV) => Some("this kernel has no ext4".to_owned()),
        ("open /dev/loop-control" | "open /dev/loop", libc::ENOENT) => {
            Some("there are no loop devices".to_owned())
        }
        ("open /dev/loop-control" | "open /dev/loop", libc::EPERM | libc::EACCES) => {
            Some("this container has no loop devices".to_owned())
        }
        ("LOOP_CONFIGURE", libc::EINVAL | libc::ENOTTY) => {
            Some("this kernel is older than 5.8".to_owned())
        }
        ("mount of an image", _) if privilege == Privilege::User => {
            Some("only root can".to_owned())
        }
        ("RLIMIT_NPROC", libc::EAGAIN) => Some(
            "this kernel counts the processes of a user everywhere; it is older than 5.14"
                .to_owned(),
        ),
        ("RLIMIT_NPROC", libc::ENOTSUP) => Some("it is not enforced here".to_owned()),
        ("mount_setattr", libc::ENOSYS) => Some("this kernel is older than 5.12".to_owned()),
        ("clone" | "setresuid" | "mount" | "move_mount" | "pivot_root", libc::EPERM)
        | ("clone", libc::ENOSPC | libc::EACCES | libc::EINVAL) => {
            switched_off(privilege).or_else(in_container)
        }
        _ => None,
    }
}

/// The kinds of namespaces that sandboxes are made of, each with a limit of its own
/// (`namespaces(7)`).
const KINDS: [&str; 6] = ["user", "mnt", "pid", "ipc", "uts", "net"];

/// A setting of the kernel's that forbids it.
fn switched_off(privilege: Privilege) -> Option<String> {
    let mut limits = KINDS
        .map(|kind| format!("max_{kind}_namespaces"))
        .into_iter();
    if let Some(limit) = limits.find(|limit| is(&format!("user/{limit}"), "0")) {
        return Some(format!("`user.{limit}` is 0"));
    }
    if privilege == Privilege::Root {
        return None;
    }
    let settings = [
        ("kernel/unprivileged_userns_clone", "0"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1"),
    ];
    let (name, value) = settings.into_iter().find(|(name, value)| is(name, value))?;
    Some(format!("`{}` is {value}", name.replace('/', ".")))
}

fn is(setting: &str, value: &str) -> bool {
    let text = std::fs::read_to_string(Path::new("/proc/sys").join(setting));
    text.is_ok_and(|text| text.trim() == value)
}

fn in_container() -> Option<String> {
    let marks = ["/.dockerenv", "/run/.containerenv"];
    let marked = marks.iter().any(|mark| Path::new(mark).exists());
    let group = std::fs::read_to_string("/proc/1/cgroup").unwrap_or_default();
    let engines = ["docker", "kubepods", "containerd", "libpod", "lxc"];
    let named = engines.iter().any(|engine| group.contains(engine));
    (marked || named).then(|| "this container has no user namespaces".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_named_and_explained() {
        let old = lack("mount_setattr", libc::ENOSYS, Privilege::Root);
        assert_eq!(
            old.to_string(),
            "mount_setattr: ENOSYS, this kernel is older than 5.12"
        );
        let plain = lack("ioctl", libc::EPERM, Privilege::Root);
        assert_eq!(plain.to_string(), "ioctl: EPERM");
        let silent = lack("clone", 0, Privilege::Root);
        assert_eq!(silent.to_string(), "clone: it did not answer");
    }
}
