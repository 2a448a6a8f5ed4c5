//! Typed readers over items: each takes what it can, reports what it cannot, and goes on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::diagnostic::{Code, Diagnostic, Problems};
use super::environment::Environment;
use super::include::lexical;
use super::item::{Fields, Item};
use super::narrow::FleetSandbox;
use super::restart::policy_of_elsewhere;
use super::section::{Kind, Known, POLICY, Section, either, nearest};
use super::source::Sources;
use super::syntax::short;
use super::tree::{Scalar, Style, Value};
use super::value::{Rejected, duration};
use super::variables::Variables;

/// Everything a section needs while it is read.
pub(super) struct Reader<'a> {
    pub(super) problems: Problems,
    pub(super) sources: &'a mut Sources,
    pub(super) environment: &'a Environment,
    pub(super) variables: &'a Variables,
    /// The folder of the fleet file, absolute. Relative paths start here.
    pub(super) folder: &'a Path,
    /// The same folder as it was named.
    pub(super) folder_name: &'a Path,
    /// How agents are confined that say nothing else.
    pub(super) fleet_sandbox: FleetSandbox,
}

impl Reader<'_> {
    /// A section's fields, with unknown and not yet built keys reported.
    pub(super) fn fields<'n>(
        &mut self,
        section: &'static Section,
        item: &Item<'n>,
    ) -> Option<Fields<'n>> {
        let Some(fields) = Fields::of(section, item.clone()) else {
            self.wrong_type(item, "a map");
            return None;
        };
        self.known_keys(&fields);
        Some(fields)
    }

    /// Reports keys that a section does not know.
    fn known_keys(&mut self, fields: &Fields<'_>) {
        let section = fields.section;
        for (key, item) in fields.entries() {
            let shown = short(key);
            let problem = match section.knows(key) {
                Known::Yes => continue,
                Known::Later(instead) => {
                    let message = format!("`{shown}` is not supported yet");
                    Diagnostic::error(Code::NotSupportedYet, message).help(instead)
                }
                Known::No if self.problems.is_full() => {
                    Diagnostic::error(Code::UnknownKey, "unknown key")
                }
                Known::No => {
                    let message = format!("unknown key `{shown}` in {}", section.title);
                    let help = section.suggestion(key).replace(POLICY, policy_meant(&item));
                    Diagnostic::error(Code::UnknownKey, message).help(help)
                }
            };
            let span = item.key.unwrap_or(item.span());
            self.problems.push(problem.at(span).path(item.path));
        }
    }

    /// Checks the keys of a section, and of those in it, without its values.
    pub(super) fn all_known_keys(&mut self, section: &'static Section, item: &Item<'_>) {
        let Some(fields) = self.fields(section, item) else {
            return;
        };
        for key in section.keys {
            let (Kind::Section(inner) | Kind::BoolOr(inner)) = key.kind else {
                continue;
            };
            let Some(item) = fields.get(key.name) else {
                continue;
            };
            let in_its_place =
                matches!(key.kind, Kind::BoolOr(_)) && item.node.as_scalar().is_some();
            if !in_its_place {
                self.all_known_keys(inner, &item);
            }
        }
    }

    /// The fields of a section within a section; an absent one has none.
    pub(super) fn inner<'n>(
        &mut self,
        fields: &Fields<'n>,
        key: &str,
        section: &'static Section,
    ) -> Option<Fields<'n>> {
        let item = fields.get(key)?;
        self.fields(section, &item)
    }

    /// A single value.
    pub(super) fn scalar<'n>(&mut self, item: &Item<'n>) -> Option<&'n Scalar> {
        match &item.node.value {
            Value::Text(scalar) => return Some(scalar),
            Value::Null => {
                let message = format!("`{}` has no value", item.name());
                self.error(
                    item,
                    Code::WrongType,
                    message,
                    "give it one, or remove the key",
                );
            }
            Value::List(_) | Value::Map(_) => self.wrong_type(item, "a single value"),
        }
        None
    }

    /// A text that is not empty.
    pub(super) fn text(&mut self, item: &Item<'_>) -> Option<String> {
        let scalar = self.scalar(item)?;
        if scalar.text.is_empty() {
            let message = format!("`{}` is empty", item.name());
            self.error(
                item,
                Code::InvalidValue,
                message,
                "give it a value, or remove the key",
            );
            return None;
        }
        if scalar.text.contains('\0') {
            let message = format!("`{}` has a NUL character in it", item.name());
            self.error(item, Code::InvalidValue, message, "remove it");
            return None;
        }
        Some(scalar.text.clone())
    }

    /// A value with a grammar of its own; `what` is "a duration" and the like.
    pub(super) fn parsed<T>(
        &mut self,
        item: &Item<'_>,
        what: &str,
        parse: impl FnOnce(&str) -> Result<T, Rejected>,
    ) -> Option<T> {
        let scalar = self.scalar(item)?;
        match parse(&scalar.text) {
            Ok(value) => Some(value),
            Err(rejected) => {
                self.rejected(item, what, rejected);
                None
            }
        }
    }

    /// Reports a value that cannot be used. What came from the environment is not repeated.
    pub(super) fn rejected(&mut self, item: &Item<'_>, what: &str, rejected: Rejected) {
        let shown = item.shown();
        let problem = if item.is_from_environment() {
            let message = format!("the value of {shown} is not {what}");
            Diagnostic::error(Code::InvalidValue, message)
                .help("the value comes from the environment or `.env` and is not shown")
        } else {
            let message = match rejected.why.as_str() {
                "" => format!("{shown} is not {what}"),
                why => format!("{shown} is not {what}: {why}"),
            };
            Diagnostic::error(Code::InvalidValue, message).maybe_help(rejected.help)
        };
        self.problems
            .push(problem.at(item.span()).path(item.path.clone()));
    }

    pub(super) fn duration(&mut self, item: &Item<'_>) -> Option<Duration> {
        self.parsed(item, "a duration", duration::parse)
    }

    /// A duration that is not zero.
    pub(super) fn some_time(&mut self, item: &Item<'_>) -> Option<Duration> {
        let duration = self.duration(item)?;
        if duration.is_zero() {
            let message = format!("`{}` must be longer than 0s", item.name());
            self.error(
                item,
                Code::InvalidValue,
                message,
                "give it some time, such as `10s`",
            );
            return None;
        }
        Some(duration)
    }

    /// A whole number within bounds.
    pub(super) fn whole(&mut self, item: &Item<'_>, (min, max): (u64, u64)) -> Option<u64> {
        let what = format!("a whole number from {min} to {max}");
        self.parsed(item, &what, |text| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse::<u64>().ok().filter(|_| digits);
            number
                .filter(|number| (min..=max).contains(number))
                .ok_or_else(Rejected::plainly)
        })
    }

    /// `true` or `false`, and nothing that looks like it.
    pub(super) fn boolean(&mut self, item: &Item<'_>) -> Option<bool> {
        let plain = self.scalar(item)?.style == Style::Plain || item.is_from_environment();
        self.parsed(item, "`true` or `false`", |text| match text {
            "true" if plain => Ok(true),
            "false" if plain => Ok(false),
            "true" | "false" => Err(Rejected::new("it is in quotes").help("remove the quotes")),
            _ => Err(match text.to_lowercase().as_str() {
                "yes" | "on" | "y" | "1" | "true" => {
                    Rejected::plainly().help("did you mean `true`?")
                }
                "no" | "off" | "n" | "0" | "false" => {
                    Rejected::plainly().help("did you mean `false`?")
                }
                _ => Rejected::plainly(),
            }),
        })
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(&mut self, item: &Item<'_>, words: &[(&str, T)]) -> Option<T> {
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        let what = either(&names);
        self.parsed(item, &what, |text| {
            let found = words.iter().find(|(name, _)| *name == text);
            found.map(|(_, value)| *value).ok_or_else(|| {
                let rejected = Rejected::plainly();
                match nearest(text, names.iter().copied()) {
                    Some(near) => rejected.help(format!("did you mean `{near}`?")),
                    None => rejected,
                }
            })
        })
    }

    /// A text or a list of texts, as items.
    pub(super) fn one_or_more<'n>(&mut self, item: &Item<'n>) -> Vec<Item<'n>> {
        match &item.node.value {
            Value::Text(_) => vec![item.clone()],
            Value::List(_) => item.elements().unwrap_or_default(),
            Value::Null => Vec::new(),
            Value::Map(_) => {
                self.wrong_type(item, "a text or a list of texts");
                Vec::new()
            }
        }
    }

    /// A path, absolute; relative ones start at the fleet file.
    pub(super) fn path(&mut self, item: &Item<'_>) -> Option<PathBuf> {
        let text = self.text(item)?;
        if text.starts_with("~/") || text == "~" {
            let message = format!(
                "{} begins with `~`, which only a shell understands",
                item.shown()
            );
            self.error(item, Code::InvalidValue, message, "write `${HOME}/…`");
            return None;
        }
        Some(lexical(&self.folder.join(text)))
    }

    pub(super) fn wrong_type(&mut self, item: &Item<'_>, expected: &str) {
        let subject = match item.name() {
            "" => "the file".to_owned(),
            name => format!("`{name}`"),
        };
        let found = match &item.node.value {
            Value::Text(_) => item.shown(),
            Value::Null | Value::List(_) | Value::Map(_) => item.node.kind().to_owned(),
        };
        let message = format!("{subject} must be {expected}, found {found}");
        self.problems.push(
            Diagnostic::error(Code::WrongType, message)
                .at(item.span())
                .path(item.path.clone()),
        );
    }

    pub(super) fn error(
        &mut self,
        item: &Item<'_>,
        code: Code,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.problems.push(
            Diagnostic::error(code, message)
                .at(item.span())
                .path(item.path.clone())
                .help(help),
        );
    }

    /// Reports what should be looked at.
    pub(super) fn warning(
        &mut self,
        item: &Item<'_>,
        code: Code,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.problems.push(
            Diagnostic::warning(code, message)
                .at(item.span())
                .path(item.path.clone())
                .help(help),
        );
    }

    /// Reports a problem of a value's key.
    pub(super) fn key_error(&mut self, item: &Item<'_>, code: Code, message: &str, help: &str) {
        self.problems.push(
            Diagnostic::error(code, message)
                .at(item.key.unwrap_or(item.span()))
                .path(item.path.clone())
                .help(help),
        );
    }

    /// Reports what should be looked at, at a value's key.
    pub(super) fn key_warning(
        &mut self,
        item: &Item<'_>,
        code: Code,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.problems.push(
            Diagnostic::warning(code, message)
                .at(item.key.unwrap_or(item.span()))
                .path(item.path.clone())
                .help(help),
        );
    }

    /// Reports that more than one of some values is there, where one is allowed.
    pub(super) fn only_one(&mut self, items: &[Item<'_>], message: &str, help: &str) {
        let [first, second, ..] = items else { return };
        self.problems.push(
            Diagnostic::error(Code::Conflict, message)
                .at(second.key.unwrap_or(second.span()))
                .related(first.key.unwrap_or(first.span()), "the other one")
                .path(second.path.clone())
                .help(help),
        );
    }
}

/// The policy of `restart: WORD` as other tools write it.
fn policy_meant(item: &Item<'_>) -> &'static str {
    let word = item
        .node
        .as_scalar()
        .map_or("always", |scalar| &scalar.text);
    policy_of_elsewhere(word)
}
