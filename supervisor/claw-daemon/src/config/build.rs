//! `build:` — how an image is made.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use claw_core::name::AgentName;
use claw_core::spec::container::Build;

use super::agent::Agent;
use super::diagnostic::Code;
use super::item::{Fields, Item};
use super::keys_container::BUILD;
use super::reader::Reader;
use super::tree::Value;
use super::value::image;

const DOCKERFILE: &str = "Dockerfile";

impl Reader<'_> {
    /// Reads how an image is made: its folder, or a map.
    pub(super) fn build(&mut self, item: &Item<'_>) -> Option<Build> {
        if let Value::Text(_) = item.node.value {
            let context = self.context(item)?;
            let dockerfile = self.dockerfile(item, &context, DOCKERFILE)?;
            return Some(Build {
                context,
                dockerfile,
                target: None,
                args: BTreeMap::new(),
            });
        }
        let fields = self.fields(&BUILD, item)?;
        let target = fields.get("target").and_then(|item| self.text(&item));
        let args = self.build_args(&fields);
        let Some(folder) = fields.get("context") else {
            let message = "`build` has no `context`";
            self.error(item, Code::MissingKey, message, "add `context: FOLDER`");
            return None;
        };
        let context = self.context(&folder)?;
        let dockerfile = match fields.get("dockerfile") {
            Some(item) => {
                let path = self.text(&item)?;
                self.dockerfile(&item, &context, &path)?
            }
            None => self.dockerfile(&folder, &context, DOCKERFILE)?,
        };
        Some(Build {
            context,
            dockerfile,
            target,
            args,
        })
    }

    fn context(&mut self, item: &Item<'_>) -> Option<PathBuf> {
        let path = self.path(item)?;
        if path.is_dir() {
            return Some(path);
        }
        let message = format!("the folder {} does not exist", item.shown());
        let help = "name the folder with the Dockerfile, beside the fleet file or below it";
        self.error(item, Code::InvalidValue, message, help);
        None
    }

    fn dockerfile(&mut self, item: &Item<'_>, context: &Path, text: &str) -> Option<PathBuf> {
        let path = PathBuf::from(text);
        let mut parts = path.components();
        let below = parts.all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        let (what, help) = if !below {
            (
                "lies outside the context",
                "name a file below `context`, from there on",
            )
        } else if context.join(&path).is_file() {
            return Some(path);
        } else {
            (
                "does not exist",
                "write one, or name another file: `build: {context: FOLDER, dockerfile: FILE}`",
            )
        };
        let message = format!("the Dockerfile {} {what}", item.shown_part(text));
        self.error(item, Code::InvalidValue, message, help);
        None
    }

    fn build_args(&mut self, fields: &Fields<'_>) -> BTreeMap<String, String> {
        let Some(item) = fields.get("args") else {
            return BTreeMap::new();
        };
        let Some(entries) = item.named() else {
            self.wrong_type(&item, "a map");
            return BTreeMap::new();
        };
        let args = entries.into_iter().filter_map(|(name, item)| {
            let value = self.scalar(&item)?.text.clone();
            Some((name.to_owned(), value))
        });
        args.collect()
    }

    /// What is only built has a name of its own.
    pub(super) fn name_images(agents: &mut BTreeMap<AgentName, Agent<'_>>, project: &str) {
        for (name, agent) in agents {
            let Some(container) = &mut agent.spec.launch.container else {
                continue;
            };
            if container.image.is_empty() {
                let name = format!("{project}-{name}");
                container.image = format!("openclaw/{}", image::component(&name));
            }
        }
    }
}
