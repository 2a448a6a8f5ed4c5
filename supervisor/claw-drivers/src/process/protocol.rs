//! The version of what shims and supervisors say to each other.
//!
//! An agent is held by the shim that it was started with, so after an upgrade a supervisor meets
//! shims that are older, and after a downgrade some that are newer than itself.

use serde::{Deserialize, Serialize};

/// The version that shims of this executable speak:
///
/// - 1: shims that do not say what they speak;
/// - 2: `protocol` in the run record and in the first line to each supervisor.
///
/// A version is added when a shim comes to say, or to be asked, something new. What is said only
/// grows: no field, report or request of an earlier version is left out or changes its meaning, and
/// the head of a run record ([`super::record::RecordHead`]) is the same in all versions. The two
/// versions before this one are understood.
const SPEAKS: u32 = 2;

/// The oldest version that this supervisor talks to.
const OLDEST: u32 = if SPEAKS > 2 { SPEAKS - 2 } else { 1 };

/// The oldest version of a supervisor that gets along with shims of this executable: it may skip
/// what it does not know of them. Raised when something is said that must not be skipped.
const UNDERSTOOD_BY: u32 = 1;

/// What a shim says of its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Protocol {
    pub(crate) speaks: u32,
    /// The oldest version of a supervisor that gets along with it.
    pub(crate) understood_by: u32,
}

impl Protocol {
    /// That of this executable.
    pub(crate) const OURS: Self = Self {
        speaks: SPEAKS,
        understood_by: UNDERSTOOD_BY,
    };

    /// That of shims that do not say it.
    pub(crate) const fn first() -> Self {
        Self {
            speaks: 1,
            understood_by: 1,
        }
    }

    /// Why this supervisor cannot talk to such a shim; `None`: it can.
    pub(crate) const fn gap(self) -> Option<Gap> {
        let understood = if self.speaks <= SPEAKS {
            self.speaks >= OLDEST
        } else {
            self.understood_by <= SPEAKS
        };
        if understood { None } else { Some(Gap(self)) }
    }
}

/// Why a supervisor does not talk to a shim; as text, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "its shim speaks version {} of the protocol, this supervisor understands {OLDEST} to {SPEAKS}",
    .0.speaks
)]
pub(crate) struct Gap(Protocol);

#[cfg(test)]
mod tests {
    use super::super::record::{RecordHead, RunRecord};
    use super::super::wire::{Report, Request};
    use super::*;

    /// A run record of a shim of version 1, as it was written.
    const RECORD: &str = r#"{"instance":{"agent":"web","generation":1},"shim":{"pid":18971,"start":5557206},"main":{"pid":18973,"start":5557206},"boot_id":"5bf89e57-16cc-4c09-a7ef-a86b839ecf80","at":"2026-11-22T17:31:18.832947648Z","group":{"backend":"hybrid","tree":"/sys/fs/cgroup/unified/openclaw/d4ff3534aa7004b3/web-1","memory":"/sys/fs/cgroup/memory/openclaw/d4ff3534aa7004b3/web-1","cpu":null,"pids":null,"limits":{"cpu_millis":null,"memory":67108864,"pids":null}},"plan":null,"keeper":null}"#;

    /// What shims of version 1 say.
    const REPORTS: [&str; 9] = [
        r#"{"started":{"main":{"pid":18973,"start":5557206},"keeper":null,"at":"2026-11-22T17:31:18.834580943Z","exited":null,"notified":"","ports":{"hosts":null,"models":null}}}"#,
        r#"{"started":{"main":{"pid":42,"start":101},"at":"2026-11-20T10:11:12Z"}}"#,
        r#"{"spawn_failed":{"stage":"exec","errno":2,"detail":"no such file"}}"#,
        r#"{"main_exited":{"code":3}}"#,
        r#"{"notified":"READY=1\nSTATUS=working"}"#,
        r#""progressed""#,
        r#"{"gone":{"status":{"signal":9},"at":"2026-11-20T10:11:12Z","oom_kills":0,"leftovers":1,"cpu_us":5,"memory_peak":6,"log":null}}"#,
        r#"{"learned":[]}"#,
        r#""opened""#,
    ];

    #[test]
    fn what_shims_of_the_first_version_wrote_and_said_is_understood() {
        let record: RunRecord = serde_json::from_str(RECORD).unwrap();
        assert_eq!(
            (record.main.pid, record.protocol),
            (18973, Protocol::first())
        );
        assert_eq!(record.protocol.gap(), None);
        for line in REPORTS {
            serde_json::from_str::<Report>(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn what_shims_of_the_first_version_are_asked_is_said_as_it_was() {
        let requests = [
            (Request::Signal(15), r#"{"signal":15}"#),
            (Request::Kill, r#""kill""#),
            (Request::Freeze, r#""freeze""#),
            (Request::Thaw, r#""thaw""#),
            (Request::Learned, r#""learned""#),
        ];
        for (request, line) in requests {
            assert_eq!(serde_json::to_string(&request).unwrap(), line);
        }
    }

    #[test]
    fn two_versions_back_are_understood_and_newer_ones_as_far_as_they_say_so() {
        let gap = |speaks, understood_by| {
            let theirs = Protocol {
                speaks,
                understood_by,
            };
            theirs.gap().map(|gap| gap.to_string())
        };
        assert_eq!(Protocol::OURS.gap(), None);
        for speaks in OLDEST..=SPEAKS {
            assert_eq!(gap(speaks, 1), None);
        }
        assert_eq!(gap(SPEAKS + 3, SPEAKS), None);
        let expected = format!(
            "its shim speaks version {} of the protocol, this supervisor understands {OLDEST} to {SPEAKS}",
            SPEAKS + 3
        );
        assert_eq!(gap(SPEAKS + 3, SPEAKS + 1), Some(expected));
        assert!(gap(OLDEST - 1, 0).is_some());
    }

    #[test]
    fn of_a_record_of_another_age_the_head_is_read() {
        let text = r#"{"protocol":{"speaks":9,"understood_by":8,"more":true},"main":{"pid":42,"start":101},"at":"2026-11-20T10:11:12Z","group":"elsewhere"}"#;
        let head: RecordHead = serde_json::from_str(text).unwrap();
        assert_eq!((head.main.pid, head.protocol.speaks), (42, 9));
    }
}
