//! What agents send: heads, the first messages of TLS, DNS queries.

use claw_gateway::egress::FakeAddresses;
use claw_gateway::egress::client_hello::{HelloReader, ServerName};
use claw_gateway::egress::dns::answer;
use claw_gateway::egress::head::{Authority, MAX_HEAD, Request, to_origin, to_proxy};
use claw_gateway::egress::policy::Host;
use hickory_proto::op::{Message, MessageType};
use hickory_proto::rr::RecordType;
use proptest::prelude::*;

use super::{fuzzed, plainly_allowed, policy, texts};
use crate::dns::query;
use crate::hello::{hello, records};

/// Pieces of heads.
const HEAD_PIECES: [&str; 40] = [
    "CONNECT ",
    "GET ",
    "POST ",
    "http://",
    "https://",
    "//",
    "/",
    "?q",
    "#f",
    "\\",
    "@",
    "user@",
    "api.example.com",
    "api.example.com:443",
    "a.internal:80",
    "127.0.0.1:80",
    "[::1]:443",
    ":0",
    " HTTP/1.1\r\n",
    " HTTP/1.0\r\n",
    " HTTP/2.0\r\n",
    "Host: api.example.com\r\n",
    "Host: api.example.com:443\r\n",
    "Host: a.internal\r\n",
    "host : a.internal\r\n",
    "Host:\r\n",
    "Content-Length: 4\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Connection: close\r\n",
    "Connection: host, upgrade\r\n",
    "Upgrade: websocket\r\n",
    "Proxy-Connection: x\r\n",
    "X-A: 1\r\n",
    " folded\r\n",
    "\r\n",
    "\n",
    "\r",
    "\0",
    "%0d%0a",
    "body",
];

/// Targets of requests, most of them good.
const TARGETS: [&str; 12] = [
    "api.example.com:443",
    "a.internal:80",
    "127.0.0.1:80",
    "[::1]:443",
    "http://api.example.com/",
    "http://api.example.com:443?q",
    "http://a.internal",
    "http://a.internal/a/../b",
    "/",
    "/a?http://b/",
    "http://user@a.internal/",
    "*",
];

#[test]
fn heads_that_pass_name_one_host_and_go_on_as_they_were_judged() {
    let fields = prop::collection::vec(prop::sample::select(&HEAD_PIECES[21..33]), 0..4);
    let target = prop::sample::select(TARGETS.to_vec());
    let valid = ("CONNECT|GET|POST", target, fields).prop_map(|(method, target, fields)| {
        format!("{method} {target} HTTP/1.1\r\n{}\r\n", fields.concat())
    });
    let usual = (
        "(CONNECT|GET) ",
        texts(&HEAD_PIECES[3..20], 4),
        texts(&HEAD_PIECES[18..], 6),
    )
        .prop_map(|(method, target, rest)| format!("{method}{target}{rest}\r\n\r\n"));
    let strategy = prop_oneof![4 => valid, 2 => usual, 1 => texts(&HEAD_PIECES, 12)];
    fuzzed(&strategy, |text| {
        for (captured, read) in [
            (false, to_proxy(text.as_bytes())),
            (true, to_origin(text.as_bytes(), 80)),
        ] {
            let Ok(Some(head)) = read else {
                continue;
            };
            assert!(
                head.length <= MAX_HEAD && head.length <= text.len(),
                "{text:?}"
            );
            let raw = &text[..head.length];
            assert!(raw.ends_with("\r\n\r\n") && !raw.replace("\r\n", "").contains(['\r', '\n']));
            let hosts = raw.to_lowercase().matches("\r\nhost:").count();
            assert!(hosts <= 1, "{text:?} names two hosts");
            let target = raw.split(' ').nth(1).expect("a target").to_lowercase();
            match head.request {
                Request::Connect(Authority { host, port }) => {
                    assert!(!captured && port != 0, "{text:?}");
                    let plain = format!("{host}:{port}");
                    let written = target.replace(".:", ":").replace(['[', ']'], "");
                    assert_eq!(written, plain, "{text:?}");
                }
                Request::Forward { authority, head } => {
                    let sent = String::from_utf8(head).expect("text");
                    let hosts = sent.to_lowercase().matches("\r\nhost:").count();
                    assert_eq!(hosts, 1, "{text:?}: {sent:?}");
                    let line = sent.lines().nth(1).expect("a Host field");
                    assert!(
                        line.starts_with("Host: ") && !line.contains('@'),
                        "{sent:?}"
                    );
                    let again = to_origin(sent.as_bytes(), authority.port);
                    let again = again.expect("a head").expect("a whole head");
                    assert_eq!(again.length, sent.len(), "{text:?}: {sent:?}");
                    assert_eq!(
                        again.request,
                        Request::Forward {
                            authority,
                            head: sent.clone().into_bytes()
                        },
                        "{text:?}"
                    );
                }
            }
        }
    });
}

