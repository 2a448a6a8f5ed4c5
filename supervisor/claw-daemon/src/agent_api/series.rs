//! An agent's own metrics, as it reported them last.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Deserialize;

use super::fault::Fault;
use super::limits;

/// Bounds of a histogram that names none, in seconds.
const BUCKETS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Labels of one series.
const LABELS: usize = 8;

/// The longest name of a metric or label, and value of a label.
const NAME: usize = 128;

/// One report.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Sample {
    name: String,
    kind: Kind,
    #[serde(default)]
    value: Option<f64>,
    #[serde(default)]
    values: Option<Vec<f64>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    buckets: Option<Vec<f64>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Gauge,
    Counter,
    Histogram,
}

#[derive(Debug, Clone)]
enum Reading {
    Gauge(f64),
    Counter(f64),
    Histogram {
        bounds: Vec<f64>,
        counts: Vec<u64>,
        sum: f64,
        count: u64,
    },
}

/// One scrape: families of metrics, of which no two have a name or the name of a sample in common.
#[derive(Debug, Default)]
pub(super) struct Page {
    families: BTreeMap<String, (Kind, String)>,
    /// Every name that a family takes up.
    names: BTreeSet<String>,
}

impl Page {
    /// The text of a family, unless another one has its name, or that of one of its samples. Who
    /// comes first has it: one family of the wrong type makes the whole page unreadable.
    fn family(&mut self, name: &str, kind: Kind) -> Option<&mut String> {
        if !self.families.contains_key(name) {
            let names = kind
                .endings()
                .iter()
                .map(|ending| format!("{name}{ending}"));
            let names: Vec<_> = names.collect();
            if names.iter().any(|name| self.names.contains(name)) {
                return None;
            }
            self.names.extend(names);
        }
        let family = self.families.entry(name.to_owned());
        let family = family.or_insert_with(|| (kind, String::new()));
        (family.0 == kind).then_some(&mut family.1)
    }

    /// OpenMetrics text without its end.
    pub(super) fn text(&self) -> String {
        let families = self.families.iter();
        families
            .map(|(name, (kind, samples))| format!("# TYPE {name} {}\n{samples}", kind.word()))
            .collect()
    }
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }

    /// What is added to the name of a family for those of its samples.
    const fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Gauge => &[""],
            Self::Counter => &["", "_total", "_created"],
            Self::Histogram => &["", "_bucket", "_count", "_sum", "_created"],
        }
    }
}

/// All series of an agent.
#[derive(Debug, Default)]
pub(super) struct Series(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    readings: BTreeMap<(String, BTreeMap<String, String>), Reading>,
    dropped: u64,
    refused: u64,
}

impl Sample {
    /// Checks a report.
    pub(super) fn check(&self) -> Result<(), Fault> {
        let bad = |message: String| Err(Fault::bad("bad_metric", message));
        if !is_name(&self.name) || self.name.starts_with("openclaw_") {
            let name: String = self.name.chars().take(NAME).collect();
            return bad(format!("`{name}` cannot be the name of an agent's metric"));
        }
        let labels = self.labels.iter().flatten();
        if self
            .labels
            .as_ref()
            .is_some_and(|labels| labels.len() > LABELS)
        {
            return bad(format!("a metric has at most {LABELS} labels"));
        }
        for (name, value) in labels {
            if !is_name(name) || matches!(name.as_str(), "agent" | "le") || value.len() > NAME {
                return bad("a label cannot be used".to_owned());
            }
        }
        let ascending = |bounds: &Vec<f64>| bounds.windows(2).all(|two| two[0] < two[1]);
        if self
            .buckets
            .as_ref()
            .is_some_and(|bounds| bounds.len() > 64 || !ascending(bounds))
        {
            return bad("buckets are at most 64 ascending bounds".to_owned());
        }
        let values = self.values.iter().flatten().chain(&self.value);
        let falling = values.clone().any(|value| *value < 0.0);
        if self.kind == Kind::Counter && falling {
            return bad("a counter only grows".to_owned());
        }
        if values.count() == 0 {
            return bad("a metric has a `value`".to_owned());
        }
        Ok(())
    }
}

fn is_name(text: &str) -> bool {
    let usable = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    begins && text.len() <= NAME && text.chars().all(usable)
}

impl Series {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count_refusal(&self) {
        self.lock().refused += 1;
    }

    /// Takes reports that were checked.
    pub(super) fn take(&self, samples: &[Sample]) {
        let mut kept = self.lock();
        for sample in samples {
            let key = (
                sample.name.clone(),
                sample.labels.clone().unwrap_or_default(),
            );
            let room = kept.readings.len() < limits::SERIES;
            if !room && !kept.readings.contains_key(&key) {
                kept.dropped += 1;
                continue;
            }
            let reading = kept.readings.entry(key).or_insert_with(|| sample.fresh());
            reading.take(sample);
        }
    }

    /// Writes all series of one agent into a scrape. What would break the page is left out, and
    /// counted as dropped.
    pub(super) fn expose(&self, agent: &str, page: &mut Page) {
        let kept = self.lock();
        let mut dropped = kept.dropped;
        let mut written = BTreeSet::new();
        for ((name, labels), reading) in &kept.readings {
            let labels = labels
                .iter()
                .fold(String::new(), |mut text, (name, value)| {
                    write!(text, ",{name}=\"{}\"", escaped(value)).ok();
                    text
                });
            // OpenMetrics adds the ending that many names of counters have already.
            let name = match reading {
                Reading::Counter(_) => name.strip_suffix("_total").unwrap_or(name),
                Reading::Gauge(_) | Reading::Histogram { .. } => name,
            };
            // A counter may have been reported both with the ending and without it.
            if !written.insert((name, labels.clone())) {
                dropped += 1;
                continue;
            }
            match page.family(name, reading.kind()) {
                Some(text) => reading.expose(name, &format!("agent=\"{agent}\"{labels}"), text),
                None => dropped += 1,
            }
        }
        let own = [
            ("openclaw_agent_protocol_refusals", kept.refused),
            ("openclaw_agent_series_dropped", dropped),
        ];
        for (name, count) in own {
            if let Some(text) = page.family(name, Kind::Counter) {
                // Writing to a String cannot fail.
                writeln!(text, "{name}_total{{agent=\"{agent}\"}} {count}").ok();
            }
        }
    }
}

