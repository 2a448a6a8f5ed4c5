//! The rules of one agent, and what they say about a host and its addresses.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use super::address::Openness;
use super::pattern::DEFAULT_PORTS;
use super::{
    AddressKind, Denial, DnsName, Host, NetworkError, Pattern, PatternError, Reason, network,
};
use crate::Halt;

/// Names under which clouds hand out credentials. What they resolve to is refused as well.
const METADATA_NAMES: [&str; 6] = [
    "instance-data",
    "instance-data.ec2.internal",
    "metadata",
    "metadata.goog",
    "metadata.google.internal",
    "metadata.tencentyun.com",
];

/// The most bytes of a host that a denial shows: any name, and an ellipsis.
const MAX_SHOWN: usize = 253;

/// The most addresses of one answer that are looked at; an answer with more is cut.
const MAX_ADDRESSES: usize = 64;

/// Where a line stands in the fleet file, in words for the user: `allowed_network[2]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(Arc<str>);

impl Source {
    /// Takes the words.
    #[must_use]
    pub fn new(words: &str) -> Self {
        Self(words.into())
    }

    /// The words.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A line of the fleet file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where it stands.
    pub source: Source,
    /// What it says.
    pub text: String,
}

/// Whether TLS must name its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SniRule {
    /// A connection that names none is closed.
    #[default]
    Required,
    /// A connection that names none goes to the host it was opened for.
    Optional,
}

/// What the fleet file says about one agent's way out, unread.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EgressRules {
    /// The key above the lines, for advice to users: `agents.coder.sandbox`.
    pub place: String,
    /// `allowed_network`.
    pub allowed: Vec<Line>,
    /// `blocked_network`; it wins over `allowed_network`.
    pub blocked: Vec<Line>,
    /// `private_networks`: what is not public and may be reached all the same, through an allowed
    /// host.
    pub private_networks: Vec<Line>,
    /// `proxy.require_sni`.
    pub sni: SniRule,
    /// Where the supervisor listens. An unspecified address stands for loopback here; the dialler
    /// finds out about the other addresses of this machine.
    pub own_listeners: Vec<SocketAddr>,
}

/// A line that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{source_line}: {problem}")]
pub struct RuleError {
    /// Where it stands.
    pub source_line: Source,
    /// What is wrong with it, and what to write.
    pub problem: RuleProblem,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleProblem {
    /// A line of `allowed_network` or `blocked_network`.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// A line of `private_networks`.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

/// Addresses of which each one passed the check: the only thing that can be dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedAddresses(Vec<SocketAddr>);

impl CheckedAddresses {
    /// The addresses, at least one, in the order of the answer.
    #[must_use]
    pub fn as_slice(&self) -> &[SocketAddr] {
        &self.0
    }
}

/// The rules of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressPolicy {
    place: Arc<str>,
    allowed: Vec<(Source, Pattern)>,
    blocked: Vec<(Source, Pattern)>,
    private_networks: Vec<IpNet>,
    sni: SniRule,
    own_listeners: Vec<SocketAddr>,
    halt: Option<Halt>,
}

impl EgressPolicy {
    /// Reads the rules.
    ///
    /// # Errors
    /// Every line that cannot be read.
    pub fn new(rules: &EgressRules) -> Result<Self, Vec<RuleError>> {
        let mut errors = Vec::new();
        let pattern = |line: &Line| Ok((line.source.clone(), Pattern::parse(&line.text)?));
        let network = |line: &Line| Ok(network::parse(&line.text)?);
        let policy = Self {
            place: rules.place.as_str().into(),
            allowed: read(&rules.allowed, pattern, &mut errors),
            blocked: read(&rules.blocked, pattern, &mut errors),
            private_networks: read(&rules.private_networks, network, &mut errors),
            sni: rules.sni,
            own_listeners: rules.own_listeners.clone(),
            halt: None,
        };
        if errors.is_empty() {
            Ok(policy)
        } else {
            Err(errors)
        }
    }

    /// The same rules as long as the agent is halted: nothing passes.
    #[must_use]
    pub fn halted(self, halt: Halt) -> Self {
        let halt = Some(halt);
        Self { halt, ..self }
    }

    /// Whether TLS must name its host.
    #[must_use]
    pub fn sni(&self) -> SniRule {
        self.sni
    }

    /// Judges what was asked for: the line that allows it.
    ///
    /// # Errors
    /// The denial.
    pub fn judge(&self, host: &Host, port: u16) -> Result<&Source, Denial> {
        self.reason_against(host, port)
            .map_err(|reason| self.denial(host.to_string(), port, reason))
    }

    /// Whether the DNS responder may answer for a name: whether some port of it is allowed.
    ///
    /// # Errors
    /// The denial of the name's first port.
    pub fn judge_name(&self, name: &DnsName) -> Result<(), Denial> {
        let host = Host::Name(name.clone());
        let own_ports = self.allowed.iter().filter_map(|(_, p)| p.port());
        let any = DEFAULT_PORTS
            .into_iter()
            .chain(own_ports)
            .any(|port| self.reason_against(&host, port).is_ok());
        if any {
            return Ok(());
        }
        self.judge(&host, DEFAULT_PORTS[0]).map(|_rule| ())
    }

