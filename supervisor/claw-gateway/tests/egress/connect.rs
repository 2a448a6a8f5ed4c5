//! The proxy's own port: tunnels and plain requests.

use claw_gateway::egress::policy::DnsName;
use claw_gateway::egress::{CloseCause, Entrance, Resolver, SystemResolver, Verdict};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::hello::{hello, hello_for, records};
use crate::world::{Names, Rules, Upstream, World, ip, to_end, until};

#[tokio::test]
async fn a_tunnel_to_an_allowed_host_carries_bytes_and_is_on_record() {
    let upstream = Upstream::echo("127.0.0.1:0").await.expect("a host");
    let target = format!("api.internal:{}", upstream.port());
    let names = Names::answering(&[("api.internal", &[&["127.0.0.1"]])]);
    let mut world = World::start(&Rules::allowing(&[&target]), names);

    let mut client = world.tunnel(&target).await;
    client.write_all(b"hello").await.expect("sent");
    assert_eq!(until(&mut client, "hello").await, "hello");
    client.shutdown().await.expect("done");
    assert_eq!(to_end(client).await, "");

    let allowed = world.decision().await;
    assert_eq!(allowed.verdict, Verdict::Allowed);
    assert_eq!(allowed.agent.as_ref(), "coder");
    assert_eq!(allowed.entrance, Entrance::Connect);
    assert_eq!(
        (allowed.host.as_str(), allowed.port),
        ("api.internal", upstream.port())
    );
    assert_eq!(allowed.address, Some(ip("127.0.0.1")));
    let rule = allowed.rule.as_ref().map(ToString::to_string);
    assert_eq!(rule.as_deref(), Some("allowed_network[0]"));
    match world.decision().await.verdict {
        Verdict::Closed {
            sent,
            received,
            cause,
            ..
        } => {
            assert_eq!((sent, received, cause), (5, 5, CloseCause::Ended));
        }
        other @ (Verdict::Allowed | Verdict::Denied(_) | Verdict::Unreachable(_)) => {
            panic!("{other:?}")
        }
    }
    let counters = world.proxy.counters();
    assert_eq!(
        (counters.allowed, counters.bytes, counters.open),
        (1, 10, 0)
    );
}

#[tokio::test]
async fn an_address_that_is_listed_is_reached_in_both_families() {
    for ip in ["127.0.0.1", "::1"] {
        let upstream = match Upstream::echo((ip, 0)).await {
            Ok(upstream) => upstream,
            Err(error) => {
                println!("SKIP egress to {ip}: {error}");
                continue;
            }
        };
        let target = upstream.address.to_string();
        let world = World::start(&Rules::allowing(&[&target]), Names::default());
        let mut client = world.tunnel(&target).await;
        client.write_all(b"hello").await.expect("sent");
        assert_eq!(until(&mut client, "hello").await, "hello");
    }
}

#[tokio::test]
async fn a_host_that_speaks_first_is_heard() {
    let upstream = Upstream::greeting("127.0.0.1:0", "SSH-2.0-host\r\n")
        .await
        .expect("a host");
    let target = format!("git.internal:{}", upstream.port());
    let names = Names::answering(&[("git.internal", &[&["127.0.0.1"]])]);
    let world = World::start(&Rules::allowing(&[&target]), names);
    let mut client = world.tunnel(&target).await;
    assert_eq!(until(&mut client, "\r\n").await, "SSH-2.0-host\r\n");
    client.write_all(b"SSH-2.0-client\r\n").await.expect("sent");
    assert_eq!(until(&mut client, "\r\n").await, "SSH-2.0-client\r\n");
}

#[tokio::test]
async fn what_is_denied_is_told_which_line_would_allow_it() {
    let mut world = World::start(&Rules::allowing(&["pypi.org"]), Names::default());
    let answer = world
        .said("CONNECT files.example:443 HTTP/1.1\r\n\r\n")
        .await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{head}");
    assert!(
        head.contains("Content-Type: application/problem+json"),
        "{head}"
    );
    let problem: serde_json::Value = serde_json::from_str(body).expect("a problem");
    let sentence = "files.example:443 is denied: no line of `allowed_network` names it; to allow \
                    it, add `- files.example` below `sandbox.allowed_network`";
    assert_eq!(
        problem,
        serde_json::json!({
            "type": "about:blank",
            "title": "Forbidden",
            "status": 403,
            "detail": sentence,
            "code": "not_listed",
            "host": "files.example",
            "port": 443,
            "fix": "add `- files.example` below `sandbox.allowed_network`",
        })
    );
    assert_eq!(world.denial().await, sentence);
    let remembered = world.proxy.denials();
    assert_eq!(remembered.len(), 1);
    assert_eq!(remembered[0].denial.to_string(), sentence);
    assert_eq!(
        world.names.asked(),
        Vec::<String>::new(),
        "a denied name was looked up"
    );
}

