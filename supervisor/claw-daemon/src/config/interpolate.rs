//! `${VAR}` as in the Compose specification: in values only, and never read a second time.

use std::ops::Range;

use super::diagnostic::{Code, Diagnostic, Problems};
use super::merge::Keys;
use super::source::Sources;
use super::syntax::short;
use super::tree::{Inserted, Node, Scalar, Span, Value};

/// `${A:-${B:-…}}` may go this deep.
const MAX_NESTING: usize = 16;

/// A text with its variables put in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Expanded {
    pub(super) text: String,
    /// The bytes that came from variables.
    pub(super) inserted: Vec<Range<usize>>,
    pub(super) problems: Vec<Problem>,
}

/// What is wrong with a `$`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// The bytes of the text it is about.
    pub(super) at: Range<usize>,
    pub(super) kind: ProblemKind,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProblemKind {
    #[error("the variable `{0}` is not set")]
    Unset(String),
    #[error("the variable `{name}` is required: {message}")]
    Required { name: String, message: String },
    #[error("a `$` that begins no variable")]
    Lone,
    #[error("`${{` is never closed")]
    Open,
    #[error("`{0}` is not a variable's name")]
    Name(String),
    #[error("`{0}` is not an operator of `${{…}}`")]
    Operator(String),
    #[error("`${{…}}` is nested too deeply")]
    Nesting,
}

impl ProblemKind {
    pub(super) fn help(&self) -> String {
        match self {
            Self::Unset(name) => format!(
                "set it in the environment or in `.env`, or give a default: `${{{name}:-value}}`; write `$$` for a `$` that is meant as it is"
            ),
            Self::Required { name, .. } => {
                format!("set `{name}` in the environment or in `.env`")
            }
            Self::Lone => "write `$$` for a `$` that is meant as it is".to_owned(),
            Self::Open => {
                "close it with `}`, or write `$$` for a `$` that is meant as it is".to_owned()
            }
            Self::Name(_) | Self::Operator(_) => {
                "write `${NAME}`, `${NAME:-default}`, `${NAME:?message}` or `${NAME:+value}`"
                    .to_owned()
            }
            Self::Nesting => "use fewer defaults of defaults".to_owned(),
        }
    }
}

/// Where values of variables come from.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Puts variables into a text.
pub(super) fn expand(text: &str, lookup: Lookup<'_>) -> Expanded {
    let mut out = Expanded::default();
    if text.contains('$') {
        expand_into(&mut out, text, 0..text.len(), (lookup, 0));
    } else {
        text.clone_into(&mut out.text);
    }
    out
}

