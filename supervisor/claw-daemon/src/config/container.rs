//! Agents that are containers: `image` and what only they have.

use std::path::{Component, Path, PathBuf};

use claw_core::spec::Container;
use claw_core::spec::container::{Network, Port, PullPolicy};

use super::diagnostic::Code;
use super::include::lexical;
use super::item::{Fields, Item};
use super::reader::Reader;
use super::tree::Value;
use super::value::{Rejected, image, port};
use crate::agent_api::{DATA_INSIDE, OURS_INSIDE};

/// What only a container has, and what to do about it where there is none.
const ONLY_CONTAINERS: [(&str, &str); 4] = [
    (
        "pull_policy",
        "remove it, or give the agent an `image` in place of its program",
    ),
    ("entrypoint", "did you mean `command`?"),
    (
        "volumes",
        "a process sees the files of the host; did you mean `data_dirs`?",
    ),
    (
        "ports",
        "a process opens its ports on the host itself; remove it",
    ),
];

/// Places of a container that are the engine's.
const ENGINES_INSIDE: [&str; 3] = ["/proc", "/sys", "/dev"];

/// What stands at places of a container, so that nothing else does.
#[derive(Default)]
pub(super) struct Places<'n>(Vec<(PathBuf, Item<'n>)>);

impl<'n> Places<'n> {
    pub(super) fn has(&self, path: &Path) -> bool {
        self.0.iter().any(|(taken, _)| taken == path)
    }
}

