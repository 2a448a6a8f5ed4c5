//! Laying one map over another: maps deep, everything else replaced.

use super::keys_health::CHECKS;
use super::tree::{Map, Node, Value};

/// Keys of which only one may be set: whoever sets one replaces whichever was below.
const EXCLUSIVE: [&[&str]; 5] = [
    &["source", "command", "image", "build"],
    &CHECKS,
    &["every", "cron", "daily"],
    &["threshold", "unhealthy_threshold"],
    &["network", "allowed_network"],
];

/// Whose keys a map has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    /// Ours: some exclude each other.
    Known,
    /// Names of agents; below each, ours again.
    Names,
    /// The user's, all the way down.
    Free,
}

impl Keys {
    /// Whose keys the map under a key has.
    pub(super) fn below(self, key: &str) -> Self {
        match self {
            Self::Free => Self::Free,
            Self::Names => Self::Known,
            Self::Known if matches!(key, "agents" | "depends_on" | "per_agent" | "providers") => {
                Self::Names
            }
            Self::Known
                if matches!(key, "aliases" | "args" | "config" | "env")
                    || key.starts_with("x-") =>
            {
                Self::Free
            }
            Self::Known => Self::Known,
        }
    }
}

/// Lays `over` over `below`.
pub(super) fn merge(below: Node, over: Node, keys: Keys) -> Node {
    match (below.value, over.value) {
        (Value::Map(below), Value::Map(map)) => Node {
            span: over.span,
            value: Value::Map(merge_maps(below, map, keys)),
        },
        (_, value) => Node {
            span: over.span,
            value,
        },
    }
}

fn merge_maps(mut below: Map, over: Map, keys: Keys) -> Map {
    if keys == Keys::Known {
        for group in EXCLUSIVE {
            let replaced = group.iter().any(|key| over.get(key).is_some());
            below.entries.retain(|entry| {
                !replaced || !group.contains(&entry.key.as_str()) || over.get(&entry.key).is_some()
            });
        }
    }
    let mut merged = below;
    for mut entry in over.entries {
        let inner = keys.below(&entry.key);
        if let Some(position) = merged
            .entries
            .iter()
            .position(|known| known.key == entry.key)
        {
            let known = merged.entries.remove(position);
            entry.node = merge(known.node, entry.node, inner);
        }
        merged.entries.push(entry);
    }
    merged
}
