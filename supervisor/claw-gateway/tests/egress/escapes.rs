//! Attempts to get out where the rules do not lead.

use std::net::IpAddr;

use claw_gateway::egress::policy::AddressKind;
use claw_gateway::egress::{EgressProxy, Listeners};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::dns::{Answer, ask};
use crate::world::{Names, Rules, Upstream, World, to_end};

async fn asked(world: &World, target: &str) -> String {
    world
        .said(format!("CONNECT {target} HTTP/1.1\r\n\r\n"))
        .await
}

/// Row 8.
#[tokio::test]
async fn credentials_of_a_cloud_are_out_of_reach_in_every_spelling() {
    let listed = [
        "*.internal",
        "metadata.google.internal",
        "169.254.169.254",
        "[fd00:ec2::254]",
    ];
    let names = Names::answering(&[
        ("credentials.internal", &[&["169.254.169.254"]]),
        ("mapped.internal", &[&["::ffff:169.254.169.254"]]),
        ("translated.internal", &[&["64:ff9b::a9fe:a9fe"]]),
        ("alibaba.internal", &[&["100.100.100.200"]]),
        ("amazon.internal", &[&["fd00:ec2::254"]]),
        ("metadata.google.internal", &[&["127.0.0.1"]]),
    ]);
    let mut rules = Rules::allowing(&listed);
    rules
        .private
        .extend(["100.64.0.0/10".to_owned(), "fc00::/7".to_owned()]);
    let mut world = World::start(&rules, names);
    for host in [
        "169.254.169.254",
        "[fd00:ec2::254]",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::169.254.169.254]",
        "metadata.google.internal",
        "METADATA.google.internal.",
        "credentials.internal",
        "mapped.internal",
        "translated.internal",
        "alibaba.internal",
        "amazon.internal",
    ] {
        let answer = asked(&world, &format!("{host}:80")).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{host}: {answer}");
        assert!(answer.contains("no line can allow it"), "{host}: {answer}");
        assert!(
            world.denial().await.ends_with("no line can allow it"),
            "{host}"
        );
    }
    for host in [
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "0xa9.254.169.254",
    ] {
        let answer = asked(&world, &format!("{host}:80")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{host}: {answer}");
        assert!(
            answer.contains("the address 169.254.169.254"),
            "{host}: {answer}"
        );
        assert!(
            world.denial().await.contains("the address 169.254.169.254"),
            "{host}"
        );
    }
}

/// Row 9: the address that was checked is the one that is dialled, and it is looked up once.
#[tokio::test]
async fn a_name_that_changes_its_address_is_judged_by_each_answer() {
    let upstream = Upstream::echo("127.0.0.1:0").await.expect("a host");
    let target = format!("rebind.internal:{}", upstream.port());
    let turns: &[&[&str]] = &[&["127.0.0.1"], &["10.0.0.1"], &["1.1.1.1", "127.0.0.1"]];
    let names = Names::answering(&[("rebind.internal", turns)]);
    let mut world = World::start(&Rules::allowing(&[&target]), names);
    drop(world.tunnel(&target).await);
    assert_eq!(
        world.names.asked(),
        ["rebind.internal"],
        "one connection, one lookup"
    );

    let answer = asked(&world, &target).await;
    assert!(
        answer.contains("its address 10.0.0.1 is private"),
        "{answer}"
    );
    let denial = world.denial().await;
    assert!(
        denial.ends_with("add `- 10.0.0.1/32` below `sandbox.private_networks`"),
        "{denial}"
    );

    let answer = asked(&world, &target).await;
    let told = "it resolved to 1.1.1.1, which is public, and to 127.0.0.1, which is not";
    assert!(answer.contains(told), "{answer}");
    assert_eq!(upstream.connections(), 1);
}

