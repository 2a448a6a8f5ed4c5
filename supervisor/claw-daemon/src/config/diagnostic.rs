//! What is wrong with a fleet file: every problem with its place and a way out.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::source::Sources;
use super::tree::Span;

/// The most problems that are listed; the rest is counted.
const MAX_LISTED: usize = 100;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used; something should be looked at.
    Warning,
}

/// The kind of a problem, stable for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// A file is missing, unreadable, too large or not text.
    File,
    /// The file is not YAML.
    Syntax,
    /// The file has more depth or nodes than a fleet file may have.
    TooComplex,
    /// A key stands twice in one map.
    DuplicateKey,
    /// A key nobody knows.
    UnknownKey,
    /// A key that is planned, and not built yet.
    NotSupportedYet,
    /// A list where a map belongs, and the like.
    WrongType,
    /// A value that cannot be used.
    InvalidValue,
    /// A key that must be there is not.
    MissingKey,
    /// Two things that exclude each other.
    Conflict,
    /// A variable without value and without default, or `${…}` that cannot be read.
    Variable,
    /// A secret that is nowhere set.
    MissingSecret,
    /// A dependency on an agent that does not exist.
    UnknownAgent,
    /// Agents that wait for each other.
    DependencyCycle,
    /// An `$include` that cannot be followed.
    Include,
    /// An environment file that cannot be used.
    EnvFile,
    /// A file with secrets that others may read.
    Permissions,
}

impl Code {
    /// The code as programs see it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Syntax => "syntax",
            Self::TooComplex => "too_complex",
            Self::DuplicateKey => "duplicate_key",
            Self::UnknownKey => "unknown_key",
            Self::NotSupportedYet => "not_supported_yet",
            Self::WrongType => "wrong_type",
            Self::InvalidValue => "invalid_value",
            Self::MissingKey => "missing_key",
            Self::Conflict => "conflict",
            Self::Variable => "variable",
            Self::MissingSecret => "missing_secret",
            Self::UnknownAgent => "unknown_agent",
            Self::DependencyCycle => "dependency_cycle",
            Self::Include => "include",
            Self::EnvFile => "env_file",
            Self::Permissions => "permissions",
        }
    }
}

/// One problem.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What kind it is.
    pub code: Code,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The path of keys, such as `agents.monitor.restart_policy`; empty for whole files.
    pub path: String,
    pub(super) span: Option<Span>,
    /// A second place that belongs to it, with a word about it.
    pub(super) related: Option<(Span, &'static str)>,
}

impl Diagnostic {
    pub(super) fn error(code: Code, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            help: None,
            path: String::new(),
            span: None,
            related: None,
        }
    }

    pub(super) fn warning(code: Code, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, message)
        }
    }

    pub(super) fn at(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    pub(super) fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }

    pub(super) fn related(mut self, span: Span, label: &'static str) -> Self {
        self.related = Some((span, label));
        self
    }
}

/// Problems while they are collected. The same problem at the same place is kept once, as a
/// block with an anchor is read by every agent that uses it.
#[derive(Debug, Default)]
pub(super) struct Problems {
    list: Vec<Diagnostic>,
    not_listed: usize,
    failed: bool,
}

impl Problems {
    pub(super) fn push(&mut self, problem: Diagnostic) {
        self.failed |= problem.severity == Severity::Error;
        let known = self.list.iter().any(|other| {
            other.span.is_some() && other.span == problem.span && other.message == problem.message
        });
        if known {
            return;
        }
        if self.is_full() {
            self.not_listed += 1;
            let warning = |other: &Diagnostic| other.severity == Severity::Warning;
            let Some(index) = self.list.iter().position(warning) else {
                return;
            };
            self.list.remove(index);
        }
        self.list.push(problem);
    }

    /// Whether no more are listed, so that no more need be worded well.
    pub(super) fn is_full(&self) -> bool {
        self.list.len() >= MAX_LISTED
    }

    /// Whether the file is refused already and nothing more will be said about it, so that slow
    /// checks may be left out.
    pub(super) fn is_settled(&self) -> bool {
        self.failed && self.is_full()
    }

    /// Whether any of them is an error.
    pub(super) fn failed(&self) -> bool {
        self.failed
    }

    pub(super) fn finish(mut self, sources: Arc<Sources>) -> Diagnostics {
        self.list
            .sort_by_key(|problem| (problem.severity, problem.span));
        Diagnostics {
            list: self.list,
            not_listed: self.not_listed,
            sources,
        }
    }
}

/// All problems of a fleet file, with the texts they point into.
#[derive(Debug, Clone)]
pub struct Diagnostics {
    pub(super) list: Vec<Diagnostic>,
    pub(super) not_listed: usize,
    pub(super) sources: Arc<Sources>,
}

/// A problem with its place, for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// What kind it is.
    pub code: Code,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The path of keys.
    pub path: String,
    /// Where it stands; absent when it belongs to no line.
    pub place: Option<Place>,
}

/// A range of text in a file; lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The first line.
    pub line: usize,
    /// The first column.
    pub column: usize,
    /// The last line.
    pub end_line: usize,
    /// The column after the last character.
    pub end_column: usize,
}

impl Diagnostics {
    /// The problems, errors first, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// How many there are, also those beyond the ones listed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len() + self.not_listed
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many more there are than are listed.
    #[must_use]
    pub fn not_listed(&self) -> usize {
        self.not_listed
    }

    /// The problems for programs.
    #[must_use]
    pub fn to_json(&self) -> Vec<Problem> {
        let problem = |problem: &Diagnostic| Problem {
            severity: problem.severity,
            code: problem.code,
            message: problem.message.clone(),
            help: problem.help.clone(),
            path: problem.path.clone(),
            place: problem.span.map(|span| self.place(span)),
        };
        self.list.iter().map(problem).collect()
    }

    fn place(&self, span: Span) -> Place {
        let source = self.sources.get(span.file);
        let (line, column) = source.position(span.start);
        let (end_line, end_column) = source.position(span.end.max(span.start));
        Place {
            file: source.name.clone(),
            line,
            column,
            end_line,
            end_column,
        }
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(super::Style::Plain))
    }
}

impl std::error::Error for Diagnostics {}
