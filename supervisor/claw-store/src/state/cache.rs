//! Decoded values of heads, so that a read of a hot key does not leave the thread that asks; and
//! which chunks are stored, so that a rewrite does not compress them again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::model::{Namespace, Value};
use super::value::Hash;
use crate::store::limits::CACHE_BYTES;

/// Hashes of chunks that are remembered: 16 GiB of values.
const CHUNKS_REMEMBERED: usize = 1 << 16;

/// A key of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct CachedKey {
    namespace: Box<str>,
    key: Box<str>,
}

impl CachedKey {
    pub(super) fn new(namespace: &Namespace, key: &str) -> Self {
        Self {
            namespace: namespace.as_str().into(),
            key: key.into(),
        }
    }
}

/// The least recently used values go first.
#[derive(Default)]
pub(crate) struct Cache {
    values: Mutex<Values>,
    chunks: Mutex<HashSet<Hash>>,
}

#[derive(Default)]
struct Values {
    found: HashMap<CachedKey, (u64, Value)>,
    order: BTreeMap<u64, CachedKey>,
    bytes: usize,
    tick: u64,
    /// Grows with every commit of state.
    generation: u64,
}

/// What a commit does to the cache.
#[derive(Debug)]
pub(super) enum Change {
    Set(CachedKey, Value),
    Gone(CachedKey),
    All(Namespace),
}

impl Cache {
    pub(super) fn get(&self, key: &CachedKey) -> Option<Value> {
        let mut values = self.lock();
        let tick = values.next_tick();
        let Values { found, order, .. } = &mut *values;
        let (seen, value) = found.get_mut(key)?;
        let place = order.remove(seen);
        *seen = tick;
        order.extend(place.map(|key| (tick, key)));
        Some(value.clone())
    }

    /// To be asked before a read whose answer is to be kept.
    pub(super) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// Keeps what was read, unless something was committed meanwhile.
    pub(super) fn fill(&self, key: CachedKey, value: &Value, generation: u64) {
        let mut values = self.lock();
        if values.generation == generation {
            values.put(key, value.clone());
        }
    }

    pub(super) fn remove(&self, key: &CachedKey) {
        self.lock().remove(key);
    }

    /// A commit has changed these.
    pub(super) fn change(&self, changes: Vec<Change>) {
        let mut values = self.lock();
        values.generation += 1;
        for change in changes {
            match change {
                Change::Set(key, value) => values.put(key, value),
                Change::Gone(key) => values.remove(&key),
                Change::All(namespace) => values.remove_all(namespace.as_str()),
            }
        }
    }

    pub(super) fn knows_chunk(&self, hash: &Hash) -> bool {
        let chunks = self.chunks.lock();
        chunks
            .unwrap_or_else(PoisonError::into_inner)
            .contains(hash)
    }

    pub(super) fn remember_chunk(&self, hash: Hash) {
        let chunks = self.chunks.lock();
        let mut chunks = chunks.unwrap_or_else(PoisonError::into_inner);
        if chunks.len() >= CHUNKS_REMEMBERED {
            chunks.clear();
        }
        chunks.insert(hash);
    }

    fn lock(&self) -> MutexGuard<'_, Values> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Values {
    fn next_tick(&mut self) -> u64 {
        self.tick += 1;
        self.tick
    }

    fn put(&mut self, key: CachedKey, value: Value) {
        self.remove(&key);
        let tick = self.next_tick();
        self.bytes += value.bytes.len();
        self.order.insert(tick, key.clone());
        self.found.insert(key, (tick, value));
        while self.bytes > CACHE_BYTES
            && let Some((_tick, oldest)) = self.order.pop_first()
        {
            if let Some((_tick, value)) = self.found.remove(&oldest) {
                self.bytes -= value.bytes.len();
            }
        }
    }

    fn remove(&mut self, key: &CachedKey) {
        if let Some((tick, value)) = self.found.remove(key) {
            self.order.remove(&tick);
            self.bytes -= value.bytes.len();
        }
    }

    fn remove_all(&mut self, namespace: &str) {
        let gone: Vec<_> = (self.found.keys())
            .filter(|key| *key.namespace == *namespace)
            .cloned()
            .collect();
        for key in gone {
            self.remove(&key);
        }
    }
}
