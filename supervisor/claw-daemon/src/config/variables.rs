//! Where `${NAME}` and secrets come from: the environment, then `.env` files; and `env_file`.

use std::collections::BTreeMap;
use std::path::Path;

use super::diagnostic::{Code, Diagnostic, Problems};
use super::dotenv::{self, Assignments};
use super::source::{self, Exposure, FileError, Source, Sources};
use super::tree::Span;

/// Variables by name. The environment wins, then the file that was added first.
#[derive(Debug, Clone, Default)]
pub(super) struct Variables {
    values: BTreeMap<String, String>,
}

impl Variables {
    pub(super) fn new(environment: &BTreeMap<String, String>) -> Self {
        Self {
            values: environment.clone(),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<String> {
        self.values.get(name).cloned()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Adds a `.env` file, if it is there, below what is known.
    pub(super) fn add_file(
        &mut self,
        path: &Path,
        (sources, problems): (&mut Sources, &mut Problems),
    ) {
        if !path.exists() {
            return;
        }
        match read(path, self, (sources, problems)) {
            Ok(assignments) => {
                for (name, value) in assignments {
                    if let Some(value) = value {
                        self.values.entry(name).or_insert(value);
                    }
                }
            }
            Err(error) => problems.push(unreadable(path, &error)),
        }
    }
}

/// What is said about an environment file that cannot be read.
pub(super) fn unreadable(path: &Path, error: &FileError) -> Diagnostic {
    let message = format!(
        "the environment file `{}` cannot be used: {error}",
        path.display()
    );
    Diagnostic::error(Code::EnvFile, message).help(error.help())
}

/// Reads an environment file and reports its unreadable lines.
pub(super) fn read(
    path: &Path,
    variables: &Variables,
    (sources, problems): (&mut Sources, &mut Problems),
) -> Result<Assignments, FileError> {
    let text = source::read_text(path)?;
    let source = Source::new(
        path.display().to_string(),
        path.to_owned(),
        text,
        Exposure::Secret,
    );
    let (assignments, bad_lines) = dotenv::parse(&source.text, &|name| variables.get(name));
    let file = sources.add(source);
    for line in bad_lines {
        let span = Span {
            file,
            start: line.at.start,
            end: line.at.end,
        };
        problems.push(
            Diagnostic::error(Code::EnvFile, line.message)
                .at(span)
                .help(line.help),
        );
    }
    if others_may_read(path) {
        let message = format!("`{}` can be read by other users", path.display());
        let help = format!("run `chmod 600 {}`", path.display());
        problems.push(
            Diagnostic::warning(Code::Permissions, message)
                .at(Span {
                    file,
                    start: 0,
                    end: 0,
                })
                .help(help),
        );
    }
    Ok(assignments)
}

fn others_may_read(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o044 != 0)
}
