//! The program and its surroundings: `command`, `env`, `env_file`, `secrets`, `working_dir`,
//! `user`, `data_dirs`, `config`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use claw_core::spec::{Launch, Program, Secret};

use super::diagnostic::Code;
use super::environment::Privilege;
use super::free;
use super::include::lexical;
use super::item::{Fields, Item};
use super::reader::Reader;
use super::resolved;
use super::section::nearest;
use super::tree::Value;
use super::value::words;
use super::variables;

/// Set by the supervisor itself; an agent's own value would be lost.
const RESERVED: [&str; 16] = [
    "OPENCLAW_AGENT",
    "OPENCLAW_API",
    "OPENCLAW_ATTEMPT",
    "OPENCLAW_CONFIG",
    "OPENCLAW_INSTANCE",
    "OPENCLAW_LLM_URL",
    "OPENCLAW_PROTOCOL",
    "OPENCLAW_REPLICA",
    "OPENCLAW_REPLICAS",
    "OPENCLAW_RUN_ID",
    "OPENCLAW_SOCK",
    "OPENCLAW_TOKEN",
    "OPENCLAW_TRIGGER",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// Variables on their way into an agent, by how well they are kept.
#[derive(Debug, Default)]
struct Variables {
    open: BTreeMap<String, String>,
    kept: BTreeMap<String, Secret>,
}

impl Variables {
    fn set(&mut self, name: &str, value: String, item: &Item<'_>) {
        if item.is_from_environment() {
            self.keep(name, value);
        } else {
            self.kept.remove(name);
            self.open.insert(name.to_owned(), value);
        }
    }

    /// Keeps a value that came from somewhere else than the fleet file.
    fn keep(&mut self, name: &str, value: String) {
        let secret = if resolved::telling(name) {
            Secret::new(value)
        } else {
            Secret::kept(value)
        };
        self.keep_secret(name, secret);
    }

    fn keep_secret(&mut self, name: &str, secret: Secret) {
        self.open.remove(name);
        self.kept.insert(name.to_owned(), secret);
    }
}

impl Reader<'_> {
    /// Reads what an agent is started with.
    ///
    /// Values that came from the environment or from an `env_file` are kept like secrets: they
    /// reach the agent and are shown nowhere.
    pub(super) fn launch(&mut self, fields: &Fields<'_>) -> Launch {
        let mut variables = Variables::default();
        self.env_files(fields, &mut variables);
        self.env(fields, &mut variables);
        self.secrets(fields, &mut variables);
        let container = self.container(fields);
        let sandbox = if container.is_some() {
            None
        } else {
            self.confined(fields)
        };
        let (command, program, working_dir, user) = if container.is_some() {
            let command = self.arguments(fields);
            (command, Program::Any, None, self.user_inside(fields))
        } else {
            let working_dir = fields.get("working_dir").and_then(|item| self.path(&item));
            let (command, program) = self.program(fields);
            (command, program, working_dir, self.user(fields))
        };
        Launch {
            command,
            program,
            container,
            sandbox,
            env: variables.open,
            secrets: variables.kept,
            working_dir: working_dir.unwrap_or_else(|| self.folder.to_owned()),
            user,
            data_dirs: self.data_dirs(fields),
            config: self.config(fields),
            models: None,
        }
    }

    fn program(&mut self, fields: &Fields<'_>) -> (Vec<String>, Program) {
        let ways = fields.present(&["source", "command"]);
        self.only_one(
            &ways,
            "an agent has a `source` or a `command`",
            "keep one of them",
        );
        if let Some(item) = fields.get("source") {
            return self.source(fields, &item);
        }
        self.needs_source(fields);
        if let Some(item) = fields.get("command") {
            return (self.command(&item).unwrap_or_default(), Program::Any);
        }
        let name = fields.item.name();
        let message = format!("`{name}` has no `source`, no `command` and no `image`");
        let help = "give it a program, such as `source: agents/monitor.py`, `command: [node, agent.js]` or `image: my/agent:1`";
        self.error(&fields.item, Code::MissingKey, message, help);
        (Vec::new(), Program::Any)
    }

    /// A list of words, or a text that is split into words.
    pub(super) fn words(&mut self, item: &Item<'_>) -> Option<Vec<String>> {
        match &item.node.value {
            Value::Text(scalar) => {
                let ranges = scalar
                    .inserted
                    .as_ref()
                    .map_or(&[][..], |inserted| &inserted.ranges);
                match words::split(&scalar.text, ranges) {
                    Ok(words) => Some(words),
                    Err(rejected) => {
                        self.rejected(item, "a command", rejected);
                        None
                    }
                }
            }
            Value::List(_) => {
                let elements = item.elements().unwrap_or_default();
                let words: Vec<_> = elements
                    .iter()
                    .map(|element| self.argument(element))
                    .collect();
                words.into_iter().collect()
            }
            Value::Null | Value::Map(_) => {
                self.wrong_type(item, "a list of words, or a text that is split into words");
                None
            }
        }
    }

    /// A program with its arguments.
    pub(super) fn command(&mut self, item: &Item<'_>) -> Option<Vec<String>> {
        let words = self.words(item)?;
        match words.first().map(String::as_str) {
            None | Some("") => {
                let message = format!("`{}` names no program", item.name());
                self.error(
                    item,
                    Code::InvalidValue,
                    message,
                    "write `[PROGRAM, ARGUMENT, …]`",
                );
                None
            }
            Some(program) if program.contains('=') && !program.contains('/') => {
                let message = format!(
                    "`{}` begins with a variable, which only a shell understands",
                    item.name()
                );
                self.error(
                    item,
                    Code::InvalidValue,
                    message,
                    "put variables into `env`",
                );
                None
            }
            Some(program) if program.starts_with("~/") => {
                let message = format!(
                    "`{}` begins with `~`, which only a shell understands",
                    item.name()
                );
                self.error(item, Code::InvalidValue, message, "write `${HOME}/…`");
                None
            }
            Some(_) => Some(words),
        }
    }

    /// An argument may be empty.
    fn argument(&mut self, item: &Item<'_>) -> Option<String> {
        let scalar = self.scalar(item)?;
        if scalar.text.contains('\0') {
            let message = "an argument has a NUL character in it";
            self.error(item, Code::InvalidValue, message, "remove it");
            return None;
        }
        Some(scalar.text.clone())
    }

    fn env_files(&mut self, fields: &Fields<'_>, into: &mut Variables) {
        let Some(item) = fields.get("env_file") else {
            return;
        };
        for file in self.one_or_more(&item) {
            let Some(path) = self.path(&file) else {
                continue;
            };
            let named = match path.strip_prefix(self.folder) {
                Ok(inside) => lexical(&self.folder_name.join(inside)),
                Err(_) => path,
            };
            let read = variables::read(&named, self.variables, (self.sources, &mut self.problems));
            let assignments = match read {
                Ok(assignments) => assignments,
                Err(error) => {
                    let message = format!(
                        "the environment file {} cannot be used: {error}",
                        file.shown()
                    );
                    self.error(&file, Code::EnvFile, message, error.help());
                    continue;
                }
            };
            for (name, value) in assignments {
                match value {
                    Some(value) => into.keep(&name, value),
                    None => drop(into.kept.remove(&name)),
                }
            }
        }
    }

    fn env(&mut self, fields: &Fields<'_>, into: &mut Variables) {
        let Some(item) = fields.get("env") else {
            return;
        };
        let Some(entries) = item.named() else {
            self.error(
                &item,
                Code::WrongType,
                format!("`env` must be a map, found {}", item.node.kind()),
                "write `NAME: value` lines below it",
            );
            return;
        };
        for (name, item) in entries {
            if !self.variable_name(name, &item) {
                continue;
            }
            let value = match &item.node.value {
                Value::Null => {
                    let message = format!("`{name}` has no value");
                    let help = format!(
                        "write `{name}: \"\"` for an empty one, or `secrets: [{name}]` to hand over the supervisor's own"
                    );
                    self.error(&item, Code::WrongType, message, help);
                    None
                }
                Value::Text(_) | Value::List(_) | Value::Map(_) => self.argument(&item),
            };
            if let Some(value) = value {
                into.set(name, value, &item);
            }
        }
    }

    fn variable_name(&mut self, name: &str, item: &Item<'_>) -> bool {
        let usable =
            !name.is_empty() && !name.contains(['=', '\0']) && !name.contains(char::is_whitespace);
        if !usable {
            let message = format!("`{name}` cannot be the name of a variable");
            self.key_error(
                item,
                Code::InvalidValue,
                &message,
                "use letters, digits and `_`",
            );
        } else if RESERVED.contains(&name) {
            let message = format!("`{name}` is set by the supervisor itself");
            self.key_error(
                item,
                Code::Conflict,
                &message,
                "remove it, or use another name",
            );
        }
        usable && !RESERVED.contains(&name)
    }

    fn secrets(&mut self, fields: &Fields<'_>, into: &mut Variables) {
        let Some(item) = fields.get("secrets") else {
            return;
        };
        for item in self.one_or_more(&item) {
            let Some(name) = self.text(&item) else {
                continue;
            };
            if !self.variable_name(&name, &item) {
                continue;
            }
            if into.open.contains_key(&name) {
                let message = format!("`{name}` is set in `env` and listed in `secrets`");
                self.error(&item, Code::Conflict, message, "keep one of them");
                continue;
            }
            match self.variables.get(&name) {
                Some(value) if !value.is_empty() => into.keep_secret(&name, Secret::new(value)),
                found => self.missing_secret(&name, &item, found.as_deref()),
            }
        }
    }

    fn missing_secret(&mut self, name: &str, item: &Item<'_>, found: Option<&str>) {
        let state = if found.is_some() {
            "is empty"
        } else {
            "is not set"
        };
        let message = format!("required secret missing: `{name}` {state}");
        let near = nearest(name, self.variables.names().filter(|other| *other != name));
        let help = match near {
            Some(near) => format!(
                "set it in the environment or in `.env`; did you mean `{near}`, which is set?"
            ),
            None => "set it in the environment or in `.env` beside the fleet file".to_owned(),
        };
        self.error(item, Code::MissingSecret, message, help);
    }

    fn user(&mut self, fields: &Fields<'_>) -> Option<String> {
        let item = fields.get("user")?;
        let user = self.text(&item)?;
        match self.environment.privilege {
            Privilege::Root => Some(user),
            Privilege::Ordinary => {
                let message = "`user` needs a supervisor that runs as root, and this one does not";
                self.error(
                    &item,
                    Code::InvalidValue,
                    message,
                    "remove it, or start the supervisor as root",
                );
                None
            }
        }
    }

    fn data_dirs(&mut self, fields: &Fields<'_>) -> Vec<PathBuf> {
        let Some(item) = fields.get("data_dirs") else {
            return Vec::new();
        };
        let mut directories = Vec::new();
        for item in self.one_or_more(&item) {
            let Some(path) = self.path(&item) else {
                continue;
            };
            if self.folder.starts_with(&path) {
                let message = format!(
                    "{} holds the fleet file itself; its owner would change",
                    item.shown()
                );
                self.error(
                    &item,
                    Code::InvalidValue,
                    message,
                    "name a directory of the agent's own, such as `state`",
                );
            } else if directories.contains(&path) {
                self.error(
                    &item,
                    Code::Conflict,
                    format!("{} is listed twice", item.shown()),
                    "keep one of them",
                );
            } else {
                directories.push(path);
            }
        }
        directories
    }

    fn config(&mut self, fields: &Fields<'_>) -> serde_json::Value {
        let Some(item) = fields.get("config") else {
            return serde_json::Value::Null;
        };
        free::value(&item, &mut self.problems)
    }
}
