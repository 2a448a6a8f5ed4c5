//! Why a request was denied, in words for the user.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::pattern::DEFAULT_PORTS;
use super::{AddressKind, HostError, Pattern, Source};
use crate::Halt;

/// A request that was denied. Its `Display` says what, why, and which line of the fleet file
/// would allow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The host that was asked for, as far as it could be read.
    pub host: String,
    /// The port that was asked for.
    pub port: u16,
    /// Why it was denied.
    pub reason: Reason,
    /// Where in the fleet file the lines stand that could change this.
    pub place: Arc<str>,
}

/// Why a request was denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The agent is halted.
    Halted(Halt),
    /// What was asked for is no host.
    BadHost(HostError),
    /// No line allows the host.
    NotListed,
    /// A line allows the host, on other ports.
    PortNotListed {
        /// The line.
        rule: Source,
        /// What it says.
        pattern: Pattern,
    },
    /// A line blocks the host, or an address it resolved to.
    Blocked {
        /// The line.
        rule: Source,
        /// What it says.
        pattern: Pattern,
    },
    /// A line allows the host, and only the proxy leads there.
    NotThroughProxy,
    /// The name is one under which a cloud hands out credentials.
    MetadataName,
    /// The host is, or resolved to, an address that must not be dialled.
    Address {
        /// The address.
        address: IpAddr,
        /// What it is.
        kind: AddressKind,
    },
    /// The host resolved to addresses in public and in other networks.
    MixedAddresses {
        /// A public one.
        public: IpAddr,
        /// One that is not.
        other: IpAddr,
    },
    /// The host resolved to nothing.
    NoAddress,
    /// The supervisor itself listens there.
    Supervisor(SocketAddr),
    /// A connection to an address that no answer of the DNS responder gave out, or not lately.
    UnknownAddress(IpAddr),
    /// TLS or HTTP names another host than the connection was opened for.
    OtherServerName(String),
    /// The connection names no host in TLS.
    NoServerName,
    /// What was sent is not the beginning of TLS.
    NotTls,
    /// What was sent is no request for a proxy.
    BadRequest(&'static str),
    /// As many connections are open as may be.
    TooManyTunnels(u32),
    /// As many connections were made in this minute as may be.
    TooManyConnects(u32),
    /// As many bytes went through as may.
    TooManyBytes(u64),
}

impl Reason {
    /// The one word for the reason, for metrics and records.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Halted(_) => "halted",
            Self::BadHost(_) => "bad_host",
            Self::NotListed => "not_listed",
            Self::PortNotListed { .. } => "port_not_listed",
            Self::Blocked { .. } => "blocked",
            Self::NotThroughProxy => "not_through_proxy",
            Self::MetadataName => "metadata_name",
            Self::Address { .. } => "address",
            Self::MixedAddresses { .. } => "mixed_addresses",
            Self::NoAddress => "no_address",
            Self::Supervisor(_) => "supervisor",
            Self::UnknownAddress(_) => "unknown_address",
            Self::OtherServerName(_) => "other_server_name",
            Self::NoServerName => "no_server_name",
            Self::NotTls => "not_tls",
            Self::BadRequest(_) => "bad_request",
            Self::TooManyTunnels(_) => "too_many_tunnels",
            Self::TooManyConnects(_) => "too_many_connects",
            Self::TooManyBytes(_) => "too_many_bytes",
        }
    }

    /// The line that decided, if one did.
    #[must_use]
    pub fn rule(&self) -> Option<&Source> {
        match self {
            Self::PortNotListed { rule, .. } | Self::Blocked { rule, .. } => Some(rule),
            Self::Halted(_)
            | Self::BadHost(_)
            | Self::NotListed
            | Self::NotThroughProxy
            | Self::MetadataName
            | Self::Address { .. }
            | Self::MixedAddresses { .. }
            | Self::NoAddress
            | Self::Supervisor(_)
            | Self::UnknownAddress(_)
            | Self::OtherServerName(_)
            | Self::NoServerName
            | Self::NotTls
            | Self::BadRequest(_)
            | Self::TooManyTunnels(_)
            | Self::TooManyConnects(_)
            | Self::TooManyBytes(_) => None,
        }
    }
}

