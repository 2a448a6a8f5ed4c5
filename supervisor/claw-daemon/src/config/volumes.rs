//! `volumes:` — what a container sees of the host.

use std::path::Path;

use claw_core::spec::container::{Access, Mount, MountSource};

use super::container::Places;
use super::diagnostic::Code;
use super::include::lexical;
use super::item::{Fields, Item};
use super::keys_container::VOLUME;
use super::reader::Reader;
use super::tree::Value;

const FORM: &str = "write `SOURCE:TARGET` or `SOURCE:TARGET:ro`, such as `./data:/data`";

/// Sockets of container engines: whoever has one is root of the machine.
const ENGINE_SOCKETS: [&str; 8] = [
    "docker.sock",
    "docker-cli.sock",
    "podman.sock",
    "containerd.sock",
    "containerd.sock.ttrpc",
    "crio.sock",
    "buildkitd.sock",
    "dockershim.sock",
];

/// Directories of the machine itself, with all that lies below them.
const WITH_ALL_BELOW: [&str; 9] = [
    "/proc",
    "/sys",
    "/dev",
    "/boot",
    "/run/containerd",
    "/run/docker",
    "/run/podman",
    "/var/lib/docker",
    "/var/lib/containerd",
];

/// Directories that hold sockets of the machine, or all of it.
const THEMSELVES: [&str; 5] = ["/", "/run", "/var/run", "/var", "/etc"];

impl Reader<'_> {
    /// Reads what a container sees of the host.
    pub(super) fn volumes<'n>(
        &mut self,
        fields: &Fields<'n>,
        places: &mut Places<'n>,
    ) -> Vec<Mount> {
        let Some(item) = fields.get("volumes") else {
            return Vec::new();
        };
        let Some(items) = item.elements() else {
            self.wrong_type(&item, "a list");
            return Vec::new();
        };
        let mut mounts = Vec::new();
        for item in items {
            let mount = match item.node.value {
                Value::Map(_) => self.volume_map(&item, places),
                Value::Text(_) | Value::Null | Value::List(_) => self.volume_text(&item, places),
            };
            mounts.extend(mount);
        }
        mounts
    }

    fn volume_text<'n>(&mut self, item: &Item<'n>, places: &mut Places<'n>) -> Option<Mount> {
        let text = self.text(item)?;
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, access) = match parts.as_slice() {
            [source, target] | [source, target, "rw"] => (*source, *target, Access::ReadWrite),
            [source, target, "ro"] => (*source, *target, Access::ReadOnly),
            [target] if target.starts_with('/') => {
                let message = format!("the volume {} has no source", item.shown());
                let help = "write `NAME:PATH`; without a name it would be lost with the container";
                self.error(item, Code::InvalidValue, message, help);
                return None;
            }
            [_, _, _] => {
                let message = format!("the volume {} ends in neither `ro` nor `rw`", item.shown());
                self.error(item, Code::InvalidValue, message, FORM);
                return None;
            }
            _ => {
                let message = format!("{} is not a volume", item.shown());
                self.error(item, Code::InvalidValue, message, FORM);
                return None;
            }
        };
        let target = self.free_place(item, target, places);
        Some(Mount {
            source: self.mount_source(item, source)?,
            target: target?,
            access,
        })
    }

    fn volume_map<'n>(&mut self, item: &Item<'n>, places: &mut Places<'n>) -> Option<Mount> {
        let fields = self.fields(&VOLUME, item)?;
        for key in ["source", "target"] {
            if fields.get(key).is_none() {
                let message = format!("a volume has no `{key}`");
                let help = "write `{source: ./data, target: /data}`";
                self.error(item, Code::MissingKey, message, help);
            }
        }
        let read_only = fields.get("read_only");
        let read_only = read_only.and_then(|item| self.boolean(&item));
        let target = fields.get("target").and_then(|item| {
            let text = self.text(&item)?;
            self.free_place(&item, &text, places)
        });
        let source = fields.get("source")?;
        let text = self.text(&source)?;
        Some(Mount {
            source: self.mount_source(&source, &text)?,
            target: target?,
            access: match read_only {
                Some(true) => Access::ReadOnly,
                Some(false) | None => Access::ReadWrite,
            },
        })
    }

    /// A path of the host begins with `.` or `/`; all else is the name of a volume.
    fn mount_source(&mut self, item: &Item<'_>, text: &str) -> Option<MountSource> {
        let refuse = |reader: &mut Self, message: String, help: &str| {
            reader.error(item, Code::InvalidValue, message, help);
            None
        };
        if text.starts_with('~') {
            let message = format!(
                "{} begins with `~`, which only a shell understands",
                item.shown()
            );
            return refuse(self, message, "write `${HOME}/…`");
        }
        if text.starts_with(['.', '/']) {
            let path = lexical(&self.folder.join(text));
            if let Some(what) = forbidden(&path) {
                let message = format!("the volume {} {what}", item.shown_part(text));
                return refuse(
                    self,
                    message,
                    "mount the one directory that the agent needs; agents manage others through `manages`",
                );
            }
            return Some(MountSource::Path(path));
        }
        let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if text.chars().count() > 1
            && text.chars().all(usable)
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        {
            return Some(MountSource::Volume(text.to_owned()));
        }
        let shown = item.shown_part(text);
        let message = format!("{shown} is neither a path nor the name of a volume");
        let help = "begin a path with `./` or `/`; names of volumes have letters, digits, `_`, `-` and `.`";
        refuse(self, message, help)
    }
}

/// What a path of the host is that no agent may have, if it is one; also behind links.
pub(super) fn forbidden(path: &Path) -> Option<&'static str> {
    let resolved = path.canonicalize().ok();
    let mut paths = [path].into_iter().chain(resolved.as_deref());
    paths.find_map(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| ENGINE_SOCKETS.contains(&name)) {
            return Some(
                "is the socket of a container engine: whoever has it is root of the machine",
            );
        }
        if THEMSELVES.iter().any(|place| path == Path::new(place)) {
            return Some("holds the machine itself");
        }
        let below = WITH_ALL_BELOW.iter().any(|place| path.starts_with(place));
        below.then_some("belongs to the machine itself")
    })
}
