//! Where a provider is, as far as its address tells.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;

/// Endings of names that no public name has (RFC 6762, RFC 8375, ICANN's `.internal`).
const PRIVATE_ENDINGS: [&str; 6] = [
    ".home.arpa",
    ".internal",
    ".lan",
    ".local",
    ".localdomain",
    ".test",
];

/// Where a provider is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// On this machine.
    Loopback,
    /// In a network of one's own.
    Private,
    /// Behind a name, which may be anywhere.
    Named,
    /// At a public address.
    Public,
}

/// The host of a URL, and whether it is spoken to in clear.
pub(super) struct Address {
    pub(super) host: String,
    pub(super) in_clear: bool,
}

impl Address {
    /// Of a text that was read as a base URL.
    pub(super) fn of(text: &str) -> Option<Self> {
        let uri: Uri = text.trim().parse().ok()?;
        Some(Self {
            host: uri.host()?.to_ascii_lowercase(),
            in_clear: uri.scheme_str() == Some("http"),
        })
    }

    pub(super) fn place(&self) -> Place {
        let host = self.host.trim_end_matches('.');
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => of_four(address),
            Ok(IpAddr::V6(address)) => of_six(address),
            Err(_) if host == "localhost" || host.ends_with(".localhost") => Place::Loopback,
            Err(_) if !host.contains('.') => Place::Private,
            Err(_) if PRIVATE_ENDINGS.iter().any(|end| host.ends_with(end)) => Place::Private,
            Err(_) => Place::Named,
        }
    }
}

fn of_four(address: Ipv4Addr) -> Place {
    let [first, second, ..] = address.octets();
    // 100.64.0.0/10 is shared address space (RFC 6598), as overlay networks use it.
    let shared = first == 100 && (64..128).contains(&second);
    if address.is_loopback() {
        Place::Loopback
    } else if address.is_private() || address.is_link_local() || shared {
        Place::Private
    } else {
        Place::Public
    }
}

fn of_six(address: Ipv6Addr) -> Place {
    if let Some(four) = address.to_ipv4_mapped() {
        return of_four(four);
    }
    if address.is_loopback() {
        Place::Loopback
    } else if address.is_unique_local() || address.is_unicast_link_local() {
        Place::Private
    } else {
        Place::Public
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_by_the_address() {
        for (url, place) in [
            ("http://127.0.0.1:8000", Place::Loopback),
            ("http://localhost:8000/v1", Place::Loopback),
            ("http://[::1]:8000", Place::Loopback),
            ("http://ollama:11434", Place::Private),
            ("http://10.1.2.3", Place::Private),
            ("http://100.100.1.2", Place::Private),
            ("http://[fd00::1]", Place::Private),
            ("http://host.docker.internal:11434", Place::Private),
            ("https://api.openai.com/v1", Place::Named),
            ("https://example.com.", Place::Named),
            ("http://8.8.8.8", Place::Public),
            ("http://[2001:4860:4860::8888]", Place::Public),
            ("http://[::ffff:8.8.8.8]", Place::Public),
        ] {
            let address = Address::of(url).expect(url);
            assert_eq!(address.place(), place, "{url}");
            assert_eq!(address.in_clear, url.starts_with("http:"), "{url}");
        }
    }
}
