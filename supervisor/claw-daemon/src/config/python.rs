//! Agents of the Python SDK: `source` and `python`.

use std::path::PathBuf;

use claw_core::spec::{Program, Requirements};

use super::diagnostic::Code;
use super::include::lexical;
use super::item::{Fields, Item};
use super::keys_agent::PYTHON;
use super::reader::Reader;
use super::tree::Value;

/// Options of a requirements file that name another one by its place.
const INCLUDING: [&str; 4] = ["-r", "--requirement", "-c", "--constraint"];

impl Reader<'_> {
    /// `FILE` or `FILE:CLASS`, a file below the folder of the fleet file, and what it needs.
    pub(super) fn source(
        &mut self,
        fields: &Fields<'_>,
        item: &Item<'_>,
    ) -> (Vec<String>, Program) {
        let program = Program::Python(self.requirements(fields));
        (self.source_command(item).unwrap_or_default(), program)
    }

    fn source_command(&mut self, item: &Item<'_>) -> Option<Vec<String>> {
        let text = self.text(item)?;
        let (file, class) = match text.rsplit_once(':') {
            Some((file, class)) => (file, Some(class)),
            None => (text.as_str(), None),
        };
        let path = lexical(&self.folder.join(file));
        let wrong = if !path.starts_with(self.folder) {
            Some((
                "leads out of the folder of the fleet file",
                "move the file below it",
            ))
        } else if path.extension().is_none_or(|extension| extension != "py") {
            Some((
                "is not a Python file",
                "name a file that ends in `.py`; use `command` for other programs",
            ))
        } else if class.is_some_and(|class| !is_identifier(class)) {
            Some((
                "does not end in the name of a class",
                "write `FILE.py` or `FILE.py:Class`",
            ))
        } else if !path.is_file() {
            Some((
                "does not exist",
                "name a file below the folder of the fleet file",
            ))
        } else {
            None
        };
        if let Some((what, help)) = wrong {
            self.error(
                item,
                Code::InvalidValue,
                format!("the source {} {what}", item.shown()),
                help,
            );
            return None;
        }
        let mut named = path.to_string_lossy().into_owned();
        if let Some(class) = class {
            named = format!("{named}:{class}");
        }
        Some(
            ["python3", "-m", "openclaw", "run", &named]
                .map(str::to_owned)
                .to_vec(),
        )
    }

    /// What has to be installed for it: a file, or lines of one.
    fn requirements(&mut self, fields: &Fields<'_>) -> Requirements {
        let python = self.inner(fields, "python", &PYTHON);
        let Some(item) = python.and_then(|python| python.get("requirements")) else {
            return Requirements::None;
        };
        if let Value::Text(_) = item.node.value {
            let file = self.requirements_file(&item);
            return file.map_or(Requirements::None, Requirements::File);
        }
        let lines = self.one_or_more(&item);
        if lines.is_empty() && !matches!(item.node.value, Value::Map(_)) {
            let message = "`requirements` lists nothing";
            let help = "list packages, such as `[feedparser>=6]`, or remove `python`";
            self.error(&item, Code::InvalidValue, message, help);
        }
        let lines = lines.iter().filter_map(|line| self.requirement(line));
        Requirements::Lines(lines.collect())
    }

    fn requirements_file(&mut self, item: &Item<'_>) -> Option<PathBuf> {
        let path = self.path(item)?;
        if !path.is_file() {
            let message = format!("the requirements file {} does not exist", item.shown());
            let help = "name a file, or list the packages themselves: `requirements: [PACKAGE]`";
            self.error(item, Code::InvalidValue, message, help);
            return None;
        }
        Some(path)
    }

    /// One line of what would be a requirements file.
    fn requirement(&mut self, item: &Item<'_>) -> Option<String> {
        let line = self.text(item)?.trim().to_owned();
        let option = line.split([' ', '=']).next().unwrap_or_default();
        let wrong = if line.is_empty() || line.contains('\n') || line.ends_with('\\') {
            Some((
                "is not one line of a requirements file",
                "list one package in each line",
            ))
        } else if INCLUDING.contains(&option) {
            Some((
                "includes another file",
                "put all lines into a requirements file, and name that: `requirements: FILE`",
            ))
        } else {
            None
        };
        let Some((what, help)) = wrong else {
            return Some(line);
        };
        let message = format!("the requirement {} {what}", item.shown());
        self.error(item, Code::InvalidValue, message, help);
        None
    }

    /// Other programs find their packages themselves.
    pub(super) fn needs_source(&mut self, fields: &Fields<'_>) {
        let Some(item) = fields.get("python") else {
            return;
        };
        let message = "`python` is for agents with a `source`";
        let help = "name the interpreter in `command`: `[.venv/bin/python, agent.py]`";
        self.key_error(&item, Code::Conflict, message, help);
    }
}

/// Whether a text can be the name of a class.
fn is_identifier(text: &str) -> bool {
    let usable = |c: char| c.is_alphanumeric() || c == '_';
    !text.is_empty() && text.chars().all(usable) && !text.starts_with(|c: char| c.is_numeric())
}
