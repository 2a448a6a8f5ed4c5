//! The series of sandboxes, written from how each of them does at the time of the scrape.

use std::fmt::Write;

use claw_drivers::container::pool::SandboxStatus;

/// A metric: its name without the prefix, what it says, its kind, and its value.
type Metric = (&'static str, &'static str, Kind, fn(&SandboxStatus) -> u64);

#[derive(Debug, Clone, Copy)]
enum Kind {
    Gauge,
    Counter,
}

const METRICS: [Metric; 10] = [
    (
        "sandbox_ready",
        "Containers that wait for a command",
        Kind::Gauge,
        |status| count(status.ready),
    ),
    (
        "sandbox_running",
        "Commands that run",
        Kind::Gauge,
        |status| count(status.running),
    ),
    (
        "sandbox_waiting",
        "Commands that wait for their turn",
        Kind::Gauge,
        |status| count(status.waiting),
    ),
    (
        "sandbox_runs",
        "Commands that have ended",
        Kind::Counter,
        |status| status.runs,
    ),
    (
        "sandbox_cold_runs",
        "Commands that found no container ready",
        Kind::Counter,
        |status| status.cold,
    ),
    (
        "sandbox_timeouts",
        "Commands whose time was over",
        Kind::Counter,
        |status| status.timeouts,
    ),
    (
        "sandbox_oom_runs",
        "Commands in which something was killed for memory",
        Kind::Counter,
        |status| status.out_of_memory,
    ),
    (
        "sandbox_refusals",
        "Commands that were turned away because too many ran",
        Kind::Counter,
        |status| status.refused,
    ),
    (
        "sandbox_idle_removals",
        "Containers that were removed because nobody asked for them",
        Kind::Counter,
        |status| status.removed_idle,
    ),
    (
        "sandbox_age_removals",
        "Containers that were removed because of their age",
        Kind::Counter,
        |status| status.removed_old,
    ),
];

/// The series as OpenMetrics text without its end; empty without sandboxes. Names of sandboxes
/// need no escapes.
pub(crate) fn expose(sandboxes: &[SandboxStatus]) -> String {
    let mut text = String::new();
    if sandboxes.is_empty() {
        return text;
    }
    for (name, help, kind, value) in METRICS {
        let (word, ending) = match kind {
            Kind::Gauge => ("gauge", ""),
            Kind::Counter => ("counter", "_total"),
        };
        // Writing to a String cannot fail.
        write!(
            text,
            "# HELP openclaw_{name} {help}.\n# TYPE openclaw_{name} {word}\n"
        )
        .ok();
        for status in sandboxes {
            let (sandbox, value) = (&status.name, value(status));
            writeln!(
                text,
                "openclaw_{name}{ending}{{sandbox=\"{sandbox}\"}} {value}"
            )
            .ok();
        }
    }
    text
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sandbox_has_each_series() {
        assert_eq!(expose(&[]), "");
        let status = |name: &str| SandboxStatus {
            name: name.to_owned(),
            image: "busybox".to_owned(),
            ready: 2,
            wanted: 2,
            running: 1,
            waiting: 0,
            max_running: 4,
            idle: false,
            runs: 7,
            cold: 3,
            timeouts: 0,
            out_of_memory: 0,
            refused: 0,
            removed_idle: 0,
            removed_old: 0,
            note: None,
        };
        let text = expose(&[status("a"), status("b")]);
        for line in [
            "# TYPE openclaw_sandbox_ready gauge",
            "openclaw_sandbox_ready{sandbox=\"b\"} 2",
            "# TYPE openclaw_sandbox_runs counter",
            "openclaw_sandbox_cold_runs_total{sandbox=\"a\"} 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
