//! DNS over real sockets.

use std::net::IpAddr;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::world::{Names, Rules, World, to_end};

/// What a query was answered with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Address(IpAddr),
    NoData,
    Error(ResponseCode),
}

/// Asks for the IPv4 address of a name.
pub(crate) async fn ask(world: &World, name: &str) -> Answer {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    socket.connect(world.dns).await.expect("connected");
    let query = query(name, RecordType::A);
    socket.send(&query).await.expect("sent");
    let mut reply = vec![0; 4096];
    let length = socket.recv(&mut reply).await.expect("a reply");
    read(&reply[..length])
}

pub(crate) fn query(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
    message.to_vec().expect("bytes")
}

fn read(reply: &[u8]) -> Answer {
    let message = Message::from_vec(reply).expect("a message");
    assert_eq!(message.metadata.id, 4711);
    match (message.metadata.response_code, message.answers.first()) {
        (ResponseCode::NoError, None) => Answer::NoData,
        (ResponseCode::NoError, Some(record)) => {
            Answer::Address(record.data.ip_addr().expect("an address"))
        }
        (code, _) => Answer::Error(code),
    }
}

/// Row 13: what is in the labels of a name goes nowhere.
#[tokio::test]
async fn names_outside_the_list_are_never_looked_up() {
    let mut world = World::start(&Rules::allowing(&["*.example.com"]), Names::default());
    for name in [
        "mfrggzdfmy.tunnel.example.",
        "example.com.",
        "metadata.google.internal.",
    ] {
        assert_eq!(
            ask(&world, name).await,
            Answer::Error(ResponseCode::NXDomain),
            "{name}"
        );
        let denial = world.denial().await;
        assert!(denial.starts_with(name.trim_end_matches('.')), "{denial}");
    }
    let first = ask(&world, "a.example.com.").await;
    assert_eq!(first, ask(&world, "A.EXAMPLE.com.").await);
    assert_ne!(first, ask(&world, "b.example.com.").await);
    assert_eq!(world.names.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn tcp_answers_as_udp_does() {
    let world = World::start(&Rules::allowing(&["*.example.com"]), Names::default());
    let expected = ask(&world, "a.example.com.").await;
    let mut client = TcpStream::connect(world.dns_tcp).await.expect("connected");
    for (kind, answer) in [
        (RecordType::A, expected),
        (RecordType::AAAA, Answer::NoData),
        (RecordType::HTTPS, Answer::NoData),
    ] {
        let query = query("a.example.com.", kind);
        let length = u16::try_from(query.len()).expect("short");
        client.write_u16(length).await.expect("sent");
        client.write_all(&query).await.expect("sent");
        let length = client.read_u16().await.expect("a length");
        let mut reply = vec![0; usize::from(length)];
        client.read_exact(&mut reply).await.expect("a reply");
        assert_eq!(read(&reply), answer, "{kind}");
    }
    client.write_u16(u16::MAX).await.expect("sent");
    assert_eq!(to_end(client).await, "", "a query of 64 KiB was waited for");
}

/// What is no query gets no answer, and the next one is answered all the same.
#[tokio::test]
async fn garbage_is_passed_over() {
    let world = World::start(&Rules::allowing(&["*.example.com"]), Names::default());
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    for garbage in [vec![], vec![0; 3], vec![0xff; 512], vec![0; 60_000]] {
        socket.send_to(&garbage, world.dns).await.expect("sent");
    }
    assert!(matches!(
        ask(&world, "a.example.com.").await,
        Answer::Address(_)
    ));
}
