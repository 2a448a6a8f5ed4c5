//! What is to be run.

use std::collections::BTreeMap;
use std::time::Duration;

use super::files;
use super::outcome::RunError;
use super::spec::SandboxSpec;

/// Words of a command and variables: more than that the kernel does not pass on either.
const MOST_TEXT: usize = 128 << 10;

/// What a command may read; it is in memory until it has.
const MOST_STDIN: usize = 16 << 20;

/// A command for a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Command {
    /// The program and its arguments; no shell is added.
    pub program: Vec<String>,
    /// What it reads; its standard input ends behind it.
    pub stdin: Vec<u8>,
    /// Variables beside the sandbox's own.
    pub env: BTreeMap<String, String>,
    /// Files that are there when it starts, by their names below the working directory; 16 MiB
    /// together at most.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Names below the working directory of files that are wanted when it has ended.
    pub outputs: Vec<String>,
    /// How long it may take; `None`: as long as the sandbox allows.
    pub timeout: Option<Duration>,
}

impl Command {
    /// How long it may take in such a sandbox.
    pub(super) fn limit(&self, spec: &SandboxSpec) -> Duration {
        self.timeout.unwrap_or(spec.timeout).min(spec.timeout)
    }

    pub(super) fn check(&self, spec: &SandboxSpec) -> Result<(), RunError> {
        let invalid = |why: String| Err(RunError::Invalid(why));
        if self.program.first().is_none_or(String::is_empty) {
            return invalid("there is no command: name a program and its arguments".to_owned());
        }
        if self.timeout.is_some_and(|asked| asked.is_zero()) {
            return invalid("a command needs some time: ask for more than 0 s".to_owned());
        }
        if let Some(asked) = self.timeout.filter(|asked| *asked > spec.timeout) {
            return invalid(format!(
                "{asked:?} were asked for, and a command in this sandbox has {:?} at most: ask for \
                 less, or raise `timeout` of the sandbox",
                spec.timeout
            ));
        }
        if let Some(name) = self.env.keys().find(|name| !is_name(name)) {
            return invalid(format!("`{name}` cannot be the name of a variable"));
        }
        if self.stdin.len() > MOST_STDIN {
            return invalid(format!("a command reads {MOST_STDIN} bytes at most"));
        }
        files::check(self)?;
        let texts = self.program.iter().chain(self.env.values());
        if texts.clone().any(|text| text.contains('\0')) {
            return invalid("a command and its variables have no NUL characters".to_owned());
        }
        if texts.map(String::len).sum::<usize>() > MOST_TEXT {
            return invalid(format!(
                "a command and its variables have {MOST_TEXT} bytes at most: pass more by its \
                 standard input"
            ));
        }
        Ok(())
    }

    /// Whether files go in or come out, for which the sandbox has to be there before the command
    /// and after it.
    pub(super) fn has_files(&self) -> bool {
        !self.files.is_empty() || !self.outputs.is_empty()
    }

    /// The variables as the engine wants them.
    pub(super) fn variables(&self) -> Vec<String> {
        pairs(&self.env)
    }
}

pub(super) fn pairs(env: &BTreeMap<String, String>) -> Vec<String> {
    env.iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect()
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_run_is_refused_with_a_reason() {
        let spec = SandboxSpec::of_image("busybox".to_owned());
        let good = Command {
            program: vec!["true".to_owned()],
            ..Command::default()
        };
        assert_eq!(good.check(&spec), Ok(()));
        assert_eq!(good.limit(&spec), spec.timeout);
        let bad = [
            Command::default(),
            Command {
                timeout: Some(Duration::from_secs(31)),
                ..good.clone()
            },
            Command {
                timeout: Some(Duration::ZERO),
                ..good.clone()
            },
            Command {
                env: BTreeMap::from([("A=B".to_owned(), String::new())]),
                ..good.clone()
            },
            Command {
                program: vec!["x".repeat(MOST_TEXT + 1)],
                ..good.clone()
            },
            Command {
                files: BTreeMap::from([("../a".to_owned(), Vec::new())]),
                ..good.clone()
            },
            Command {
                outputs: vec!["/etc/passwd".to_owned()],
                ..good.clone()
            },
            Command {
                program: vec!["a\0b".to_owned()],
                ..good
            },
        ];
        for command in bad {
            assert!(matches!(command.check(&spec), Err(RunError::Invalid(_))));
        }
    }
}
