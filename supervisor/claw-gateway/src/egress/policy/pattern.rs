//! The lines of `allowed_network` and `blocked_network`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU16;

use ipnet::IpNet;

use super::{DnsName, Host, HostError};

/// The ports of a line of `allowed_network` that names none.
pub(super) const DEFAULT_PORTS: [u16; 2] = [443, 80];

/// One line: an exact host, or `*.` and a name for everything below that name but not the name
/// itself; and a port, if it is about one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    subject: Subject,
    port: Option<NonZeroU16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Subject {
    Exactly(Host),
    Below(DnsName),
}

/// Why a text is not a pattern; it says what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a host, at byte {at}: {problem}", text.escape_debug())]
pub struct PatternError {
    /// The whole pattern.
    pub text: String,
    /// The byte, counted from 0, where it goes wrong.
    pub at: usize,
    /// What is wrong there.
    pub problem: PatternProblem,
}

/// What is wrong with a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternProblem {
    /// A URL was written.
    #[error("write the host without `https://` and what is like it")]
    Scheme,
    /// Something follows the host.
    #[error("write the host without a path; paths cannot be told apart inside TLS")]
    Path,
    /// A user was written.
    #[error("write the host without a user")]
    User,
    /// A range of addresses.
    #[error("a network belongs below `private_networks`; here, name the hosts in it")]
    Network,
    /// The star alone.
    #[error("`*` alone would match every host; name the hosts, or write `*.example.com`")]
    Everything,
    /// A star in another place than the first label.
    #[error("`*` stands only at the beginning, before a dot, as in `*.example.com`")]
    Star,
    /// The port is not one.
    #[error("a port is a number from 1 to 65535")]
    Port,
    /// An IPv6 address without brackets and something after it.
    #[error("write an IPv6 address with a port as `[2001:db8::1]:443`")]
    NeedsBrackets,
    /// The host is not one.
    #[error(transparent)]
    Host(HostError),
}

impl Pattern {
    /// Reads a line: `host`, `*.host`, `address`, each with an optional `:port`.
    ///
    /// # Errors
    /// When the text is none of these.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        parse(text).map_err(|(at, problem)| PatternError {
            text: text.to_owned(),
            at,
            problem,
        })
    }

    /// Whether the host is one of the line's, on whatever port.
    pub(super) fn covers_host(&self, host: &Host) -> bool {
        match (&self.subject, host) {
            (Subject::Exactly(exact), host) => exact == host,
            (Subject::Below(parent), Host::Name(name)) => name
                .as_str()
                .strip_suffix(parent.as_str())
                .is_some_and(|front| front.len() > 1 && front.ends_with('.')),
            (Subject::Below(_), Host::Address(_)) => false,
        }
    }

    /// The port of the line, if it is about one.
    pub(super) fn port(&self) -> Option<u16> {
        self.port.map(NonZeroU16::get)
    }

    /// Whether a line that allows is about the port.
    pub(super) fn allows_port(&self, port: u16) -> bool {
        self.port()
            .map_or(DEFAULT_PORTS.contains(&port), |own| own == port)
    }

    /// Whether a line that blocks is about the port: without one it blocks all of them.
    pub(super) fn blocks_port(&self, port: u16) -> bool {
        self.port().is_none_or(|own| own == port)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.subject, self.port) {
            (Subject::Exactly(Host::Address(IpAddr::V6(six))), Some(_)) => write!(f, "[{six}]")?,
            (Subject::Exactly(host), _) => host.fmt(f)?,
            (Subject::Below(parent), _) => write!(f, "*.{parent}")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

fn parse(text: &str) -> Result<Pattern, (usize, PatternProblem)> {
    use PatternProblem as P;
    if let Some(at) = text.find("://") {
        return Err((at, P::Scheme));
    }
    if let Some(at) = text.find('/') {
        let network = text.parse::<IpNet>().is_ok();
        return Err((at, if network { P::Network } else { P::Path }));
    }
    if let Some(at) = text.find('@') {
        return Err((at, P::User));
    }
    let (host, port) = split_port(text)?;
    let subject = match host.strip_prefix("*.") {
        None if host == "*" => return Err((0, P::Everything)),
        None => exact(host)?,
        Some(parent) => {
            if let Some(at) = parent.find('*') {
                return Err((at + 2, P::Star));
            }
            let parent = DnsName::parse(parent).map_err(|error| located(2, error))?;
            Subject::Below(parent)
        }
    };
    Ok(Pattern { subject, port })
}

fn exact(host: &str) -> Result<Subject, (usize, PatternProblem)> {
    match host.find('*') {
        Some(at) => Err((at, PatternProblem::Star)),
        None => Host::parse(host)
            .map(Subject::Exactly)
            .map_err(|error| located(0, error)),
    }
}

fn split_port(text: &str) -> Result<(&str, Option<NonZeroU16>), (usize, PatternProblem)> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok((text, None));
    }
    let Some(at) = text.rfind(':').filter(|_| !text.ends_with(']')) else {
        return Ok((text, None));
    };
    let (host, port) = (&text[..at], &text[at + 1..]);
    if host.contains(':') && !host.starts_with('[') {
        return Err((at, PatternProblem::NeedsBrackets));
    }
    match port_number(port) {
        Some(port) => Ok((host, Some(port))),
        None => Err((at + 1, PatternProblem::Port)),
    }
}