impl Denial {
    /// What to change in the fleet file, or to do, to allow the request; `None` if nothing can.
    #[must_use]
    pub fn fix(&self) -> Option<String> {
        let place = &self.place;
        match &self.reason {
            Reason::Halted(halt) => Some(format!("run `{}`", halt.lift)),
            Reason::NotListed | Reason::PortNotListed { .. } => {
                let line = self.line();
                Some(format!("add `- {line}` below `{place}.allowed_network`"))
            }
            Reason::Blocked { rule, pattern } => {
                Some(format!("remove `{pattern}` ({rule}) from the fleet file"))
            }
            Reason::Address { address, kind } => kind.can_be_opened().then(|| {
                let bits = if address.is_ipv4() { 32 } else { 128 };
                format!("add `- {address}/{bits}` below `{place}.private_networks`")
            }),
            Reason::NotThroughProxy => Some(format!(
                "have the program use `$HTTPS_PROXY`, or set `{place}.proxy.transparent` to `true`"
            )),
            Reason::NoServerName => Some(format!("set `{place}.proxy.require_sni` to `false`")),
            Reason::TooManyTunnels(_) => Some(format!("raise `{place}.proxy.max_tunnels`")),
            Reason::TooManyConnects(_) => {
                Some("raise `resources.api_calls_per_minute` of the agent".to_owned())
            }
            Reason::TooManyBytes(_) => Some(format!("raise `{place}.proxy.max_bytes`")),
            Reason::BadHost(_)
            | Reason::MetadataName
            | Reason::MixedAddresses { .. }
            | Reason::NoAddress
            | Reason::Supervisor(_)
            | Reason::UnknownAddress(_)
            | Reason::OtherServerName(_)
            | Reason::NotTls
            | Reason::BadRequest(_) => None,
        }
    }

    /// The pattern that is exactly what was asked for.
    fn line(&self) -> String {
        let host = match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(six)) => format!("[{six}]"),
            Ok(IpAddr::V4(_)) | Err(_) => self.host.clone(),
        };
        if DEFAULT_PORTS.contains(&self.port) {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }

    /// Why, without the host and without what would allow it.
    #[must_use]
    pub fn cause(&self) -> String {
        fmt::from_fn(|f| self.why(f)).to_string()
    }

    fn why(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Halted(halt) => write!(f, "its agent is halted: {}", halt.told),
            Reason::BadHost(error) => write!(f, "{error}"),
            Reason::NotListed => f.write_str("no line of `allowed_network` names it"),
            Reason::PortNotListed { rule, pattern } => match pattern.port() {
                Some(port) => write!(f, "`{pattern}` ({rule}) allows port {port} alone"),
                None => write!(f, "`{pattern}` ({rule}) allows ports 443 and 80 alone"),
            },
            Reason::Blocked { rule, pattern } => write!(f, "`{pattern}` ({rule}) blocks it"),
            Reason::NotThroughProxy => f.write_str(
                "the program looked the name up by itself, and only the proxy leads there",
            ),
            Reason::MetadataName => {
                f.write_str("a cloud hands out credentials under this name; no line can allow it")
            }
            Reason::Address { address, kind } if kind.can_be_opened() => {
                write!(f, "its address {address} is {kind}")
            }
            Reason::Address { address, kind } => {
                write!(f, "its address {address} is {kind}; no line can allow it")
            }
            Reason::MixedAddresses { public, other } => write!(
                f,
                "it resolved to {public}, which is public, and to {other}, which is not"
            ),
            Reason::NoAddress => f.write_str("it resolved to no address"),
            Reason::Supervisor(address) => {
                write!(
                    f,
                    "the supervisor itself listens at {address}; no line can allow it"
                )
            }
            Reason::UnknownAddress(address) => write!(
                f,
                "no name was lately resolved to {address}; resolve the name again, or connect by name"
            ),
            Reason::OtherServerName(name) => write!(
                f,
                "what was sent names `{}` instead; both must be the same host",
                name.escape_debug()
            ),
            Reason::NoServerName => f.write_str("TLS names no host (SNI)"),
            Reason::NotTls => f.write_str("what was sent is not TLS"),
            Reason::BadRequest(problem) => f.write_str(problem),
            Reason::TooManyTunnels(limit) => {
                write!(
                    f,
                    "{limit} connections are open, which is as many as may be"
                )
            }
            Reason::TooManyConnects(limit) => write!(
                f,
                "{limit} connections were made within a minute, which is as many as may be"
            ),
            Reason::TooManyBytes(limit) => {
                write!(f, "{limit} bytes went through, which is as many as may")
            }
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(six)) => write!(f, "[{six}]:{} is denied: ", self.port)?,
            Ok(IpAddr::V4(_)) | Err(_) => {
                write!(f, "{}:{} is denied: ", self.host.escape_debug(), self.port)?;
            }
        }
        self.why(f)?;
        match self.fix() {
            Some(fix) => write!(f, "; to allow it, {fix}"),
            None => Ok(()),
        }
    }
}
