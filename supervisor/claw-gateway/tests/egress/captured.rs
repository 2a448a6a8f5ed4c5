//! Programs that know no proxy: their connections are captured on the way.

use claw_gateway::egress::Entrance;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::dns::{Answer, ask};
use crate::hello::{hello, hello_for, records};
use crate::world::{Names, Rules, Upstream, World, ip, to_end, until};

/// Where the hosts of these tests are.
const HOST: &str = "127.0.0.9";

/// A world that allows one name on the port of a capturing listener; the name has been resolved
/// by the agent.
async fn resolved(port: impl Fn(&World) -> u16) -> (World, u16) {
    let names = Names::answering(&[("api.internal", &[&[HOST]])]);
    let world = World::start(&Rules::default(), names);
    let port = port(&world);
    let rules = Rules::allowing(&[&format!("api.internal:{port}")]);
    world.proxy.replace(rules.settings());
    assert_eq!(
        ask(&world, "api.internal.").await,
        Answer::Address(world.https.ip())
    );
    (world, port)
}

#[tokio::test]
async fn tls_to_a_resolved_name_reaches_its_host() {
    let (mut world, port) = resolved(|world| world.https.port()).await;
    let upstream = Upstream::echo((HOST, port)).await.expect("a host");
    let mut client = TcpStream::connect(world.https).await.expect("connected");
    let first = hello_for("api.internal");
    client.write_all(&first).await.expect("sent");
    let mut back = vec![0; first.len()];
    client.read_exact(&mut back).await.expect("the echo");
    assert_eq!(back, first);
    let decision = world.decision().await;
    assert_eq!(decision.entrance, Entrance::CapturedTls);
    assert_eq!(
        (decision.host.as_str(), decision.port),
        ("api.internal", port)
    );
    assert_eq!(decision.address, Some(ip(HOST)));
    assert_eq!(upstream.connections(), 1);
}

/// Row 14.
#[tokio::test]
async fn tls_for_another_host_is_closed_with_an_alert() {
    let (mut world, port) = resolved(|world| world.https.port()).await;
    let upstream = Upstream::echo((HOST, port)).await.expect("a host");
    for (first, reason) in [
        (
            hello_for("other.internal"),
            "names `other.internal` instead",
        ),
        (records(&hello(&[]), 16_000), "TLS names no host (SNI)"),
        (b"SSH-2.0-client\r\n".to_vec(), "is not TLS"),
    ] {
        let mut client = TcpStream::connect(world.https).await.expect("connected");
        client.write_all(&first).await.expect("sent");
        let mut alert = [0; 7];
        client.read_exact(&mut alert).await.expect("an alert");
        assert_eq!(alert, [21, 3, 3, 0, 2, 2, 49]);
        assert_eq!(to_end(client).await, "");
        let denial = world.denial().await;
        assert!(denial.contains(reason), "{denial}");
    }
    assert_eq!(upstream.bytes(), 0);
}

/// Row 12.
#[tokio::test]
async fn an_address_that_stands_for_no_name_is_denied() {
    let rules = Rules::allowing(&["api.internal"]);
    let mut world = World::start(&rules, Names::default());
    let client = TcpStream::connect(world.https).await.expect("connected");
    to_end(client).await;
    let denial = world.denial().await;
    let (ip, port) = (world.https.ip(), world.https.port());
    assert_eq!(
        denial,
        format!(
            "{ip}:{port} is denied: no name was lately resolved to {ip}; resolve the name again, \
             or connect by name"
        )
    );
}

#[tokio::test]
async fn http_to_a_resolved_name_reaches_its_host() {
    let (mut world, port) = resolved(|world| world.http.port()).await;
    let listener = TcpListener::bind((HOST, port)).await.expect("a host");
    let mut client = TcpStream::connect(world.http).await.expect("connected");
    let request = format!("GET /a HTTP/1.1\r\nHost: api.internal:{port}\r\n\r\n");
    client.write_all(request.as_bytes()).await.expect("sent");
    let (mut stream, _) = listener.accept().await.expect("a client");
    assert_eq!(
        until(&mut stream, "\r\n\r\n").await,
        format!("GET /a HTTP/1.1\r\nHost: api.internal:{port}\r\nConnection: close\r\n\r\n")
    );
    stream
        .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        .await
        .expect("sent");
    drop(stream);
    assert_eq!(to_end(client).await, "HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(world.decision().await.entrance, Entrance::CapturedHttp);
}

#[tokio::test]
async fn http_that_names_another_host_is_refused() {
    let (mut world, port) = resolved(|world| world.http.port()).await;
    for (request, status, reason) in [
        (
            format!("GET / HTTP/1.1\r\nHost: other.internal:{port}\r\n\r\n"),
            403,
            "`other.internal`",
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: {HOST}:{port}\r\n\r\n"),
            403,
            "`127.0.0.9`",
        ),
        (
            "GET / HTTP/1.1\r\nHost: api.internal:1\r\n\r\n".to_owned(),
            400,
            "another port",
        ),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400, "names no host"),
    ] {
        let mut client = TcpStream::connect(world.http).await.expect("connected");
        client.write_all(request.as_bytes()).await.expect("sent");
        let answer = to_end(client).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request:?}: {answer}"
        );
        let denial = world.denial().await;
        assert!(denial.contains(reason), "{denial}");
    }
}

/// A client that resolves by itself and then asks the proxy for the address.
#[tokio::test]
async fn an_address_that_stands_for_a_name_may_be_asked_of_the_proxy() {
    let upstream = Upstream::echo((HOST, 0)).await.expect("a host");
    let target = format!("api.internal:{}", upstream.port());
    let names = Names::answering(&[("api.internal", &[&[HOST]])]);
    let world = World::start(&Rules::allowing(&[&target]), names);
    let Answer::Address(address) = ask(&world, "api.internal.").await else {
        panic!("no address");
    };
    let mut client = world
        .tunnel(&format!("{address}:{}", upstream.port()))
        .await;
    client.write_all(b"hello").await.expect("sent");
    assert_eq!(until(&mut client, "hello").await, "hello");
}
