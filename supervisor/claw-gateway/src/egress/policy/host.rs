//! The names and addresses an agent may ask for, brought into one spelling or refused.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// The longest host that is looked at, in bytes: four times what DNS allows, so that a name
/// outside ASCII still fits before it is converted.
const MAX_TEXT: usize = 1024;

/// A host somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A name that DNS can carry.
    Name(DnsName),
    /// An address, written in its one canonical spelling.
    Address(IpAddr),
}

/// A DNS name: ASCII, lower case, 1 to 253 bytes, no trailing dot, never an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(String);

/// Why a text is not a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// There is nothing.
    #[error("the host is empty")]
    Empty,
    /// The text is longer than any name.
    #[error("the host has {0} bytes, a name in DNS has at most 253")]
    TooLong(usize),
    /// A label is empty or longer than DNS allows.
    #[error("the part `{label}` of the host has {} bytes, DNS allows 1 to 63", label.len())]
    Label {
        /// Where the label begins.
        at: usize,
        /// The label.
        label: String,
    },
    /// A label begins or ends with a hyphen, which no host's does.
    #[error("the part `{label}` of the host begins or ends with a hyphen")]
    Hyphen {
        /// Where the label begins.
        at: usize,
        /// The label.
        label: String,
    },
    /// A character cannot stand in a host.
    #[error("`{}` cannot stand in a host", character.escape_default())]
    Character {
        /// Where it stands.
        at: usize,
        /// Which one it is.
        character: char,
    },
    /// The name has no form in ASCII.
    #[error("the host is not a valid international name")]
    International,
    /// A spelling of an address that programs read in different ways.
    #[error("{}", ambiguous(*.0))]
    AmbiguousAddress(Option<Ipv4Addr>),
    /// An IPv6 address that names an interface of this machine.
    #[error("an address with a zone (`%`) names an interface, not a host on the network")]
    Zone,
    /// What stands in brackets is no IPv6 address.
    #[error("what stands in brackets is not an IPv6 address")]
    Brackets,
}

fn ambiguous(address: Option<Ipv4Addr>) -> String {
    match address {
        Some(address) => {
            format!("some programs read the host as the address {address}: write that")
        }
        None => "the host ends in a number and is not an address".to_owned(),
    }
}

impl Host {
    /// Reads a host: a name, an IPv4 address, or an IPv6 address with or without brackets.
    ///
    /// # Errors
    /// When the text is neither, or spells an address in another way than its canonical one.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if text.is_empty() {
            return Err(HostError::Empty);
        }
        if text.len() > MAX_TEXT {
            return Err(HostError::TooLong(text.len()));
        }
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(HostError::Brackets)?;
            return six(inner).map(Self::Address);
        }
        if text.contains(':') {
            return six(text).map(Self::Address);
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Address(IpAddr::V4(address)));
        }
        DnsName::parse(text).map(Self::Name)
    }
}

fn six(text: &str) -> Result<IpAddr, HostError> {
    if text.contains('%') {
        return Err(HostError::Zone);
    }
    let address: Ipv6Addr = text.parse().map_err(|_not_one| HostError::Brackets)?;
    Ok(IpAddr::V6(address))
}

