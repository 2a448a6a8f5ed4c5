//! The text formats of metrics.
//!
//! The library writes OpenMetrics 1.0. Scrapers that do not ask for it get the older Prometheus
//! text format 0.0.4, which differs in the names of counters in the comments, in the types it
//! knows and in the end.

use std::borrow::Cow;
use std::collections::BTreeSet;

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

    /// Rewrites OpenMetrics text into this format.
    pub(crate) fn render(self, openmetrics: String) -> String {
        match self {
            Self::OpenMetrics => openmetrics,
            Self::Prometheus => to_prometheus(&openmetrics),
        }
    }
}

fn to_prometheus(text: &str) -> String {
    let counters: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        out.push_str(&with_total(line, &counters));
        out.push('\n');
    }
    out
}

/// In the older format a counter is called by the name of its sample, with `_total`.
fn with_total<'a>(line: &'a str, counters: &BTreeSet<&str>) -> Cow<'a, str> {
    let comment = ["# HELP ", "# TYPE "]
        .into_iter()
        .find_map(|start| Some((start, line.strip_prefix(start)?.split_once(' ')?)));
    match comment {
        Some((start, (name, rest))) if counters.contains(name) => {
            format!("{start}{name}_total {rest}").into()
        }
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
    fn the_older_format_names_counters_by_their_samples() {
        let new = "# HELP a Times.\n# TYPE a counter\na_total{x=\"1\"} 2\n\
                   # HELP b_seconds Time.\n# TYPE b_seconds gauge\n# UNIT b_seconds seconds\n\
                   b_seconds 1\n# EOF\n";
        let old = "# HELP a_total Times.\n# TYPE a_total counter\na_total{x=\"1\"} 2\n\
                   # HELP b_seconds Time.\n# TYPE b_seconds gauge\nb_seconds 1\n";
        assert_eq!(Exposition::Prometheus.render(new.to_owned()), old);
    }
}