fn expand_into(out: &mut Expanded, text: &str, range: Range<usize>, with: (Lookup<'_>, usize)) {
    let mut at = range.start;
    while at < range.end {
        let Some(found) = text[at..range.end].find('$') else {
            out.text.push_str(&text[at..range.end]);
            return;
        };
        let dollar = at + found;
        out.text.push_str(&text[at..dollar]);
        at = variable(out, text, dollar..range.end, with);
    }
}

/// Reads what begins with a `$` and returns where it ends.
fn variable(
    out: &mut Expanded,
    text: &str,
    range: Range<usize>,
    with: (Lookup<'_>, usize),
) -> usize {
    let start = range.start;
    let rest = &text[start + 1..range.end];
    if rest.starts_with('$') {
        out.text.push('$');
        return start + 2;
    }
    if rest.starts_with('{') {
        return braced(out, text, range, with);
    }
    let name = name_at(rest);
    if name.is_empty() {
        out.problem(start..start + 1, ProblemKind::Lone);
        return start + 1;
    }
    let end = start + 1 + name.len();
    match (with.0)(name) {
        Some(value) => out.insert(&value),
        None => out.problem(start..end, ProblemKind::Unset(name.to_owned())),
    }
    end
}

fn braced(
    out: &mut Expanded,
    text: &str,
    range: Range<usize>,
    (lookup, depth): (Lookup<'_>, usize),
) -> usize {
    let start = range.start;
    let Some(close) = closing(&text[start..range.end]) else {
        out.problem(start..range.end, ProblemKind::Open);
        return range.end;
    };
    let whole = start..start + close + 1;
    let inner = start + 2..start + close;
    let name = name_at(&text[inner.clone()]);
    let operand = inner.start + name.len();
    let after = &text[operand..inner.end];
    if name.is_empty() {
        let kind = ProblemKind::Name(short(&text[inner]));
        out.problem(whole.clone(), kind);
        return whole.end;
    }
    if depth >= MAX_NESTING {
        out.problem(whole.clone(), ProblemKind::Nesting);
        return whole.end;
    }
    let value = lookup(name);
    let (colon, operator) = match after.strip_prefix(':') {
        Some(rest) => (1, rest.chars().next()),
        None => (0, after.chars().next()),
    };
    let usable = value.filter(|value| colon == 0 || !value.is_empty());
    let rest = operand + colon + 1..inner.end;
    match (operator, usable) {
        (None, Some(value)) if colon == 0 => out.insert(&value),
        (None, None) if colon == 0 => {
            out.problem(whole.clone(), ProblemKind::Unset(name.to_owned()));
        }
        (Some('-' | '?'), Some(value)) => out.insert(&value),
        (Some('-'), None) | (Some('+'), Some(_)) => {
            expand_into(out, text, rest, (lookup, depth + 1));
        }
        (Some('+'), None) => {}
        (Some('?'), None) => {
            let message = match &text[rest] {
                "" => "it has no value".to_owned(),
                message => short(message),
            };
            let name = name.to_owned();
            out.problem(whole.clone(), ProblemKind::Required { name, message });
        }
        (Some(_) | None, _) => {
            out.problem(whole.clone(), ProblemKind::Operator(short(after)));
        }
    }
    whole.end
}

/// The index of the `}` that closes a text beginning with `${`.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'$' if bytes.get(at + 1) == Some(&b'{') => {
                depth += 1;
                at += 1;
            }
            b'$' if bytes.get(at + 1) == Some(&b'$') => at += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// The name of a variable at the beginning of a text; may be empty.
pub(super) fn name_at(text: &str) -> &str {
    let starts = text
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if !starts {
        return "";
    }
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    &text[..end]
}

impl Expanded {
    fn insert(&mut self, value: &str) {
        let start = self.text.len();
        self.text.push_str(value);
        self.inserted.push(start..self.text.len());
    }

    fn problem(&mut self, at: Range<usize>, kind: ProblemKind) {
        self.problems.push(Problem { at, kind });
    }
}

/// Puts variables into every value of a tree. Keys, and extensions under `x-…`, are left alone.
pub(super) fn expand_tree(
    node: &mut Node,
    (path, keys): (&str, Keys),
    lookup: Lookup<'_>,
    (sources, problems): (&Sources, &mut Problems),
) {
    match &mut node.value {
        Value::Null => {}
        Value::Text(scalar) => {
            let span = node.span;
            expand_scalar(scalar, lookup, |problem, template| {
                problems.push(report(&problem, template, (span, path), sources));
            });
        }
        Value::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                let path = format!("{path}[{index}]");
                expand_tree(item, (&path, keys), lookup, (sources, problems));
            }
        }
        Value::Map(map) => {
            let extension = |key: &str| keys == Keys::Known && key.starts_with("x-");
            let entries = map.entries.iter_mut();
            for entry in entries.filter(|entry| !extension(&entry.key)) {
                let path = super::item::join(path, &entry.key);
                let keys = keys.below(&entry.key);
                expand_tree(&mut entry.node, (&path, keys), lookup, (sources, problems));
            }
        }
    }
}

/// Puts variables into one value.
pub(super) fn expand_scalar(
    scalar: &mut Scalar,
    lookup: Lookup<'_>,
    mut report: impl FnMut(Problem, &str),
) {
    let expanded = expand(&scalar.text, lookup);
    for problem in expanded.problems {
        report(problem, &scalar.text);
    }
    let template = std::mem::replace(&mut scalar.text, expanded.text);
    if !expanded.inserted.is_empty() {
        scalar.inserted = Some(Inserted {
            template,
            ranges: expanded.inserted,
        });
    }
}

fn report(
    problem: &Problem,
    template: &str,
    (span, path): (Span, &str),
    sources: &Sources,
) -> Diagnostic {
    let expression = &template[problem.at.clone()];
    let written = &sources.get(span.file).text[span.start..span.end];
    let at = match written.find(expression) {
        Some(offset) if written.matches(expression).count() == 1 => Span {
            start: span.start + offset,
            end: span.start + offset + expression.len(),
            ..span
        },
        Some(_) | None => span,
    };
    let key = path.rsplit('.').next().unwrap_or(path);
    Diagnostic::error(Code::Variable, format!("`{key}`: {}", problem.kind))
        .at(at)
        .path(path)
        .help(problem.kind.help())
}