impl Reader<'_> {
    /// Reads the container of an agent; `None` for an agent that is a process.
    pub(super) fn container(&mut self, fields: &Fields<'_>) -> Option<Box<Container>> {
        let ways = fields.present(&["image", "build"]);
        let Some(way) = ways.first() else {
            self.only_containers(fields);
            return None;
        };
        let mut one = fields.present(&["source"]);
        one.push(way.clone());
        let message = match way.name() {
            "image" => "an agent has a `source` or an `image`",
            _ => "an agent has a `source` or a `build`",
        };
        self.only_one(&one, message, "keep one of them");
        for item in fields.present(&["python"]) {
            let message = "`python` is for agents with a `source`";
            let help = "install the packages in the image";
            self.key_error(&item, Code::Conflict, message, help);
        }
        let words = [
            ("missing", PullPolicy::Missing),
            ("always", PullPolicy::Always),
            ("never", PullPolicy::Never),
        ];
        let pull = fields.get("pull_policy");
        let pull = pull.and_then(|item| self.choice(&item, &words));
        let image = fields.get("image");
        let image = image.and_then(|item| self.parsed(&item, "an image", image::reference));
        let entrypoint = fields.get("entrypoint");
        let mut places = Places::default();
        let mounts = self.volumes(fields, &mut places);
        self.data_dirs_inside(fields, &mut places);
        let sandbox = self.container_sandbox(fields, &mut places);
        Some(Box::new(Container {
            image: image.unwrap_or_default(),
            pull: pull.unwrap_or_default(),
            build: fields.get("build").and_then(|item| self.build(&item)),
            entrypoint: entrypoint.and_then(|item| self.command(&item)),
            working_dir: self.working_dir_inside(fields),
            mounts,
            ports: self.ports(fields, &sandbox.network),
            ..sandbox
        }))
    }

    /// Refuses what makes no sense for a process.
    fn only_containers(&mut self, fields: &Fields<'_>) {
        for (key, help) in ONLY_CONTAINERS {
            if let Some(item) = fields.get(key) {
                let message = format!("`{key}` is for agents with an `image`");
                self.key_error(&item, Code::Conflict, &message, help);
            }
        }
    }

    /// What the entry point of an image is given; none for what the image says itself.
    pub(super) fn arguments(&mut self, fields: &Fields<'_>) -> Vec<String> {
        let Some(item) = fields.get("command") else {
            return Vec::new();
        };
        let words = self.words(&item).unwrap_or_default();
        if words.is_empty() && !matches!(item.node.value, Value::Map(_) | Value::Null) {
            let message = "`command` has no words";
            let help = "remove it to run what the image says";
            self.error(&item, Code::InvalidValue, message, help);
        }
        words
    }

    /// `USER[:GROUP]`, by names of the image or by numbers.
    pub(super) fn user_inside(&mut self, fields: &Fields<'_>) -> Option<String> {
        let item = fields.get("user")?;
        let user = self.parsed(&item, "a user of a container", user)?;
        if let Some(data_dirs) = fields.get("data_dirs")
            && user_id(&user).is_none()
        {
            let message = format!(
                "`data_dirs` belong to the agent's user, and which number {} has only the image knows",
                item.shown()
            );
            let help = "write the number: `user: \"1000\"`";
            self.key_error(&data_dirs, Code::Conflict, &message, help);
        }
        Some(user)
    }

    /// Where it starts in a container.
    fn working_dir_inside(&mut self, fields: &Fields<'_>) -> Option<PathBuf> {
        let item = fields.get("working_dir")?;
        let text = self.text(&item)?;
        self.inside(&item, &text)
    }

    /// A place in a container: an absolute path that is not ours.
    fn inside(&mut self, item: &Item<'_>, text: &str) -> Option<PathBuf> {
        let path = Path::new(text);
        let up = path.components().any(|part| part == Component::ParentDir);
        let wrong = if !path.is_absolute() || up {
            "is not an absolute path without `..`"
        } else if OURS_INSIDE.iter().any(|ours| path.starts_with(ours)) {
            "is where the supervisor puts the agent's socket"
        } else {
            return Some(lexical(path));
        };
        let shown = item.shown_part(text);
        let message = format!("the place {shown} in the container {wrong}");
        let help = "write an absolute path inside, such as `/data`";
        self.error(item, Code::InvalidValue, message, help);
        None
    }

    /// A place in a container where something is put, and nothing else is.
    pub(super) fn free_place<'n>(
        &mut self,
        item: &Item<'n>,
        text: &str,
        places: &mut Places<'n>,
    ) -> Option<PathBuf> {
        let path = self.inside(item, text)?;
        let engines = ENGINES_INSIDE.iter().any(|place| path.starts_with(place));
        if engines || path == Path::new("/") {
            let shown = item.shown_part(text);
            let message = format!("the place {shown} in the container is the engine's");
            let help = "name another one, such as `/data`";
            self.error(item, Code::InvalidValue, message, help);
            return None;
        }
        self.take_place(path.clone(), item, places);
        Some(path)
    }

    fn take_place<'n>(&mut self, path: PathBuf, item: &Item<'n>, places: &mut Places<'n>) {
        let taken = places.0.iter().find(|(taken, _)| *taken == path);
        if let Some((_, other)) = taken {
            let shown = item.shown_part(&path.to_string_lossy());
            let message = format!("two things stand at {shown} in the container");
            let both = [other.clone(), item.clone()];
            self.only_one(&both, &message, "keep one of them, or move it");
        }
        places.0.push((path, item.clone()));
    }

    /// The directories of an agent are seen below `/data`, each under its own name.
    fn data_dirs_inside<'n>(&mut self, fields: &Fields<'n>, places: &mut Places<'n>) {
        let Some(item) = fields.get("data_dirs") else {
            return;
        };
        let items = item.elements().unwrap_or_else(|| vec![item]);
        for item in items {
            let path = item.node.as_scalar().map(|scalar| scalar.text.as_str());
            let path = lexical(&self.folder.join(path.unwrap_or_default()));
            if let Some(name) = path.file_name() {
                self.take_place(Path::new(DATA_INSIDE).join(name), &item, places);
            }
        }
    }

    fn ports(&mut self, fields: &Fields<'_>, network: &Network) -> Vec<Port> {
        let Some(item) = fields.get("ports") else {
            return Vec::new();
        };
        match network {
            Network::Bridge => {}
            Network::None | Network::Listed(_) => {
                let message = "`ports` are reached through a network, and the container has none that leads to it";
                let help = "add `sandbox: {network: bridge}`, or remove them";
                self.key_error(&item, Code::Conflict, message, help);
            }
        }
        let items = self.one_or_more(&item);
        let ports = items.iter();
        ports
            .filter_map(|item| self.parsed(item, "a port of a container", port::port))
            .collect()
    }
}

/// The numbers of a user of a container, if it is written by number. Its group is 0 unless
/// written, as the engine has it.
pub(crate) fn user_id(user: &str) -> Option<(u32, u32)> {
    let (user, group) = match user.split_once(':') {
        Some((user, group)) => (user, group.parse().ok()?),
        None => (user, 0),
    };
    Some((user.parse().ok()?, group))
}

fn user(text: &str) -> Result<String, Rejected> {
    let form = "write `USER` or `USER:GROUP`, such as `\"1000:1000\"`";
    let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let named = |name: &str| !name.is_empty() && name.chars().all(usable) && !name.starts_with('-');
    let mut parts = text.split(':');
    let good = parts.by_ref().take(2).all(named) && parts.next().is_none();
    if good {
        Ok(text.to_owned())
    } else {
        Err(Rejected::plainly().help(form))
    }
}
