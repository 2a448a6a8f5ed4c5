//! Which hosts an agent may reach. It is pure: no IO, no clock, total on any input.
//!
//! A request is judged in two steps, because a name says nothing about where it leads:
//! [`EgressPolicy::judge`] looks at the host and the port that were asked for, and
//! [`EgressPolicy::check`] at the addresses the host resolved to. Only the second step makes
//! [`CheckedAddresses`], and only those can be dialled.

mod address;
mod denial;
mod host;
mod network;
mod pattern;
mod rules;

pub use address::AddressKind;
pub use denial::{Denial, Reason};
pub use host::{DnsName, Host, HostError};
pub use network::NetworkError;
pub use pattern::{Pattern, PatternError, PatternProblem};
pub use rules::{
    CheckedAddresses, EgressPolicy, EgressRules, Line, RuleError, RuleProblem, SniRule, Source,
};
