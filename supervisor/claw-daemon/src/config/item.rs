//! A value together with where it stands in the fleet, and a section's values by key.

use super::section::Section;
use super::syntax::short;
use super::tree::{Map, Node, Origin, Span, Value};

static NO_ENTRIES: Map = Map {
    entries: Vec::new(),
};

/// A value on its way through the readers.
#[derive(Debug, Clone)]
pub(super) struct Item<'a> {
    pub(super) node: &'a Node,
    /// Where its key was written.
    pub(super) key: Option<Span>,
    /// The path of keys to it.
    pub(super) path: String,
    /// Whether its key is the agent's own.
    pub(super) origin: Origin,
}

/// A section's values.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    pub(super) section: &'static Section,
    pub(super) item: Item<'a>,
    map: &'a Map,
}

impl<'a> Item<'a> {
    pub(super) fn root(node: &'a Node) -> Self {
        Self {
            node,
            key: None,
            path: String::new(),
            origin: Origin::Own,
        }
    }

    /// What is underlined when the value is wrong: the value, or the key of a longer one.
    pub(super) fn span(&self) -> Span {
        match (&self.node.value, self.key) {
            (Value::Text(_), _) | (_, None) => self.node.span,
            (Value::Null | Value::List(_) | Value::Map(_), Some(key)) => key,
        }
    }

    /// The key it stands under, or its place in a list.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or_default()
    }

    /// The value as it may be shown.
    pub(super) fn shown(&self) -> String {
        match &self.node.value {
            Value::Text(scalar) => format!("`{}`", short(scalar.shown())),
            Value::Null | Value::List(_) | Value::Map(_) => self.node.kind().to_owned(),
        }
    }

    /// A part of the value as it may be shown.
    pub(super) fn shown_part(&self, part: &str) -> String {
        if self.is_from_environment() {
            self.shown()
        } else {
            format!("`{}`", short(part))
        }
    }

    /// Whether the environment put something into the value.
    pub(super) fn is_from_environment(&self) -> bool {
        self.node
            .as_scalar()
            .is_some_and(|scalar| scalar.inserted.is_some())
    }

    /// The values of a list.
    pub(super) fn elements(&self) -> Option<Vec<Self>> {
        let Value::List(items) = &self.node.value else {
            return None;
        };
        let element = |(index, node)| Self {
            node,
            key: None,
            path: format!("{}[{index}]", self.path),
            origin: self.origin,
        };
        Some(items.iter().enumerate().map(element).collect())
    }

    /// The values of a map whose keys are free; `x-…` keys are no exception here.
    pub(super) fn named(&self) -> Option<Vec<(&'a str, Self)>> {
        let map = match &self.node.value {
            Value::Map(map) => map,
            Value::Null => &NO_ENTRIES,
            Value::Text(_) | Value::List(_) => return None,
        };
        let entry = |entry: &'a super::tree::Entry| {
            let item = Self {
                node: &entry.node,
                key: Some(entry.key_span),
                path: join(&self.path, &entry.key),
                origin: entry.origin,
            };
            (entry.key.as_str(), item)
        };
        Some(map.entries.iter().map(entry).collect())
    }
}

impl<'a> Fields<'a> {
    /// The fields of a map; nothing at all counts as an empty map.
    pub(super) fn of(section: &'static Section, item: Item<'a>) -> Option<Self> {
        let map = match &item.node.value {
            Value::Map(map) => map,
            Value::Null => &NO_ENTRIES,
            Value::Text(_) | Value::List(_) => return None,
        };
        Some(Self { section, item, map })
    }

    pub(super) fn get(&self, key: &str) -> Option<Item<'a>> {
        debug_assert!(self.section.has(key), "{} has no {key}", self.section.title);
        let entry = self.map.get(key)?;
        Some(Item {
            node: &entry.node,
            key: Some(entry.key_span),
            path: join(&self.item.path, key),
            origin: entry.origin,
        })
    }

    /// Everything that is there.
    pub(super) fn entries(&self) -> Vec<(&'a str, Item<'a>)> {
        self.item.named().unwrap_or_default()
    }

    /// Those of some keys that are there.
    pub(super) fn present(&self, keys: &[&str]) -> Vec<Item<'a>> {
        keys.iter().filter_map(|key| self.get(key)).collect()
    }
}

/// Adds a key to a path.
pub(super) fn join(path: &str, key: &str) -> String {
    let key = short(key);
    if path.is_empty() {
        key
    } else {
        format!("{path}.{key}")
    }
}
