//! What happens next, in order of time.

use std::collections::BTreeMap;
use std::time::Duration;

/// Things that wait for their time. Of those of one time the first that was put in comes first.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    items: BTreeMap<(Duration, u64), T>,
    sequence: u64,
}

impl<T> Queue<T> {
    pub(crate) const fn new() -> Self {
        Self {
            items: BTreeMap::new(),
            sequence: 0,
        }
    }

    pub(crate) fn put(&mut self, at: Duration, item: T) {
        self.sequence += 1;
        self.items.insert((at, self.sequence), item);
    }

    pub(crate) fn next_at(&self) -> Option<Duration> {
        self.items.first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn take(&mut self) -> Option<T> {
        self.items.pop_first().map(|(_, item)| item)
    }
}
