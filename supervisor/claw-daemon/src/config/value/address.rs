//! The address the control API listens on.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::Rejected;

const FORM: &str = "write an address and a port, such as `127.0.0.1:8400`, or `off`";

/// Reads `off`, or an address on loopback with its port.
pub(in crate::config) fn listen(text: &str) -> Result<Option<SocketAddr>, Rejected> {
    if text == "off" {
        return Ok(None);
    }
    let address = match text.strip_prefix("localhost:").map(str::parse::<u16>) {
        Some(Ok(port)) => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port),
        Some(Err(_)) => return Err(Rejected::new("its port cannot be read").help(FORM)),
        None => text.parse().map_err(|_unreadable| unreadable(text))?,
    };
    if address.ip().is_loopback() {
        return Ok(Some(address));
    }
    Err(
        Rejected::new("it can be reached from other machines, and there are no access tokens yet")
            .help(format!(
                "write `127.0.0.1:{}` and reach it from elsewhere through `ssh -L`",
                address.port()
            )),
    )
}

fn unreadable(text: &str) -> Rejected {
    let port = text.strip_prefix(':').unwrap_or(text);
    match port.parse::<u16>() {
        Ok(port) => Rejected::new("it has no address").help(format!("write `127.0.0.1:{port}`")),
        Err(_) if text.parse::<IpAddr>().is_ok() => Rejected::new("it has no port").help(FORM),
        Err(_) => Rejected::new("it is not an address with a port").help(FORM),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_listened_on() {
        assert_eq!(listen("off"), Ok(None));
        for text in ["127.0.0.1:8400", "localhost:8400", "[::1]:8400"] {
            assert!(matches!(listen(text), Ok(Some(_))), "{text}");
        }
        for text in [
            "0.0.0.0:8400",
            "8400",
            ":8400",
            "127.0.0.1",
            "example.com:80",
            "",
        ] {
            assert!(listen(text).is_err(), "{text}");
        }
    }
}