/// Reads a port, 1 to 65535, in digits alone.
pub(crate) fn port_number(text: &str) -> Option<NonZeroU16> {
    let digits = !text.is_empty() && text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

fn located(offset: usize, error: HostError) -> (usize, PatternProblem) {
    let at = match &error {
        HostError::Label { at, .. }
        | HostError::Hyphen { at, .. }
        | HostError::Character { at, .. } => *at,
        HostError::Empty
        | HostError::TooLong(_)
        | HostError::International
        | HostError::AmbiguousAddress(_)
        | HostError::Zone
        | HostError::Brackets => 0,
    };
    (offset + at, PatternProblem::Host(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_read_back_as_they_are_meant() {
        for (text, shown) in [
            ("api.github.com", "api.github.com"),
            ("API.GitHub.com.", "api.github.com"),
            ("*.internal", "*.internal"),
            ("*.Bücher.example:8443", "*.xn--bcher-kva.example:8443"),
            ("localhost:11434", "localhost:11434"),
            ("10.1.2.3", "10.1.2.3"),
            ("10.1.2.3:22", "10.1.2.3:22"),
            ("2001:DB8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "[2001:db8::1]:443"),
        ] {
            let pattern = Pattern::parse(text).expect(text);
            assert_eq!(pattern.to_string(), shown);
            assert_eq!(Pattern::parse(shown).as_ref(), Ok(&pattern), "{text}");
        }
    }

    #[test]
    fn what_is_no_pattern_says_where_and_what_to_write() {
        for (text, message) in [
            ("", "`` is not a host, at byte 0: the host is empty"),
            (
                "https://pypi.org",
                "`https://pypi.org` is not a host, at byte 5: write the host without `https://` and what is like it",
            ),
            (
                "*.-bad-.example",
                "`*.-bad-.example` is not a host, at byte 2: the part `-bad-` of the host begins or ends with a hyphen",
            ),
            (
                "pypi.org/simple",
                "`pypi.org/simple` is not a host, at byte 8: write the host without a path; paths cannot be told apart inside TLS",
            ),
            (
                "git@github.com",
                "`git@github.com` is not a host, at byte 3: write the host without a user",
            ),
            (
                "10.0.0.0/8",
                "`10.0.0.0/8` is not a host, at byte 8: a network belongs below `private_networks`; here, name the hosts in it",
            ),
            (
                "*",
                "`*` is not a host, at byte 0: `*` alone would match every host; name the hosts, or write `*.example.com`",
            ),
            (
                "api.*.com",
                "`api.*.com` is not a host, at byte 4: `*` stands only at the beginning, before a dot, as in `*.example.com`",
            ),
            (
                "**.com",
                "`**.com` is not a host, at byte 0: `*` stands only at the beginning, before a dot, as in `*.example.com`",
            ),
            (
                "a:0",
                "`a:0` is not a host, at byte 2: a port is a number from 1 to 65535",
            ),
            (
                "a:+80",
                "`a:+80` is not a host, at byte 2: a port is a number from 1 to 65535",
            ),
            (
                "2001:db8::zz:443",
                "`2001:db8::zz:443` is not a host, at byte 12: write an IPv6 address with a port as `[2001:db8::1]:443`",
            ),
            (
                "*.a b",
                "`*.a b` is not a host, at byte 3: ` ` cannot stand in a host",
            ),
            (
                "0x7f.1",
                "`0x7f.1` is not a host, at byte 0: some programs read the host as the address 127.0.0.1: write that",
            ),
        ] {
            let error = Pattern::parse(text).expect_err(text);
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn a_star_covers_what_is_below_a_name_and_not_the_name() {
        let pattern = Pattern::parse("*.example.com").expect("a pattern");
        for (host, covered) in [
            ("a.example.com", true),
            ("a.b.example.com", true),
            ("example.com", false),
            ("badexample.com", false),
            ("example.com.evil.org", false),
        ] {
            let host = Host::parse(host).expect("a host");
            assert_eq!(pattern.covers_host(&host), covered, "{host}");
        }
    }

    #[test]
    fn a_line_without_a_port_allows_two_and_blocks_all() {
        let pattern = Pattern::parse("example.com").expect("a pattern");
        assert!(pattern.allows_port(443) && pattern.allows_port(80));
        assert!(!pattern.allows_port(22));
        assert!(pattern.blocks_port(22));
        let pattern = Pattern::parse("example.com:22").expect("a pattern");
        assert!(pattern.allows_port(22) && !pattern.allows_port(443));
        assert!(pattern.blocks_port(22) && !pattern.blocks_port(443));
    }
}