#[tokio::test]
async fn a_host_that_cannot_be_reached_is_told_from_a_denial() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        listener.local_addr().expect("an address").port()
    };
    let (gone, unknown) = (
        format!("gone.internal:{closed}"),
        format!("unknown.internal:{closed}"),
    );
    let names = Names::answering(&[("gone.internal", &[&["127.0.0.1"]])]);
    let mut world = World::start(&Rules::allowing(&[&gone, &unknown]), names);
    for (target, told) in [
        (gone, "127.0.0.1:"),
        (unknown, "`unknown.internal` cannot be resolved"),
    ] {
        let answer = world
            .said(format!("CONNECT {target} HTTP/1.1\r\n\r\n"))
            .await;
        assert!(
            answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"),
            "{answer}"
        );
        assert!(answer.contains(told), "{answer}");
        match world.decision().await.verdict {
            Verdict::Unreachable(error) => assert!(error.contains(told), "{error}"),
            other @ (Verdict::Allowed | Verdict::Denied(_) | Verdict::Closed { .. }) => {
                panic!("{other:?}")
            }
        }
    }
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_does_not_answer() {
    let upstream = Upstream::echo("127.0.0.1:0").await.expect("a host");
    let target = format!("api.internal:{}", upstream.port());
    let names = Names::answering(&[("api.internal", &[&["127.0.0.2", "127.0.0.1"]])]);
    let mut world = World::start(&Rules::allowing(&[&target]), names);
    let mut client = world.tunnel(&target).await;
    client.write_all(b"hello").await.expect("sent");
    assert_eq!(until(&mut client, "hello").await, "hello");
    assert_eq!(world.decision().await.address, Some(ip("127.0.0.1")));
}

#[tokio::test]
async fn a_plain_request_goes_on_as_one_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    let target = format!("api.internal:{port}");
    let names = Names::answering(&[("api.internal", &[&["127.0.0.1"]])]);
    let world = World::start(&Rules::allowing(&[&target]), names);
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let request = until(&mut stream, "body").await;
        stream
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .await
            .expect("sent");
        request
    });
    let answer = world
        .said(format!(
            "POST http://{target}/a?b HTTP/1.1\r\nHost: {target}\r\nContent-Length: 4\r\n\
             Proxy-Connection: keep-alive\r\n\r\nbody"
        ))
        .await;
    assert_eq!(answer, "HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(
        server.await.expect("a request"),
        format!(
            "POST /a?b HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody"
        )
    );
}

/// Row 14 on a port that is not that of HTTPS: TLS, if it is TLS, is for the host of the tunnel.
#[tokio::test]
async fn tls_on_any_port_names_the_host_of_the_tunnel() {
    let upstream = Upstream::echo("127.0.0.1:0").await.expect("a host");
    let target = format!("api.internal:{}", upstream.port());
    let names = Names::answering(&[("api.internal", &[&["127.0.0.1"]])]);
    let mut world = World::start(&Rules::allowing(&[&target]), names);
    for (first, reason) in [
        (
            hello_for("other.internal"),
            "names `other.internal` instead",
        ),
        (records(&hello(&[]), 16_000), "TLS names no host (SNI)"),
        (vec![22, 3, 1, 0, 5, 9, 9, 9, 9, 9], "is not TLS"),
    ] {
        let mut client = world.tunnel(&target).await;
        client.write_all(&first).await.expect("sent");
        to_end(client).await;
        let denial = world.denial().await;
        assert!(denial.contains(reason), "{denial}");
    }
    assert_eq!(
        upstream.bytes(),
        0,
        "a byte of a denied tunnel came through"
    );

    let mut client = world.tunnel(&target).await;
    let first = records(&hello(&[b"API.internal"]), 40);
    for part in first.chunks(33) {
        client.write_all(part).await.expect("sent");
    }
    let mut back = vec![0; first.len()];
    client.read_exact(&mut back).await.expect("the echo");
    assert_eq!(back, first, "the first message was changed");
}

/// Row 14 on the port of HTTPS, where nothing but TLS is let through.
#[tokio::test]
async fn on_the_port_of_https_only_tls_for_that_host_gets_through() {
    let upstream = match Upstream::echo("127.0.0.77:443").await {
        Ok(upstream) => upstream,
        Err(error) => {
            println!("SKIP egress to port 443: {error}");
            return;
        }
    };
    let names = Names::answering(&[("api.internal", &[&["127.0.0.77"]])]);
    let mut world = World::start(&Rules::allowing(&["api.internal"]), names);
    for (first, reason) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "is not TLS"),
        (
            hello_for("other.internal"),
            "names `other.internal` instead",
        ),
        (
            records(&hello(&[]), 16_000),
            "to allow it, set `sandbox.proxy.require_sni` to `false`",
        ),
    ] {
        let mut client = world.tunnel("api.internal:443").await;
        client.write_all(&first).await.expect("sent");
        to_end(client).await;
        let denial = world.denial().await;
        assert!(denial.contains(reason), "{denial}");
    }
    assert_eq!(
        upstream.bytes(),
        0,
        "a byte of a denied tunnel came through"
    );
    let mut client = world.tunnel("api.internal:443").await;
    let first = hello_for("api.internal");
    client.write_all(&first).await.expect("sent");
    let mut back = vec![0; first.len()];
    client.read_exact(&mut back).await.expect("the echo");
}

#[tokio::test]
async fn the_systems_resolver_reads_the_hosts_file() {
    let name = DnsName::parse("localhost").expect("a name");
    let addresses = SystemResolver::default()
        .resolve(&name)
        .await
        .expect("addresses");
    assert!(addresses.contains(&ip("127.0.0.1")), "{addresses:?}");
}
