//! A YAML document as a tree in which every key and value knows where it was written.

/// A file of [`super::source::Sources`], by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId(pub(super) usize);

/// A range of bytes in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) file: FileId,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A value and where it was written.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: Value,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Nothing, or `null`, or `~`.
    Null,
    /// A single value; what kind it is depends on who reads it.
    Text(Scalar),
    /// A list.
    List(Vec<Node>),
    /// A map.
    Map(Map),
}

/// A single value.
#[derive(Debug, Clone)]
pub(super) struct Scalar {
    /// The text, unescaped and, after interpolation, with variables put in.
    pub(super) text: String,
    /// Whether it was written in quotes.
    pub(super) style: Style,
    /// What the environment put into it.
    pub(super) inserted: Option<Inserted>,
}

/// How a scalar was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Without quotes: it may be a number or a truth value.
    Plain,
    /// In quotes or as a block: always text.
    Quoted,
}

/// The trace of values that came from the environment. They are never shown.
#[derive(Debug, Clone)]
pub(super) struct Inserted {
    /// The text as it was written, with `${NAME}` in it.
    pub(super) template: String,
    /// The bytes of the final text that came from variables.
    pub(super) ranges: Vec<std::ops::Range<usize>>,
}

/// A map in the order it was written; keys are unique.
#[derive(Debug, Clone, Default)]
pub(super) struct Map {
    pub(super) entries: Vec<Entry>,
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) node: Node,
    pub(super) origin: Origin,
}

/// Whether an agent has a key of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It was written where it stands.
    Own,
    /// It comes from `defaults`.
    Defaults,
}

impl Scalar {
    /// The text as it may be shown: variables stand as `${NAME}`.
    pub(super) fn shown(&self) -> &str {
        match &self.inserted {
            Some(inserted) => &inserted.template,
            None => &self.text,
        }
    }
}

impl Map {
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<Entry> {
        let index = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(index))
    }
}

impl Node {
    /// Marks all its keys as those of `defaults`.
    pub(super) fn mark_as_defaults(&mut self) {
        match &mut self.value {
            Value::Null | Value::Text(_) => {}
            Value::List(items) => items.iter_mut().for_each(Self::mark_as_defaults),
            Value::Map(map) => {
                for entry in &mut map.entries {
                    entry.origin = Origin::Defaults;
                    entry.node.mark_as_defaults();
                }
            }
        }
    }

    /// What it is, for a sentence such as "expected a map, found a list".
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Text(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    pub(super) fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            Value::Null | Value::Text(_) | Value::List(_) => None,
        }
    }

    pub(super) fn as_scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Text(scalar) => Some(scalar),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// How many nodes and how many levels it has.
    pub(super) fn extent(&self) -> Extent {
        let children: Vec<Extent> = match &self.value {
            Value::Null | Value::Text(_) => Vec::new(),
            Value::List(items) => items.iter().map(Self::extent).collect(),
            Value::Map(map) => map
                .entries
                .iter()
                .map(|entry| entry.node.extent())
                .collect(),
        };
        let keys = self.as_map().map_or(0, |map| map.entries.len());
        Extent {
            nodes: 1 + keys + children.iter().map(|child| child.nodes).sum::<usize>(),
            depth: 1 + children.iter().map(|child| child.depth).max().unwrap_or(0),
        }
    }
}

/// The size of a tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    pub(super) nodes: usize,
    pub(super) depth: usize,
}