    /// Checks what the host resolved to. Each address must pass: one that does not spoils all.
    ///
    /// # Errors
    /// The denial, which names an address that did not pass.
    pub fn check(
        &self,
        host: &Host,
        port: u16,
        addresses: &[IpAddr],
    ) -> Result<CheckedAddresses, Denial> {
        let deny = |reason| Err(self.denial(host.to_string(), port, reason));
        let addresses = &addresses[..addresses.len().min(MAX_ADDRESSES)];
        if addresses.is_empty() {
            return deny(Reason::NoAddress);
        }
        let is_public = |address: &&IpAddr| AddressKind::of(**address) == AddressKind::Public;
        let public = addresses.iter().find(is_public);
        let other = addresses.iter().find(|address| !is_public(address));
        if let Some(reason) = addresses.iter().find_map(|a| self.never(*a, port)) {
            return deny(reason);
        }
        if let (Some(&public), Some(&other)) = (public, other) {
            return deny(Reason::MixedAddresses { public, other });
        }
        match addresses.iter().find_map(|address| self.closed(*address)) {
            Some(reason) => deny(reason),
            None => Ok(CheckedAddresses(
                addresses
                    .iter()
                    .map(|ip| SocketAddr::new(*ip, port))
                    .collect(),
            )),
        }
    }

    /// Whether the supervisor listens at the port on every address of this machine.
    #[must_use]
    pub fn supervisor_has_port(&self, port: u16) -> bool {
        self.own_listeners
            .iter()
            .any(|own| own.port() == port && own.ip().is_unspecified())
    }

    /// A denial in this policy's name, for what is found outside of it. A host that is longer than
    /// any name is cut, because denials are kept.
    #[must_use]
    pub fn denial(&self, mut host: String, port: u16, reason: Reason) -> Denial {
        if host.len() > MAX_SHOWN {
            host.truncate(host.floor_char_boundary(MAX_SHOWN));
            host.push('…');
        }
        let place = Arc::clone(&self.place);
        Denial {
            host,
            port,
            reason,
            place,
        }
    }

    fn reason_against(&self, host: &Host, port: u16) -> Result<&Source, Reason> {
        if let Some(halt) = &self.halt {
            return Err(Reason::Halted(halt.clone()));
        }
        if let Some(reason) = self.blocked_by(host, port) {
            return Err(reason);
        }
        match host {
            Host::Name(name) if METADATA_NAMES.contains(&name.as_str()) => {
                return Err(Reason::MetadataName);
            }
            Host::Address(address) if AddressKind::of(*address) == AddressKind::Metadata => {
                return Err(metadata(*address));
            }
            Host::Name(_) | Host::Address(_) => {}
        }
        let mut covering = self.allowed.iter().filter(|(_, p)| p.covers_host(host));
        if let Some((rule, _)) = covering.clone().find(|(_, p)| p.allows_port(port)) {
            return Ok(rule);
        }
        Err(match covering.next() {
            Some((rule, pattern)) => Reason::PortNotListed {
                rule: rule.clone(),
                pattern: pattern.clone(),
            },
            None => Reason::NotListed,
        })
    }

    fn blocked_by(&self, host: &Host, port: u16) -> Option<Reason> {
        self.blocked
            .iter()
            .find(|(_, pattern)| pattern.covers_host(host) && pattern.blocks_port(port))
            .map(|(rule, pattern)| Reason::Blocked {
                rule: rule.clone(),
                pattern: pattern.clone(),
            })
    }

    /// Why an address may not be dialled whatever the other addresses are.
    fn never(&self, address: IpAddr, port: u16) -> Option<Reason> {
        let kind = AddressKind::of(address);
        if kind == AddressKind::Metadata {
            return Some(metadata(address));
        }
        let own = |own: &&SocketAddr| {
            own.port() == port
                && (own.ip() == address
                    || (own.ip().is_unspecified() && kind == AddressKind::Loopback))
        };
        if self.own_listeners.iter().any(|listener| own(&listener)) {
            return Some(Reason::Supervisor(SocketAddr::new(address, port)));
        }
        self.blocked_by(&Host::Address(address), port)
    }

    /// Why an address may not be dialled as long as its network is not opened.
    fn closed(&self, address: IpAddr) -> Option<Reason> {
        let kind = AddressKind::of(address);
        let passes = match kind.openness() {
            Openness::Open => true,
            Openness::Openable => self.private_networks.iter().any(|n| n.contains(&address)),
            Openness::Closed => false,
        };
        (!passes).then_some(Reason::Address { address, kind })
    }
}

fn metadata(address: IpAddr) -> Reason {
    let kind = AddressKind::Metadata;
    Reason::Address { address, kind }
}

fn read<T>(
    lines: &[Line],
    parse: impl Fn(&Line) -> Result<T, RuleProblem>,
    errors: &mut Vec<RuleError>,
) -> Vec<T> {
    let mut read = Vec::with_capacity(lines.len());
    for line in lines {
        match parse(line) {
            Ok(value) => read.push(value),
            Err(problem) => errors.push(RuleError {
                source_line: line.source.clone(),
                problem,
            }),
        }
    }
    read
}

#[cfg(test)]
mod tests;