/// Row 10.
#[tokio::test]
async fn private_networks_are_closed_to_names_that_are_allowed() {
    let upstream = Upstream::echo("127.0.0.1:0").await.expect("a host");
    let port = upstream.port();
    let addresses = [
        "127.0.0.1",
        "::1",
        "10.1.2.3",
        "192.168.1.1",
        "172.16.0.1",
        "fd12::1",
    ];
    for address in addresses {
        let names = Names::answering(&[("api.internal", &[&[address]])]);
        let mut rules = Rules::allowing(&[&format!("api.internal:{port}")]);
        rules.private.clear();
        let world = World::start(&rules, names);
        let answer = asked(&world, &format!("api.internal:{port}")).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{address}: {answer}");
        assert!(
            answer.contains(&format!("add `- {address}/")),
            "{address}: {answer}"
        );
    }
    for address in [
        "0.0.0.0",
        "::",
        "169.254.1.1",
        "224.0.0.1",
        "::ffff:127.0.0.1",
        "2002:7f00:1::",
    ] {
        let names = Names::answering(&[("api.internal", &[&[address]])]);
        let world = World::start(&Rules::allowing(&[&format!("api.internal:{port}")]), names);
        let answer = asked(&world, &format!("api.internal:{port}")).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{address}: {answer}");
        assert!(
            answer.contains("no line can allow it"),
            "{address}: {answer}"
        );
    }
    assert_eq!(upstream.connections(), 0);
}

/// Rows 10 and 21: an agent whose fleet file opens loopback still cannot talk to the supervisor.
#[tokio::test]
async fn the_supervisor_is_out_of_reach_even_if_loopback_is_open() {
    let supervisor = Upstream::echo("0.0.0.0:0").await.expect("a listener");
    let port = supervisor.port();
    let mut rules = Rules::allowing(&[&format!("127.0.0.1:{port}"), &format!("127.0.0.5:{port}")]);
    rules.own.push(supervisor.address);
    let world = World::start(&rules, Names::default());
    for host in ["127.0.0.1", "127.0.0.5"] {
        let answer = asked(&world, &format!("{host}:{port}")).await;
        assert!(answer.contains("the supervisor itself listens"), "{answer}");
    }
    assert_eq!(supervisor.connections(), 0);
}

/// The same on the address that this machine has in its network.
#[tokio::test]
async fn the_supervisor_is_out_of_reach_on_every_address_of_its_machine() {
    let opened = |ip: &IpAddr| {
        let kind = AddressKind::of(*ip);
        kind.can_be_opened() && kind != AddressKind::Loopback
    };
    let Some(own) = own_addresses().into_iter().find(opened) else {
        println!("SKIP egress to the own address: this machine has no private one");
        return;
    };
    let supervisor = Upstream::echo("0.0.0.0:0").await.expect("a listener");
    let target = format!("{own}:{}", supervisor.port());
    let mut rules = Rules::allowing(&[&target]);
    rules.private.push(own.to_string());
    let open = World::start(&rules, Names::default());
    drop(open.tunnel(&target).await);
    assert_eq!(supervisor.connections(), 1);
    rules.own.push(supervisor.address);
    let mut closed = World::start(&rules, Names::default());
    assert!(asked(&closed, &target).await.starts_with("HTTP/1.1 403 "));
    assert_eq!(
        closed.denial().await,
        format!(
            "{target} is denied: the supervisor itself listens at {target}; no line can allow it"
        )
    );
    assert_eq!(supervisor.connections(), 1);
}

/// The IPv4 addresses of this machine, as the kernel routes them.
fn own_addresses() -> Vec<IpAddr> {
    let trie = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let lines: Vec<&str> = trie.lines().map(str::trim).collect();
    let local = |pair: &[&str]| {
        let address = pair[0].strip_prefix("|-- ")?;
        pair[1]
            .contains("/32 host LOCAL")
            .then(|| address.parse().ok())?
    };
    lines.windows(2).filter_map(local).collect()
}

/// Row 15.
#[tokio::test]
async fn requests_that_can_be_read_in_two_ways_are_bad() {
    let upstream = Upstream::echo("127.0.0.1:0").await.expect("a host");
    let target = format!("api.internal:{}", upstream.port());
    let names = Names::answering(&[("api.internal", &[&["127.0.0.1"]])]);
    let mut world = World::start(&Rules::allowing(&[&target, "api.internal"]), names);
    for request in [
        format!("CONNECT user:pw@{target} HTTP/1.1\r\n\r\n"),
        format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nHost: evil.example:443\r\n\r\n"),
        format!("CONNECT {target} HTTP/1.1\r\nHost: evil.example:443\r\n\r\n"),
        format!("CONNECT {target}%0d%0aHost:evil.example HTTP/1.1\r\n\r\n"),
        format!("CONNECT {target} HTTP/1.1\nHost: {target}\n\n"),
        format!("CONNECT {target} HTTP/1.1\r\nX: 1\rHost: evil.example\r\n\r\n"),
        "CONNECT api.internal:0 HTTP/1.1\r\n\r\n".to_owned(),
        "CONNECT api.internal HTTP/1.1\r\n\r\n".to_owned(),
        format!("GET http://{target}/ HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
        format!("GET http://evil.example@{target}/ HTTP/1.1\r\nHost: {target}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {target}\r\n\r\n"),
    ] {
        let answer = world.said(&request).await;
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{request:?}: {answer}"
        );
        world.denial().await;
    }
    let long = format!(
        "CONNECT {target} HTTP/1.1\r\nX: {}\r\n\r\n",
        "a".repeat(9000)
    );
    assert!(world.said(long).await.starts_with("HTTP/1.1 431 "));
    assert_eq!(upstream.connections(), 0);
}

