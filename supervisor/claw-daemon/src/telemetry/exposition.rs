//! The text formats of metrics.
//!
//! The library writes OpenMetrics 1.0. Scrapers that do not ask for it get the older Prometheus
//! text format 0.0.4, which differs in the names of counters in the comments, in the types it
//! knows and in the end.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// A text format of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exposition {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus text format 0.0.4.
    Prometheus,
}

impl Exposition {
    /// The format that an `Accept` header asks for.
    pub(crate) fn accepted(accept: &str) -> Self {
        let asks = accept
            .split(',')
            .filter_map(|range| range.split(';').next())
            .any(|bare| {
                bare.trim()
                    .eq_ignore_ascii_case("application/openmetrics-text")
            });
        if asks {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// The content type.
    pub(crate) const fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Puts OpenMetrics text in order, and into this format.
    pub(crate) fn render(self, openmetrics: &str) -> String {
        let ordered = in_order(openmetrics);
        match self {
            Self::OpenMetrics => ordered,
            Self::Prometheus => to_prometheus(&ordered),
        }
    }
}

/// Sorts the samples of each metric by their labels, which the library keeps in a hash map. The
/// lines of one histogram stay as they are among themselves.
fn in_order(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut samples: Vec<&str> = Vec::new();
    for line in text.lines() {
        if !line.starts_with('#') {
            samples.push(line);
            continue;
        }
        flush(&mut samples, &mut out);
        out.push_str(line);
        out.push('\n');
    }
    flush(&mut samples, &mut out);
    out
}

fn flush(samples: &mut Vec<&str>, out: &mut String) {
    samples.sort_by_cached_key(|line| labels(line));
    for line in samples.drain(..) {
        out.push_str(line);
        out.push('\n');
    }
}

/// The labels of a sample without the bound of a bucket, which the library writes first.
fn labels(line: &str) -> String {
    let inside = line
        .split_once('{')
        .and_then(|(_, rest)| rest.rsplit_once('}'));
    let all = inside.map_or("", |(labels, _value)| labels);
    let without_bound = all
        .strip_prefix("le=\"")
        .and_then(|rest| rest.split_once('"'))
        .map_or(all, |(_bound, rest)| rest.trim_start_matches(','));
    without_bound.to_owned()
}

fn to_prometheus(text: &str) -> String {
    let types: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect();
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        out.push_str(&older_comment(line, &types));
        out.push('\n');
    }
    out
}

/// In the older format a metric is called by the name of its samples, with `_total` or `_info`,
/// and information is a gauge.
fn older_comment<'a>(line: &'a str, types: &BTreeMap<&str, &str>) -> Cow<'a, str> {
    let comment = ["# HELP ", "# TYPE "]
        .into_iter()
        .find_map(|start| Some((start, line.strip_prefix(start)?.split_once(' ')?)));
    let Some((start, (name, rest))) = comment else {
        return line.into();
    };
    match types.get(name) {
        Some(&"counter") => format!("{start}{name}_total {rest}").into(),
        Some(&"info") if rest == "info" => format!("{start}{name}_info gauge").into(),
        Some(&"info") => format!("{start}{name}_info {rest}").into(),
        Some(_) | None => line.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_given_to_who_asks_for_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2";
        assert_eq!(Exposition::accepted(prometheus), Exposition::OpenMetrics);
        assert_eq!(Exposition::accepted("*/*"), Exposition::Prometheus);
        assert_eq!(Exposition::accepted(""), Exposition::Prometheus);
    }

    #[test]
    fn samples_are_ordered_by_their_labels_and_buckets_left_as_they_are() {
        let text = "# TYPE h histogram\nh_sum{a=\"y\"} 1\nh_bucket{le=\"2.5\",a=\"y\"} 0\n\
                    h_bucket{le=\"10.0\",a=\"y\"} 1\nh_sum{a=\"x\"} 1\nh_bucket{le=\"+Inf\",a=\"x\"} 1\n\
                    # EOF\n";
        let ordered = "# TYPE h histogram\nh_sum{a=\"x\"} 1\nh_bucket{le=\"+Inf\",a=\"x\"} 1\n\
                       h_sum{a=\"y\"} 1\nh_bucket{le=\"2.5\",a=\"y\"} 0\n\
                       h_bucket{le=\"10.0\",a=\"y\"} 1\n# EOF\n";
        assert_eq!(Exposition::OpenMetrics.render(text), ordered);
    }

    #[test]
    fn the_older_format_names_counters_by_their_samples() {
        let new = "# HELP a Times.\n# TYPE a counter\na_total{x=\"1\"} 2\n\
                   # HELP b_seconds Time.\n# TYPE b_seconds gauge\n# UNIT b_seconds seconds\n\
                   b_seconds 1\n# EOF\n";
        let old = "# HELP a_total Times.\n# TYPE a_total counter\na_total{x=\"1\"} 2\n\
                   # HELP b_seconds Time.\n# TYPE b_seconds gauge\nb_seconds 1\n";
        assert_eq!(Exposition::Prometheus.render(new), old);
    }
}