impl Sample {
    fn fresh(&self) -> Reading {
        match self.kind {
            Kind::Gauge => Reading::Gauge(0.0),
            Kind::Counter => Reading::Counter(0.0),
            Kind::Histogram => {
                let bounds = self.buckets.clone().unwrap_or_else(|| BUCKETS.to_vec());
                Reading::Histogram {
                    counts: vec![0; bounds.len()],
                    bounds,
                    sum: 0.0,
                    count: 0,
                }
            }
        }
    }

    fn values(&self) -> impl Iterator<Item = f64> {
        self.value
            .iter()
            .chain(self.values.iter().flatten())
            .copied()
    }
}

impl Reading {
    /// A report of another kind under the same name counts as one of the first kind.
    fn take(&mut self, sample: &Sample) {
        for value in sample.values() {
            match self {
                Self::Gauge(now) => *now = value,
                Self::Counter(all) => *all += value.max(0.0),
                Self::Histogram {
                    bounds,
                    counts,
                    sum,
                    count,
                } => {
                    *sum += value;
                    *count += 1;
                    let below = bounds
                        .iter()
                        .zip(counts)
                        .filter(|(bound, _)| value <= **bound);
                    below.for_each(|(_, count)| *count += 1);
                }
            }
        }
    }

    const fn kind(&self) -> Kind {
        match self {
            Self::Gauge(_) => Kind::Gauge,
            Self::Counter(_) => Kind::Counter,
            Self::Histogram { .. } => Kind::Histogram,
        }
    }

    fn expose(&self, name: &str, labels: &str, text: &mut String) {
        // Writing to a String cannot fail.
        match self {
            Self::Gauge(value) => {
                writeln!(text, "{name}{{{labels}}} {value}").ok();
            }
            Self::Counter(value) => {
                writeln!(text, "{name}_total{{{labels}}} {value}").ok();
            }
            Self::Histogram {
                bounds,
                counts,
                sum,
                count,
            } => {
                for (bound, count) in bounds.iter().zip(counts) {
                    writeln!(text, "{name}_bucket{{le=\"{bound}\",{labels}}} {count}").ok();
                }
                writeln!(text, "{name}_bucket{{le=\"+Inf\",{labels}}} {count}").ok();
                writeln!(text, "{name}_sum{{{labels}}} {sum}").ok();
                writeln!(text, "{name}_count{{{labels}}} {count}").ok();
            }
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(json: &str) -> Sample {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn gauges_are_set_counters_add_and_histograms_fill() {
        let series = Series::default();
        for value in [1.0, 3.0] {
            series.take(&[
                sample(&format!(
                    r#"{{"name": "up", "kind": "gauge", "value": {value}}}"#
                )),
                sample(&format!(
                    r#"{{"name": "all", "kind": "counter", "value": {value}}}"#
                )),
                sample(&format!(
                    r#"{{"name": "took", "kind": "histogram", "value": {value}, "buckets": [2]}}"#
                )),
            ]);
        }
        let mut page = Page::default();
        series.expose("web", &mut page);
        let page = page.text();
        for line in [
            "# TYPE up gauge\nup{agent=\"web\"} 3\n",
            "# TYPE all counter\nall_total{agent=\"web\"} 4\n",
            "took_bucket{le=\"2\",agent=\"web\"} 1\n",
            "took_count{agent=\"web\"} 2\n",
        ] {
            assert!(page.contains(line), "{page}");
        }
    }

    #[test]
    fn names_that_clash_with_those_of_another_agent_are_left_out_and_counted() {
        let report = |name: &str, kind: &str| {
            let series = Series::default();
            let text = format!(r#"{{"name": "{name}", "kind": "{kind}", "value": 1}}"#);
            series.take(&[sample(&text)]);
            series
        };
        let mut page = Page::default();
        report("x", "histogram").expose("a", &mut page);
        for (name, kind) in [
            ("x", "gauge"),
            ("x", "counter"),
            ("x_count", "gauge"),
            ("x_bucket", "counter"),
        ] {
            report(name, kind).expose("b", &mut page);
        }
        report("x", "histogram").expose("c", &mut page);
        let page = page.text();
        let types = |name: &str| page.matches(&format!("# TYPE {name} ")).count();
        assert_eq!((types("x"), types("x_count"), types("x_bucket")), (1, 0, 0));
        assert!(page.contains("x_count{agent=\"c\"} 1\n"), "{page}");
        let dropped = "openclaw_agent_series_dropped_total{agent=\"b\"} 1\n";
        assert_eq!(page.matches(dropped).count(), 4, "{page}");
    }

    #[test]
    fn foreign_names_and_falling_counters_are_refused() {
        for bad in [
            r#"{"name": "openclaw_x", "kind": "gauge", "value": 1}"#,
            r#"{"name": "a b", "kind": "gauge", "value": 1}"#,
            r#"{"name": "a", "kind": "counter", "value": -1}"#,
            r#"{"name": "a", "kind": "gauge"}"#,
            r#"{"name": "a", "kind": "gauge", "value": 1, "labels": {"agent": "b"}}"#,
        ] {
            assert!(sample(bad).check().is_err(), "{bad}");
        }
    }
}
