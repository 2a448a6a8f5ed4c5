//! Ports of a container that are reached through the host, as Compose writes them.

use std::net::{IpAddr, Ipv4Addr};

use claw_core::spec::container::{Port, PortProtocol};

use super::Rejected;

const FORM: &str = "write `HOST_PORT:CONTAINER_PORT`, such as `8080:80`";

/// Reads `[ADDRESS:]HOST_PORT:CONTAINER_PORT[/PROTOCOL]`. Without an address it is loopback.
pub(in crate::config) fn port(text: &str) -> Result<Port, Rejected> {
    let (ports, protocol) = match text.split_once('/') {
        None => (text, PortProtocol::Tcp),
        Some((ports, "tcp")) => (ports, PortProtocol::Tcp),
        Some((ports, "udp")) => (ports, PortProtocol::Udp),
        Some(_) => return Err(Rejected::new("its protocol is not `tcp` or `udp`").help(FORM)),
    };
    let Some((host, container)) = ports.rsplit_once(':') else {
        let number = ports.parse::<u16>();
        let help = number.map_or_else(
            |_unreadable| FORM.to_owned(),
            |port| format!("write the port of the host too: `{port}:{port}`"),
        );
        return Err(Rejected::new("it is one port").help(help));
    };
    let (host_ip, host) = match host.rsplit_once(':') {
        None => (IpAddr::V4(Ipv4Addr::LOCALHOST), host),
        Some((address, host)) => (ip(address)?, host),
    };
    Ok(Port {
        host_ip,
        host_port: number(host)?,
        container_port: number(container)?,
        protocol,
    })
}

fn ip(text: &str) -> Result<IpAddr, Rejected> {
    if text == "localhost" {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let bracketed = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let parsed = match bracketed {
        Some(inside) => inside.parse().map(IpAddr::V6),
        None => text.parse().map(IpAddr::V4),
    };
    let help = "write an address of the host, such as `127.0.0.1` or `[::1]`";
    parsed.map_err(|_unreadable| Rejected::new("its address cannot be read").help(help))
}

fn number(text: &str) -> Result<u16, Rejected> {
    if text.contains('-') {
        return Err(Rejected::new("it is a range").help("write one entry for each port"));
    }
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && *number > 0);
    number.ok_or_else(|| Rejected::new("ports are numbers from 1 to 65535").help(FORM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_open_to_this_machine_alone_unless_written_otherwise() {
        for (text, expected) in [
            ("8080:80", "127.0.0.1:8080:80/tcp"),
            ("8080:80/tcp", "127.0.0.1:8080:80/tcp"),
            ("53:5353/udp", "127.0.0.1:53:5353/udp"),
            ("0.0.0.0:80:80", "0.0.0.0:80:80/tcp"),
            ("localhost:80:80", "127.0.0.1:80:80/tcp"),
            ("[::1]:80:81", "::1:80:81/tcp"),
        ] {
            let port = port(text).unwrap();
            let protocol = match port.protocol {
                PortProtocol::Tcp => "tcp",
                PortProtocol::Udp => "udp",
            };
            let Port {
                host_ip,
                host_port,
                container_port,
                ..
            } = port;
            assert_eq!(
                format!("{host_ip}:{host_port}:{container_port}/{protocol}"),
                expected
            );
        }
        for text in [
            "",
            ":",
            "80",
            "80:",
            ":80",
            "0:80",
            "80:65536",
            "80-81:80-81",
            "80:80/sctp",
            "a:80:80",
            "::1:80:80",
            "80:80:",
            "+80:80",
            "80:80/tcp/tcp",
        ] {
            assert!(port(text).is_err(), "{text}");
        }
    }
}
