//! Sets of sequence numbers that are mostly long runs.

use std::collections::BTreeMap;

use crate::bus::event::Seq;

/// Ranges that neither overlap nor touch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ranges(BTreeMap<Seq, Seq>);

impl Ranges {
    /// Adds all numbers from the first to the last.
    pub(crate) fn insert(&mut self, first: Seq, last: Seq) {
        if first > last {
            return;
        }
        let (mut first, mut last) = (first, last);
        let touching = last.saturating_add(1);
        while let Some((&start, &end)) = self.0.range(..=touching).next_back() {
            if end.saturating_add(1) < first {
                break;
            }
            self.0.remove(&start);
            first = first.min(start);
            last = last.max(end);
        }
        self.0.insert(first, last);
    }

    /// Takes one number out.
    pub(crate) fn remove(&mut self, seq: Seq) {
        let Some((&start, &end)) = self.0.range(..=seq).next_back() else {
            return;
        };
        if end < seq {
            return;
        }
        self.0.remove(&start);
        if start < seq {
            self.0.insert(start, seq - 1);
        }
        if seq < end {
            self.0.insert(seq + 1, end);
        }
    }

    /// Forgets everything up to here.
    pub(crate) fn forget_to(&mut self, floor: Seq) {
        while let Some((&start, &end)) = self.0.first_key_value() {
            if start > floor {
                return;
            }
            self.0.remove(&start);
            if end > floor {
                self.0.insert(floor + 1, end);
            }
        }
    }

    pub(crate) fn contains(&self, seq: Seq) -> bool {
        let found = self.0.range(..=seq).next_back();
        found.is_some_and(|(_start, end)| *end >= seq)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn last(&self) -> Option<Seq> {
        self.0.last_key_value().map(|(_start, end)| *end)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Seq, Seq)> {
        self.0.iter().map(|(start, end)| (*start, *end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn ranges_are_a_set(steps in prop::collection::vec((0_u64..60, 0_u64..9, 0_u8..4), 0..60)) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for (first, length, what) in steps {
                match what {
                    0 => {
                        ranges.remove(first);
                        set.remove(&first);
                    }
                    1 if length == 0 => {
                        ranges.forget_to(first);
                        set.retain(|seq| *seq > first);
                    }
                    _ => {
                        ranges.insert(first, first + length);
                        set.extend(first..=first + length);
                    }
                }
            }
            let flat: BTreeSet<_> = ranges.iter().flat_map(|(first, last)| first..=last).collect();
            prop_assert_eq!(flat, set);
            let all: Vec<_> = ranges.iter().collect();
            for pair in all.windows(2) {
                prop_assert!(pair[0].1 + 1 < pair[1].0, "{:?} touch", pair);
            }
        }
    }
}
