//! Names of events, inside the bus and outside.
//!
//! What the supervisor itself has to say lies below `openclaw.` on the bus, where nobody else may
//! publish. Agents know it without that: `agent.started` is `openclaw.agent.started`.

use claw_store::bus::RESERVED;

use super::fault::Fault;

/// The longest name of an event.
const NAME: usize = 255;

/// The first tokens that are the supervisor's.
pub(crate) const OURS: [&str; 2] = [RESERVED, "agent"];

/// A name or filter of the protocol, as the bus has it.
pub(crate) fn inside(name: &str) -> String {
    if name == "agent" || name.starts_with("agent.") {
        return format!("{RESERVED}.{name}");
    }
    name.to_owned()
}

/// A topic of the bus, as the protocol has it.
pub(crate) fn outside(topic: &str) -> &str {
    let below = topic.strip_prefix(RESERVED);
    let below = below.and_then(|rest| rest.strip_prefix('.'));
    below
        .filter(|rest| rest.starts_with("agent."))
        .unwrap_or(topic)
}

/// Checks the name of an event that an agent wants to publish.
pub(super) fn check(name: &str) -> Result<(), Fault> {
    refused_name(name).map_or(Ok(()), |(rule, why)| Err(Fault::bad(rule, why)))
}

/// Which rule a name breaks that somebody else than the supervisor gives to an event, and how.
pub(crate) fn refused_name(name: &str) -> Option<(&'static str, String)> {
    let usable = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-');
    let token = |token: &str| !token.is_empty() && token.bytes().all(usable);
    if name.len() > NAME || !name.split('.').all(token) {
        let message =
            "the name of an event is tokens of letters, digits, `_` and `-`, joined by dots";
        return Some(("bad_name", message.to_owned()));
    }
    let first = name.split('.').next().unwrap_or_default();
    if OURS.contains(&first) {
        let message = format!("events below `{first}` are the supervisor's");
        return Some(("reserved_name", message));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifecycle_events_have_a_short_name_outside() {
        assert_eq!(inside("agent.started"), "openclaw.agent.started");
        assert_eq!(outside("openclaw.agent.started"), "agent.started");
        assert_eq!(inside("agents.x"), "agents.x");
        assert_eq!(outside("openclaw.dlq.web"), "openclaw.dlq.web");
    }

    #[test]
    fn names_that_are_ours_or_none_are_refused() {
        for bad in ["", "a..b", "a b", "a.*", "agent.started", "openclaw.x", "ü"] {
            assert!(check(bad).is_err(), "{bad}");
        }
        for good in ["data_collected", "feeds.eu-1.new", "agents"] {
            check(good).unwrap();
        }
    }
}