/// Row 16: a relay of the agent's own changes nothing.
#[tokio::test]
async fn a_relay_in_front_of_the_proxy_gets_the_same_verdict() {
    let mut world = World::start(&Rules::allowing(&["pypi.org"]), Names::default());
    let relay = TcpListener::bind("127.0.0.1:0").await.expect("a relay");
    let at = relay.local_addr().expect("an address");
    let proxy = world.port;
    tokio::spawn(async move {
        let (mut client, _) = relay.accept().await.expect("a client");
        let mut onward = TcpStream::connect(proxy).await.expect("connected");
        copy_bidirectional(&mut client, &mut onward).await.ok();
    });
    let mut client = TcpStream::connect(at).await.expect("connected");
    let request = b"CONNECT evil.example:443 HTTP/1.1\r\nX-Forwarded-Host: pypi.org\r\n\r\n";
    client.write_all(request).await.expect("sent");
    let through_relay = to_end(client).await;
    assert!(
        through_relay.starts_with("HTTP/1.1 403 "),
        "{through_relay}"
    );
    let first = world.denial().await;
    assert_eq!(world.said(request).await, through_relay);
    assert_eq!(world.denial().await, first);
    assert_eq!(world.proxy.denials()[0].count, 2);
}

/// Row 17: what one agent's proxy knows is worth nothing at another's.
#[tokio::test]
async fn agents_share_nothing() {
    let upstream = Upstream::echo("127.0.0.1:0").await.expect("a host");
    let target = format!("api.internal:{}", upstream.port());
    let names = || Names::answering(&[("api.internal", &[&["127.0.0.1"]])]);
    let first = World::start(&Rules::allowing(&[&target]), names());
    let mut other_rules = Rules::allowing(&[&target]);
    other_rules.limits.max_tunnels = 1;
    let other = World::start(&other_rules, names());
    let Answer::Address(address) = ask(&first, "api.internal.").await else {
        panic!("no address");
    };
    let answer = asked(&other, &format!("{address}:{}", upstream.port())).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(first.tunnel(&target).await);
    }
    drop(other.tunnel(&target).await);
    assert_eq!(first.proxy.counters().open, 3);
}

/// An agent without rules, or without listeners, reaches nothing.
#[tokio::test]
async fn nothing_is_allowed_by_default() {
    let world = World::start(&Rules::default(), Names::default());
    for target in [
        "example.com:443",
        "127.0.0.1:80",
        "[::1]:443",
        "localhost:80",
    ] {
        let answer = asked(&world, target).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{target}: {answer}");
    }
    let (sender, _receiver) = tokio::sync::mpsc::channel(1);
    let settings = Rules::default().settings();
    let names = std::sync::Arc::new(Names::default());
    let silent = EgressProxy::start("coder", Listeners::default(), settings, names, sender)
        .expect("a proxy");
    silent.stop().await;
}

/// A client that is told no in the middle of its upload hears it. The upload is larger than what
/// the kernel holds for the two ends.
#[tokio::test]
async fn a_refusal_arrives_although_the_client_is_still_sending() {
    let world = World::start(&Rules::default(), Names::default());
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_send_buffer_size(4096).expect("a small buffer");
    let mut client = socket.connect(world.port).await.expect("connected");
    let head = "POST http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\
                Content-Length: 200000\r\n\r\n";
    client.write_all(head.as_bytes()).await.expect("sent");
    client.write_all(&vec![0; 200_000]).await.expect("sent");
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}
