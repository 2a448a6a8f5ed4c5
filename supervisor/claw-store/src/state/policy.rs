//! Which versions are kept: a pure decision.

use std::collections::BTreeSet;
use std::time::Duration;

use super::model::{Mark, Version};
use crate::store::UnixMs;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// How long versions are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepPolicy {
    /// Every version is kept this long.
    pub all: Duration,
    /// The last of each hour this long.
    pub hourly: Duration,
    /// The last of each day this long.
    pub daily: Duration,
    /// This many of the newest checkpoints are kept in any case.
    pub checkpoints: usize,
    /// All that is stored of a namespace may take this many times its quota; beyond it the oldest
    /// versions go that are not pinned, whatever their age.
    pub history: u64,
}

impl Default for KeepPolicy {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3_600);
        Self {
            all: DAY,
            hourly: 30 * DAY,
            daily: 365 * DAY,
            checkpoints: 20,
            history: 10,
        }
    }
}

/// A version, as far as the decision needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its number.
    pub version: Version,
    /// When it was made.
    pub at: UnixMs,
    /// What it is kept for.
    pub mark: Mark,
}

impl KeepPolicy {
    /// The versions of a namespace, oldest first, that need not be kept. The newest always is.
    #[must_use]
    pub fn superfluous(&self, versions: &[Candidate], now: UnixMs) -> Vec<Version> {
        let Some(head) = versions.last() else {
            return Vec::new();
        };
        let marked = versions.iter().rev().filter(|one| one.mark != Mark::None);
        let newest: BTreeSet<_> = (marked.take(self.checkpoints))
            .map(|one| one.version)
            .collect();
        let mut drop = Vec::new();
        for (n, one) in versions.iter().enumerate() {
            let next = versions.get(n + 1);
            let last_of = |span| next.is_none_or(|next| next.at.0 / span != one.at.0 / span);
            let age = now.since(one.at);
            let keep = one.version == head.version
                || one.mark == Mark::Pinned
                || newest.contains(&one.version)
                || age < self.all
                || (age < self.hourly && last_of(HOUR_MS))
                || (age < self.daily && last_of(DAY_MS));
            if !keep {
                drop.push(one.version);
            }
        }
        drop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_five_minutes(days: i64) -> Vec<Candidate> {
        (0..days * 288)
            .map(|n| Candidate {
                version: u64::try_from(n + 1).unwrap(),
                at: UnixMs(n * 300_000),
                mark: Mark::None,
            })
            .collect()
    }

    #[test]
    fn a_year_of_rewrites_keeps_about_fourteen_hundred_versions() {
        let versions = every_five_minutes(365);
        let now = versions.last().unwrap().at;
        let dropped = KeepPolicy::default().superfluous(&versions, now).len();
        let kept = versions.len() - dropped;
        assert!((1_300..1_500).contains(&kept), "{kept} are kept");
    }

    #[test]
    fn pinned_head_and_newest_checkpoints_are_kept() {
        let mut versions = every_five_minutes(2);
        versions[3].mark = Mark::Pinned;
        for one in &mut versions[10..40] {
            one.mark = Mark::Checkpoint;
        }
        let now = UnixMs(i64::MAX / 2);
        let dropped = KeepPolicy::default().superfluous(&versions, now);
        let kept: Vec<_> = (versions.iter().map(|one| one.version))
            .filter(|version| !dropped.contains(version))
            .collect();
        let expected: Vec<_> = [4].into_iter().chain(21..=40).chain([576]).collect();
        assert_eq!(kept, expected);
    }

    #[test]
    fn pruning_twice_removes_nothing_more() {
        let versions = every_five_minutes(40);
        let now = versions.last().unwrap().at;
        let policy = KeepPolicy::default();
        let dropped = policy.superfluous(&versions, now);
        let mut left = versions;
        left.retain(|one| !dropped.contains(&one.version));
        assert_eq!(policy.superfluous(&left, now), Vec::<u64>::new());
    }
}
