//! `$include: file`: other files merged below the map that names them.

use std::path::{Component, Path, PathBuf};

use super::diagnostic::{Code, Diagnostic, Problems};
use super::interpolate::{self, Lookup};
use super::merge::{Keys, merge};
use super::parse::{self, Budget};
use super::source::{self, Exposure, Source, Sources};
use super::syntax::short;
use super::tree::{Entry, FileId, Node, Span, Value};

/// Files may include files this deep.
const MAX_DEPTH: usize = 10;
/// Files of one fleet. Each is read once per mention.
const MAX_FILES: usize = 200;

/// Follows `$include` keys.
pub(super) struct Includer<'a> {
    /// The folder of the main file, as it is named in messages.
    pub(super) folder: &'a Path,
    /// The same without links; nothing outside it is read.
    pub(super) root: PathBuf,
    pub(super) sources: &'a mut Sources,
    pub(super) budget: &'a mut Budget,
    pub(super) problems: &'a mut Problems,
    pub(super) lookup: Lookup<'a>,
    /// The files under way, without links; the first is the main file.
    pub(super) stack: Vec<PathBuf>,
}

/// Why an include cannot be followed.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("`{0}` is an absolute path")]
    Absolute(String),
    #[error("`{0}` is outside the folder of the fleet file")]
    Outside(String),
    #[error("`{0}` includes itself: {1}")]
    Cycle(String, String),
    #[error("includes are nested more than {MAX_DEPTH} files deep")]
    Depth,
    #[error("more than {MAX_FILES} files are included")]
    Files,
    #[error("`{0}` cannot be included: {1}")]
    File(String, source::FileError),
    #[error("`{0}` holds no map of keys")]
    NoMap(String),
}

impl Includer<'_> {
    /// Replaces every `$include` in a tree by what it names.
    pub(super) fn resolve(&mut self, mut node: Node, keys: Keys) -> Node {
        match &mut node.value {
            Value::Null | Value::Text(_) => {}
            Value::List(items) => {
                let resolved = std::mem::take(items).into_iter();
                *items = resolved.map(|item| self.resolve(item, keys)).collect();
            }
            Value::Map(map) => {
                let include = map.remove("$include");
                let entries = std::mem::take(&mut map.entries).into_iter();
                map.entries = entries
                    .map(|entry| Entry {
                        node: self.resolve(entry.node, keys.below(&entry.key)),
                        ..entry
                    })
                    .collect();
                if let Some(include) = include {
                    return self.include(&include, node, keys);
                }
            }
        }
        node
    }

    fn include(&mut self, include: &Entry, own: Node, keys: Keys) -> Node {
        let names = match &include.node.value {
            Value::List(items) => items.iter().collect(),
            Value::Null | Value::Text(_) | Value::Map(_) => vec![&include.node],
        };
        let mut below: Option<Node> = None;
        for name in names {
            let Some(node) = self.file(name, include.key_span, keys) else {
                continue;
            };
            below = Some(match below {
                Some(below) => merge(below, node, keys),
                None => node,
            });
        }
        match below {
            Some(below) => merge(below, own, keys),
            None => own,
        }
    }

    fn file(&mut self, name: &Node, key: Span, keys: Keys) -> Option<Node> {
        let Some(scalar) = name.as_scalar() else {
            let message = format!(
                "`$include` names a file or a list of files, found {}",
                name.kind()
            );
            self.problems.push(
                Diagnostic::error(Code::WrongType, message)
                    .at(key)
                    .path("$include"),
            );
            return None;
        };
        let mut scalar = scalar.clone();
        let mut unset = None;
        interpolate::expand_scalar(&mut scalar, self.lookup, |problem, _| {
            unset = Some((problem.kind.to_string(), problem.kind.help()));
        });
        if let Some((message, help)) = unset {
            self.problems.push(
                Diagnostic::error(Code::Variable, message)
                    .at(name.span)
                    .path("$include")
                    .help(help),
            );
            return None;
        }
        let shown = short(scalar.shown());
        match self.read(Path::new(&scalar.text), &shown, name.span.file) {
            Ok((file, path)) => self.descend((file, path), name.span, shown, keys),
            Err(refused) => {
                self.refuse(&refused, name.span);
                None
            }
        }
    }

    fn descend(
        &mut self,
        (file, path): (FileId, PathBuf),
        span: Span,
        shown: String,
        keys: Keys,
    ) -> Option<Node> {
        let text = self.sources.get(file).clone();
        let node = parse::parse(file, &text, self.budget, self.problems)?;
        if node.as_map().is_none() {
            self.refuse(&Refused::NoMap(shown), span);
            return None;
        }
        self.stack.push(path);
        let node = self.resolve(node, keys);
        self.stack.pop();
        Some(node)
    }

    fn read(
        &mut self,
        name: &Path,
        shown: &str,
        from: FileId,
    ) -> Result<(FileId, PathBuf), Refused> {
        if name.is_absolute() {
            return Err(Refused::Absolute(shown.to_owned()));
        }
        if self.stack.len() > MAX_DEPTH {
            return Err(Refused::Depth);
        }
        if self.sources.len() >= MAX_FILES {
            return Err(Refused::Files);
        }
        let including = self.sources.get(from).path.clone();
        let folder = including.parent().unwrap_or(self.folder);
        let path = lexical(&folder.join(name));
        if !path.starts_with(lexical(self.folder)) {
            return Err(Refused::Outside(shown.to_owned()));
        }
        let real = path
            .canonicalize()
            .map_err(|_missing| Refused::File(shown.to_owned(), source::FileError::Missing))?;
        if !real.starts_with(&self.root) {
            return Err(Refused::Outside(shown.to_owned()));
        }
        if self.stack.contains(&real) {
            return Err(Refused::Cycle(shown.to_owned(), self.circle(&real)));
        }
        let text =
            source::read_text(&real).map_err(|error| Refused::File(shown.to_owned(), error))?;
        let source = Source::new(path.display().to_string(), path, text, Exposure::Shown);
        Ok((self.sources.add(source), real))
    }

    fn circle(&self, again: &Path) -> String {
        let from = self
            .stack
            .iter()
            .position(|path| path == again)
            .unwrap_or(0);
        let name = |path: &PathBuf| {
            let inside = path.strip_prefix(&self.root).unwrap_or(path);
            inside.display().to_string()
        };
        let mut names: Vec<String> = self.stack[from..].iter().map(name).collect();
        names.push(name(&again.to_path_buf()));
        names.join(" -> ")
    }

    fn refuse(&mut self, refused: &Refused, span: Span) {
        let help = match refused {
            Refused::Absolute(_) | Refused::Outside(_) => {
                "name a file in the folder of the fleet file, relative to the file that includes it"
            }
            Refused::Cycle(..) => "remove one of the includes",
            Refused::Depth | Refused::Files => "include fewer files",
            Refused::File(_, error) => error.help(),
            Refused::NoMap(_) => "write `key: value` lines into it",
        };
        self.problems.push(
            Diagnostic::error(Code::Include, refused.to_string())
                .at(span)
                .path("$include")
                .help(help),
        );
    }
}

/// A path without `.` and with `..` resolved by its text alone.
pub(super) fn lexical(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if out.file_name().is_some() => {
                out.pop();
            }
            Component::ParentDir
            | Component::Normal(_)
            | Component::RootDir
            | Component::Prefix(_) => {
                out.push(component);
            }
        }
    }
    out
}