impl DnsName {
    /// Reads a name, converting international ones; one trailing dot is dropped.
    ///
    /// # Errors
    /// When DNS cannot carry the name, or a program could take it for an address.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(HostError::Empty);
        }
        if let Some((at, byte)) = text.bytes().enumerate().find(|(_, b)| !may_stand(*b)) {
            let character = char::from(byte);
            return Err(HostError::Character { at, character });
        }
        let ascii = Uts46::new()
            .to_ascii(
                text.as_bytes(),
                AsciiDenyList::URL,
                Hyphens::Allow,
                DnsLength::Ignore,
            )
            .map_err(|_detail_free| HostError::International)?;
        Self::from_ascii(ascii.into_owned())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The checks of what is left once everything is ASCII: a full stop of another script has
    /// become a dot by now, and a full-width digit a digit.
    fn from_ascii(mut name: String) -> Result<Self, HostError> {
        if name.ends_with('.') {
            name.pop();
        }
        if name.is_empty() {
            return Err(HostError::Empty);
        }
        if name.len() > 253 {
            return Err(HostError::TooLong(name.len()));
        }
        let mut at = 0;
        for label in name.split('.') {
            if label.is_empty() || label.len() > 63 {
                let label = label.to_owned();
                return Err(HostError::Label { at, label });
            }
            if let Some((offset, byte)) = label.bytes().enumerate().find(|(_, b)| !plain(*b)) {
                let character = char::from(byte);
                let at = at + offset;
                return Err(HostError::Character { at, character });
            }
            if label.starts_with('-') || label.ends_with('-') {
                let label = label.to_owned();
                return Err(HostError::Hyphen { at, label });
            }
            at += label.len() + 1;
        }
        if ends_in_a_number(&name) {
            return Err(HostError::AmbiguousAddress(loosely(&name)));
        }
        Ok(Self(name))
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// What may stand in a name before it is converted. Everything outside ASCII is left to the
/// conversion.
fn may_stand(byte: u8) -> bool {
    !byte.is_ascii() || byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

fn plain(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
}

/// Whether a resolver may take the name for an IPv4 address: its last label is a number, in
/// decimal, octal or hexadecimal.
fn ends_in_a_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    last.bytes().all(|byte| byte.is_ascii_digit())
        || last
            .strip_prefix("0x")
            .is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// What `inet_aton(3)` makes of a text: one to four numbers, the last of which fills the rest.
fn loosely(name: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u32> = name.split('.').map(number).collect::<Option<_>>()?;
    let (last, front) = parts.split_last()?;
    if front.len() > 3 || front.iter().any(|part| *part > 255) {
        return None;
    }
    let room = 32 - 8 * u32::try_from(front.len()).ok()?;
    if u64::from(*last) >= 1_u64 << room {
        return None;
    }
    let mut address = *last;
    for (part, shift) in front.iter().zip([24, 16, 8]) {
        address |= part << shift;
    }
    Some(Ipv4Addr::from_bits(address))
}

fn number(text: &str) -> Option<u32> {
    match (text.strip_prefix("0x"), text.strip_prefix('0')) {
        (Some(""), _) | (None, Some("")) => Some(0),
        (Some(hex), _) => u32::from_str_radix(hex, 16).ok(),
        (None, Some(octal)) => u32::from_str_radix(octal, 8).ok(),
        (None, None) => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match Host::parse(text) {
            Ok(host) => host.to_string(),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn names_have_one_spelling() {
        for (text, name) in [
            ("API.Example.COM", "api.example.com"),
            ("example.com.", "example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("example\u{3002}com", "example.com"),
            ("ｅｘａｍｐｌｅ.com", "example.com"),
            ("my_bucket.s3.example", "my_bucket.s3.example"),
            ("r3---sn.example", "r3---sn.example"),
            ("1.2.3.example", "1.2.3.example"),
        ] {
            assert_eq!(shown(text), name, "{text:?}");
        }
    }

    #[test]
    fn addresses_have_one_spelling() {
        for (text, address) in [
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "::1"),
            ("::1", "::1"),
            ("[2001:DB8:0::1]", "2001:db8::1"),
            ("[::ffff:169.254.169.254]", "::ffff:169.254.169.254"),
        ] {
            assert_eq!(shown(text), address, "{text:?}");
            assert!(
                matches!(Host::parse(text), Ok(Host::Address(_))),
                "{text:?}"
            );
        }
    }

    #[test]
    fn other_spellings_of_an_address_are_refused_with_the_one_they_mean() {
        for (text, address) in [
            ("2852039166", Some("169.254.169.254")),
            ("0xa9fea9fe", Some("169.254.169.254")),
            ("0xA9.0xFE.0xA9.0xFE", Some("169.254.169.254")),
            ("0251.0376.0251.0376", Some("169.254.169.254")),
            ("169.254.43518", Some("169.254.169.254")),
            ("169.16689662", Some("169.254.169.254")),
            ("127.1", Some("127.0.0.1")),
            ("0", Some("0.0.0.0")),
            ("0x", Some("0.0.0.0")),
            ("127.0.0.01", Some("127.0.0.1")),
            ("169.254.169.254.", Some("169.254.169.254")),
            ("１６９.254.169.254", Some("169.254.169.254")),
            (
                "169\u{3002}254\u{3002}169\u{3002}254",
                Some("169.254.169.254"),
            ),
            ("1.2.3.4.5", None),
            ("256.1.1.1", None),
            ("example.123", None),
            ("4294967296", None),
            ("example.0x7f", None),
        ] {
            let expected = address.map(|text| text.parse().expect("an address"));
            assert_eq!(
                Host::parse(text),
                Err(HostError::AmbiguousAddress(expected)),
                "{text:?}"
            );
        }
    }

    fn hyphen(at: usize, label: &str) -> HostError {
        let label = label.to_owned();
        HostError::Hyphen { at, label }
    }

    #[test]
    fn what_is_no_host_is_refused_where_it_goes_wrong() {
        for (text, error) in [
            ("", HostError::Empty),
            (".", HostError::Empty),
            ("fe80::1%eth0", HostError::Zone),
            ("[fe80::1%25eth0]", HostError::Zone),
            ("[::1", HostError::Brackets),
            ("[127.0.0.1]", HostError::Brackets),
            ("::ffff:0x7f000001", HostError::Brackets),
            (
                "user@example.com",
                HostError::Character {
                    at: 4,
                    character: '@',
                },
            ),
            (
                "exa mple.com",
                HostError::Character {
                    at: 3,
                    character: ' ',
                },
            ),
            (
                "a\r\nb",
                HostError::Character {
                    at: 1,
                    character: '\r',
                },
            ),
            (
                "a%2eb",
                HostError::Character {
                    at: 1,
                    character: '%',
                },
            ),
            (
                "*.example.com",
                HostError::Character {
                    at: 0,
                    character: '*',
                },
            ),
            (
                "a..b",
                HostError::Label {
                    at: 2,
                    label: String::new(),
                },
            ),
            ("a.-bad-.b", hyphen(2, "-bad-")),
            ("-a.b", hyphen(0, "-a")),
            ("a.b-", hyphen(2, "b-")),
            ("xn--a", HostError::International),
        ] {
            assert_eq!(Host::parse(text), Err(error), "{text:?}");
        }
        assert!(matches!(Host::parse(&"a.".repeat(127)), Ok(Host::Name(_))));
        assert!(matches!(
            Host::parse(&"a.".repeat(128)),
            Err(HostError::TooLong(255))
        ));
        assert!(matches!(
            Host::parse(&"a".repeat(64)),
            Err(HostError::Label { .. })
        ));
        assert!(matches!(
            Host::parse(&"a".repeat(9999)),
            Err(HostError::TooLong(9999))
        ));
    }
}
