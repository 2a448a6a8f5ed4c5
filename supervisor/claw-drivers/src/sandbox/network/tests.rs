//! Which sockets travel, and what becomes of them on the other side.

use std::net::SocketAddr;

use super::*;

fn tcp() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn listeners(taken: Taken) -> Listeners {
    Listeners {
        proxy: tcp(),
        captured: match taken {
            Taken::All => Some(Captured {
                https: tcp(),
                http: tcp(),
            }),
            Taken::Proxy => None,
        },
        dns: UdpSocket::bind("127.0.0.1:0").unwrap(),
        dns_tcp: tcp(),
    }
}

fn made(ports: Ports) -> Sockets {
    Sockets {
        hosts: ports.hosts.map(listeners),
        models: ports.models.map(|_port| tcp()),
    }
}

/// What each socket is bound to, by what it is for.
fn addresses(sockets: &Sockets) -> Vec<Option<SocketAddr>> {
    let of = |listener: &TcpListener| listener.local_addr().unwrap();
    let hosts = sockets.hosts.as_ref();
    let captured = hosts.and_then(|hosts| hosts.captured.as_ref());
    vec![
        hosts.map(|hosts| of(&hosts.proxy)),
        captured.map(|captured| of(&captured.https)),
        captured.map(|captured| of(&captured.http)),
        hosts.map(|hosts| hosts.dns.local_addr().unwrap()),
        hosts.map(|hosts| of(&hosts.dns_tcp)),
        sockets.models.as_ref().map(of),
    ]
}

fn all_ports() -> Vec<Ports> {
    let hosts = [None, Some(Taken::All), Some(Taken::Proxy)];
    let both = |hosts| [None, Some(4141)].map(|models| Ports { hosts, models });
    hosts.into_iter().flat_map(both).collect()
}

#[test]
fn what_is_sent_arrives_as_what_it_is() {
    for ports in all_ports() {
        let sent = made(ports);
        let before = addresses(&sent);
        let descriptors = sent.into_descriptors();
        assert_eq!(descriptors.len(), ports.sockets(), "{ports:?}");
        assert!(descriptors.len() <= Sockets::COUNT, "{ports:?}");
        let arrived = Sockets::from_descriptors(ports, descriptors).unwrap();
        assert_eq!(addresses(&arrived), before, "{ports:?}");
    }
}

#[test]
fn nothing_is_taken_for_what_it_is_not_when_one_is_lost() {
    for ports in all_ports() {
        let mut descriptors = made(ports).into_descriptors();
        if descriptors.pop().is_some() {
            assert!(Sockets::from_descriptors(ports, descriptors).is_none());
        }
    }
}

#[test]
fn of_a_shim_that_does_not_say_the_number_tells() {
    for hosts in [None, Some(Taken::All), Some(Taken::Proxy)] {
        let ports = Ports {
            hosts,
            models: None,
        };
        assert_eq!(Ports::of_count(ports.sockets()), ports);
    }
}
