//! Metrics of the ways out.

use std::collections::BTreeMap;

use claw_core::AgentName;
use claw_gateway::egress::Counters;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

type Labels = Vec<(&'static str, String)>;

/// OpenMetrics text without its end; nothing when there is nothing to tell.
pub(super) fn text(all: &BTreeMap<AgentName, Counters>) -> String {
    if all.is_empty() {
        return String::new();
    }
    let requests = Family::<Labels, Counter>::default();
    let bytes = Family::<Labels, Counter>::default();
    let dropped = Family::<Labels, Counter>::default();
    let open = Family::<Labels, Gauge>::default();
    for (agent, counters) in all {
        let of = || vec![("agent", agent.to_string())];
        let verdicts = [
            ("allowed", counters.allowed),
            ("denied", counters.denied),
            ("unreachable", counters.unreachable),
        ];
        for (verdict, count) in verdicts {
            let mut labels = of();
            labels.push(("verdict", verdict.to_owned()));
            requests.get_or_create(&labels).inc_by(count);
        }
        bytes.get_or_create(&of()).inc_by(counters.bytes);
        dropped.get_or_create(&of()).inc_by(counters.dropped);
        open.get_or_create(&of()).set(i64::from(counters.open));
    }
    let mut registry = Registry::with_prefix("openclaw_egress");
    registry.register("requests", "Requests to reach a host", requests);
    registry.register_with_unit(
        "carried",
        "Bytes through the proxy, both ways",
        Unit::Bytes,
        bytes,
    );
    registry.register(
        "records_dropped",
        "Decisions that were not written down",
        dropped,
    );
    registry.register("connections", "Connections that are open", open);
    let mut text = String::new();
    // Writing into a text does not fail.
    encode(&mut text, &registry).ok();
    text.truncate(text.trim_end_matches("# EOF\n").len());
    text
}
