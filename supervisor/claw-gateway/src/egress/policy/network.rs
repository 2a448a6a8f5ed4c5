//! The lines of `private_networks`.

use std::net::IpAddr;

use ipnet::IpNet;

use super::AddressKind;
use super::address::openable_networks;

/// Why a text cannot stand below `private_networks`; it says what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// It is no network.
    #[error("`{}` is not a network; write one as `10.1.0.0/16`", .0.escape_debug())]
    Syntax(String),
    /// The address has bits behind the prefix.
    #[error("`{text}` has bits set behind its prefix; write `{meant}`, or the one host it names")]
    HostBits {
        /// What was written.
        text: String,
        /// The network around it.
        meant: IpNet,
    },
    /// The network does not lie in one that can be opened.
    #[error(
        "`{text}` is not a private network ({kind}); only networks in 10.0.0.0/8, 172.16.0.0/12, \
         192.168.0.0/16, 100.64.0.0/10, 127.0.0.0/8, fc00::/7 and ::1 can be opened, and public \
         ones need not be"
    )]
    NotPrivate {
        /// What was written.
        text: String,
        /// What its first address is.
        kind: AddressKind,
    },
}

/// Reads a network, or an address for a network of one.
pub(super) fn parse(text: &str) -> Result<IpNet, NetworkError> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    let net: IpNet = text
        .parse()
        .or_else(|_no_network| address())
        .map_err(|_nor_address| NetworkError::Syntax(text.to_owned()))?;
    if net.trunc() != net {
        let (text, meant) = (text.to_owned(), net.trunc());
        return Err(NetworkError::HostBits { text, meant });
    }
    let kind = AddressKind::of(net.addr());
    let openable = openable_networks().any(|outer| outer.contains(&net));
    if !openable || kind == AddressKind::Metadata {
        let text = text.to_owned();
        return Err(NetworkError::NotPrivate { text, kind });
    }
    Ok(net)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_private_networks_are_read() {
        for (text, shown) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.168.7.9", "192.168.7.9/32"),
            ("fd12:3456::/32", "fd12:3456::/32"),
            ("127.0.0.0/8", "127.0.0.0/8"),
            ("100.64.0.0/10", "100.64.0.0/10"),
        ] {
            assert_eq!(parse(text).map(|net| net.to_string()), Ok(shown.to_owned()));
        }
        for (text, message) in [
            (
                "intranet",
                "`intranet` is not a network; write one as `10.1.0.0/16`",
            ),
            (
                "10.0.0.5/8",
                "`10.0.0.5/8` has bits set behind its prefix; write `10.0.0.0/8`, or the one host it names",
            ),
        ] {
            assert_eq!(
                parse(text).map_err(|e| e.to_string()),
                Err(message.to_owned())
            );
        }
        for (text, kind) in [
            ("0.0.0.0/0", AddressKind::Reserved),
            ("10.0.0.0/7", AddressKind::Private),
            ("8.8.8.0/24", AddressKind::Public),
            ("169.254.0.0/16", AddressKind::LinkLocal),
            ("100.100.100.200/32", AddressKind::Metadata),
            ("fd00:ec2::/32", AddressKind::Metadata),
            ("::ffff:10.0.0.0/104", AddressKind::V4Mapped),
            ("198.18.0.0/15", AddressKind::Reserved),
            ("::/0", AddressKind::V4Mapped),
        ] {
            let text = text.to_owned();
            let expected = NetworkError::NotPrivate {
                text: text.clone(),
                kind,
            };
            assert_eq!(parse(&text), Err(expected));
        }
    }
}
