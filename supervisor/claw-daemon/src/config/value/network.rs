//! Hosts and networks that a process may reach.

use std::net::IpAddr;

use claw_gateway::egress::policy::{
    EgressPolicy, EgressRules, Line, NetworkError, Pattern, RuleProblem, Source,
};
use ipnet::IpNet;

use super::Rejected;

const OPENABLE: &str = "public networks need no line; write one in 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, 127.0.0.0/8, fc00::/7 or ::1";

/// The ports of a host for which none is written.
const USUAL_PORTS: [&str; 2] = ["443", "80"];

/// Reads a line of `allowed_network` or `blocked_network`.
pub(in crate::config) fn host(text: &str) -> Result<String, Rejected> {
    match Pattern::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(Rejected::new(error.problem.to_string()).help(
            "write a host, such as `api.example.com`, `*.example.com` or `db.internal:5432`",
        )),
    }
}

/// Reads a line of `private_networks`.
pub(in crate::config) fn private(text: &str) -> Result<String, Rejected> {
    let line = Line {
        source: Source::new("private_networks"),
        text: text.to_owned(),
    };
    let rules = EgressRules {
        private_networks: vec![line],
        ..EgressRules::default()
    };
    let Err(errors) = EgressPolicy::new(&rules) else {
        return Ok(text.to_owned());
    };
    Err(match errors.into_iter().next().map(|error| error.problem) {
        Some(RuleProblem::Network(NetworkError::HostBits { meant, .. })) => {
            Rejected::new("it has bits set behind its prefix")
                .help(format!("write `{meant}`, or the one host it names"))
        }
        Some(RuleProblem::Network(NetworkError::NotPrivate { kind, .. })) => {
            Rejected::new(format!("it is not private ({kind})")).help(OPENABLE)
        }
        Some(RuleProblem::Network(NetworkError::Syntax(_)) | RuleProblem::Pattern(_)) | None => {
            Rejected::plainly().help("write one as `10.1.0.0/16`")
        }
    })
}

/// Whether one line allows all that another one does.
pub(in crate::config) fn covers(outer: &str, inner: &str) -> bool {
    let (Ok(outer), Ok(inner)) = (Pattern::parse(outer), Pattern::parse(inner)) else {
        return false;
    };
    let (outer, inner) = (outer.to_string(), inner.to_string());
    let ((outer, outer_port), (inner, inner_port)) = (apart(&outer), apart(&inner));
    let host = outer == inner
        || outer
            .strip_prefix('*')
            .is_some_and(|below| inner.ends_with(below));
    let port = match (outer_port, inner_port) {
        (None, None) => true,
        (None, Some(port)) => USUAL_PORTS.contains(&port),
        (Some(_), None) => false,
        (Some(outer), Some(inner)) => outer == inner,
    };
    host && port
}

/// Whether one private network lies in another.
pub(in crate::config) fn contains(outer: &str, inner: &str) -> bool {
    let net = |text: &str| {
        let address = || text.parse::<IpAddr>().map(IpNet::from);
        text.parse::<IpNet>().or_else(|_no_network| address()).ok()
    };
    match (net(outer), net(inner)) {
        (Some(outer), Some(inner)) => outer.contains(&inner),
        (None, _) | (_, None) => false,
    }
}

/// The host and the port of a pattern as it is shown.
fn apart(pattern: &str) -> (&str, Option<&str>) {
    if let Some((host, port)) = pattern.split_once("]:") {
        return (host.trim_start_matches('['), Some(port));
    }
    match pattern.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        Some(_) | None => (pattern, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_covers_what_is_no_wider() {
        let table = [
            ("api.example.com", "API.Example.com.", true),
            ("api.example.com", "api.example.com:443", true),
            ("api.example.com", "api.example.com:8443", false),
            ("api.example.com:443", "api.example.com", false),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "*.b.example.com:80", true),
            ("*.example.com", "*.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "badexample.com", false),
            ("*.b.example.com", "*.example.com", false),
            ("[2001:db8::1]:443", "[2001:db8::1]:443", true),
            ("2001:db8::1", "[2001:db8::1]:443", true),
            ("10.0.0.1:5432", "10.0.0.1:5433", false),
        ];
        for (outer, inner, covered) in table {
            assert_eq!(covers(outer, inner), covered, "{outer} {inner}");
        }
    }

    #[test]
    fn a_network_contains_what_is_no_wider() {
        let table = [
            ("10.0.0.0/8", "10.1.0.0/16", true),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.1.0.0/16", "10.0.0.0/8", false),
            ("10.0.0.0/8", "fc00::/7", false),
        ];
        for (outer, inner, contained) in table {
            assert_eq!(contains(outer, inner), contained, "{outer} {inner}");
        }
    }
}