/// Bytes that were changed in some places, cut, or cut into other parts.
fn damaged(bytes: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let length = bytes.len();
    let changes = prop::collection::vec((0..length, any::<u8>()), 0..4);
    let doubled = prop::option::weighted(0.2, (0..length, 0..length));
    (changes, doubled, length / 2..=length).prop_map(move |(changes, doubled, end)| {
        let mut bytes = bytes.clone();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes.truncate(end);
        if let Some((from, to)) = doubled {
            let part = bytes.get(from..to.max(from)).unwrap_or_default().to_vec();
            bytes.extend(part);
        }
        bytes
    })
}

#[test]
fn the_name_in_tls_is_one_that_was_sent() {
    let names: [&[&[u8]]; 4] = [
        &[b"api.example.com"],
        &[],
        &[b"a.b", b"c.d"],
        &[b"127.0.0.1"],
    ];
    let hellos: Vec<Vec<u8>> = names
        .iter()
        .map(|names| records(&hello(names), 16_000))
        .collect();
    let bytes = prop::sample::select(hellos).prop_flat_map(damaged);
    fuzzed(&(bytes, 1..200_usize), |(bytes, step)| {
        let mut reader = HelloReader::default();
        for part in bytes.chunks(step) {
            match reader.push(part) {
                Ok(None) => {}
                Ok(Some(ServerName::Named(Host::Name(name)))) => {
                    let sent = bytes.to_ascii_lowercase();
                    let name = name.as_str().as_bytes();
                    assert!(
                        sent.windows(name.len()).any(|part| part == name),
                        "{bytes:02x?}"
                    );
                    break;
                }
                Ok(Some(ServerName::Named(Host::Address(address)))) => {
                    panic!("{address} is no name: {bytes:02x?}")
                }
                Ok(Some(ServerName::Missing)) | Err(_) => break,
            }
        }
        assert!(bytes.starts_with(&reader.into_bytes()));
    });
}

#[test]
fn only_allowed_names_get_an_address() {
    let policy = policy();
    let network = "198.18.0.0/24".parse().expect("a network");
    let mut names = FakeAddresses::new(network);
    let asked = [
        "a.internal.",
        "api.example.com.",
        "bad.internal.",
        "evil.example.",
        ".",
    ];
    let kinds = [RecordType::A, RecordType::AAAA, RecordType::ANY];
    let queries: Vec<Vec<u8>> = asked
        .iter()
        .flat_map(|name| kinds.map(|kind| query(name, kind)))
        .collect();
    let noise = prop::collection::vec(any::<u8>(), 0..80);
    let strategy =
        prop_oneof![9 => prop::sample::select(queries).prop_flat_map(damaged), 1 => noise];
    fuzzed(&strategy, |bytes| {
        let Some(reply) = answer(&bytes, &policy, Some(&mut names)).bytes else {
            return;
        };
        let message = Message::from_vec(&reply).expect("a message");
        assert_eq!(message.metadata.message_type, MessageType::Response);
        assert_eq!(message.metadata.id.to_be_bytes(), bytes[..2]);
        assert!(
            reply.len() <= 512,
            "the answer is larger than any client takes"
        );
        for record in &message.answers {
            let address = record.data.ip_addr().expect("an address");
            let name = names.name_of(address).expect("a name").as_str();
            assert!(names.contains(address));
            let ports = [443, 80, 22, 8443];
            assert!(
                ports.iter().any(|port| plainly_allowed(name, *port)),
                "{name}"
            );
        }
    });
}
