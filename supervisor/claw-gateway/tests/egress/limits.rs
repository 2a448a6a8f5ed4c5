//! How much an agent may use its way out, and what a reload changes.

use std::num::NonZeroU32;
use std::time::Duration;

use claw_gateway::Halt;
use claw_gateway::egress::{CloseCause, Settings, Verdict};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::world::{Names, Rules, Upstream, World, eventually, to_end, until};

/// A world that allows one host, which is there.
async fn world(set: impl FnOnce(&mut Rules)) -> (World, Upstream, String) {
    let upstream = Upstream::echo("127.0.0.1:0").await.expect("a host");
    let target = format!("api.internal:{}", upstream.port());
    let names = Names::answering(&[("api.internal", &[&["127.0.0.1"]])]);
    let mut rules = Rules::allowing(&[&target]);
    set(&mut rules);
    (World::start(&rules, names), upstream, target)
}

async fn closed_because(world: &mut World) -> CloseCause {
    loop {
        match world.decision().await.verdict {
            Verdict::Closed { cause, .. } => return cause,
            Verdict::Allowed | Verdict::Denied(_) | Verdict::Unreachable(_) => {}
        }
    }
}

async fn echoed(client: &mut TcpStream) {
    client.write_all(b"hello").await.expect("sent");
    assert_eq!(until(client, "hello").await, "hello");
}

#[tokio::test]
async fn no_more_connections_are_open_than_may_be() {
    let (world, upstream, target) = world(|rules| rules.limits.max_tunnels = 2).await;
    let (first, second) = (world.tunnel(&target).await, world.tunnel(&target).await);
    let answer = world
        .said(format!("CONNECT {target} HTTP/1.1\r\n\r\n"))
        .await;
    assert!(
        answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("raise `sandbox.proxy.max_tunnels`"),
        "{answer}"
    );
    assert_eq!(upstream.connections(), 2);
    drop((first, second));
    eventually("the connections are closed", || {
        world.proxy.counters().open == 0
    })
    .await;
    echoed(&mut world.tunnel(&target).await).await;
}

#[tokio::test]
async fn no_more_connections_are_made_in_a_minute_than_may_be() {
    let limit = NonZeroU32::new(2);
    let (world, upstream, target) = world(|rules| rules.limits.connects_per_minute = limit).await;
    // A machine that is stopped for a while gives connections back, so there may be more than two.
    let mut made = 0;
    let answer = loop {
        let mut client = world.client().await;
        let request = format!("CONNECT {target} HTTP/1.1\r\n\r\n");
        client.write_all(request.as_bytes()).await.expect("sent");
        let status = until(&mut client, "\r\n").await;
        if status != "HTTP/1.1 200 Connection established\r\n" {
            break status + &to_end(client).await;
        }
        made += 1;
        assert!(made < 50, "no connection was refused");
    };
    assert!(made >= 2, "{answer}");
    assert!(
        answer.starts_with("HTTP/1.1 429 Too Many Requests\r\n"),
        "{answer}"
    );
    assert!(answer.contains("\r\nRetry-After: "), "{answer}");
    assert!(
        answer.contains("raise `resources.api_calls_per_minute`"),
        "{answer}"
    );
    let denied = world
        .said("CONNECT evil.example:443 HTTP/1.1\r\n\r\n")
        .await;
    assert!(
        denied.starts_with("HTTP/1.1 403 "),
        "what is denied counts as no connection"
    );
    assert_eq!(upstream.connections(), made);
}

#[tokio::test]
async fn no_more_bytes_go_through_than_may() {
    let (mut world, upstream, target) = world(|rules| rules.limits.max_bytes = Some(100_000)).await;
    let mut client = world.tunnel(&target).await;
    let flood = vec![b'x'; 1_000_000];
    client.write_all(&flood).await.ok();
    to_end(client).await;
    assert_eq!(closed_because(&mut world).await, CloseCause::TooManyBytes);
    // Each direction may have filled its buffer once before it sees the other's bytes.
    assert!(
        upstream.bytes() <= 100_000 + 2 * 64 * 1024,
        "{}",
        upstream.bytes()
    );
    let answer = world
        .said(format!("CONNECT {target} HTTP/1.1\r\n\r\n"))
        .await;
    assert!(answer.contains("100000 bytes went through"), "{answer}");

    let mut rules = Rules::allowing(&[&target]);
    rules.limits.max_bytes = Some(10_000_000);
    world.proxy.replace(rules.settings());
    echoed(&mut world.tunnel(&target).await).await;
}

#[tokio::test]
async fn a_connection_on_which_nothing_is_sent_is_closed() {
    let idle = Duration::from_millis(50);
    let (mut world, _upstream, target) = world(|rules| rules.limits.idle = idle).await;
    let client = world.tunnel(&target).await;
    to_end(client).await;
    assert_eq!(closed_because(&mut world).await, CloseCause::Idle);
    // On a slow machine the time is over before the first word arrives.
    let mut client = world.tunnel(&target).await;
    client.write_all(b"hello").await.ok();
    to_end(client).await;
    assert_eq!(closed_because(&mut world).await, CloseCause::Idle);
}

#[tokio::test]
async fn a_client_that_says_nothing_is_given_up() {
    let handshake = Duration::from_millis(50);
    let (mut world, _upstream, _target) = world(|rules| rules.limits.handshake = handshake).await;
    let mut client = world.client().await;
    client.write_all(b"CONNECT api.internal:443 HT").await.ok();
    let answer = to_end(client).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(world.denial().await.ends_with("no request came in time"));
}

#[tokio::test]
async fn a_reload_closes_what_it_denies_and_nothing_else() {
    let (mut world, _upstream, target) = world(|_| {}).await;
    let (mut first, mut second) = (world.tunnel(&target).await, world.tunnel(&target).await);
    echoed(&mut first).await;
    echoed(&mut second).await;
    world
        .proxy
        .replace(Rules::allowing(&[&target, "more.example"]).settings());
    echoed(&mut first).await;
    let mut blocking = Rules::allowing(&[&target]);
    blocking.blocked.push("*.internal".to_owned());
    world.proxy.replace(blocking.settings());
    assert_eq!(to_end(first).await, "");
    assert_eq!(to_end(second).await, "");
    assert_eq!(closed_because(&mut world).await, CloseCause::PolicyChanged);
    let answer = world
        .said(format!("CONNECT {target} HTTP/1.1\r\n\r\n"))
        .await;
    assert!(
        answer.contains("`*.internal` (blocked_network[0]) blocks it"),
        "{answer}"
    );
    world.proxy.replace(Rules::allowing(&[&target]).settings());
    echoed(&mut world.tunnel(&target).await).await;
}

#[tokio::test]
async fn a_halt_closes_what_is_open_and_refuses_the_rest_until_it_is_lifted() {
    let (mut world, _upstream, target) = world(|_| {}).await;
    let mut open = world.tunnel(&target).await;
    echoed(&mut open).await;
    let Settings { policy, limits } = Rules::allowing(&[&target]).settings();
    let halt = Halt {
        told: "egress since 2026-01-01T00:00:00Z by uid 1000".into(),
        lift: "clawctl resume --halt coder".into(),
    };
    let policy = policy.halted(halt);
    world.proxy.replace(Settings { policy, limits });
    assert_eq!(to_end(open).await, "");
    assert_eq!(closed_because(&mut world).await, CloseCause::PolicyChanged);
    let answer = world
        .said(format!("CONNECT {target} HTTP/1.1\r\n\r\n"))
        .await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let sentence = "is denied: its agent is halted: egress since 2026-01-01T00:00:00Z by uid 1000; \
                    to allow it, run `clawctl resume --halt coder`";
    assert!(world.denial().await.ends_with(sentence), "{answer}");
    world.proxy.replace(Rules::allowing(&[&target]).settings());
    echoed(&mut world.tunnel(&target).await).await;
}

/// A host that goes on talking to a client that never says a word.
#[tokio::test]
async fn a_reload_closes_a_connection_on_which_only_the_host_has_spoken() {
    let upstream = Upstream::greeting("127.0.0.1:0", "220 ready\r\n")
        .await
        .expect("a host");
    let target = format!("mail.internal:{}", upstream.port());
    let names = Names::answering(&[("mail.internal", &[&["127.0.0.1"]])]);
    let mut world = World::start(&Rules::allowing(&[&target]), names);
    let mut client = world.tunnel(&target).await;
    assert_eq!(until(&mut client, "\r\n").await, "220 ready\r\n");
    world.proxy.replace(Rules::default().settings());
    assert_eq!(to_end(client).await, "");
    assert_eq!(closed_because(&mut world).await, CloseCause::PolicyChanged);
}

#[tokio::test]
async fn stopping_closes_everything() {
    let (mut world, _upstream, target) = world(|_| {}).await;
    let port = world.port;
    let mut open = world.tunnel(&target).await;
    echoed(&mut open).await;
    let half = world.client().await;
    let World { proxy, .. } = &mut world;
    let settings = Rules::default().settings();
    let (sender, _receiver) = tokio::sync::mpsc::channel(1);
    let empty = claw_gateway::egress::EgressProxy::start(
        "other",
        claw_gateway::egress::Listeners::default(),
        settings,
        std::sync::Arc::new(Names::default()),
        sender,
    );
    let proxy = std::mem::replace(proxy, empty.expect("a proxy"));
    proxy.stop().await;
    assert_eq!(to_end(open).await, "");
    assert_eq!(to_end(half).await, "");
    assert!(
        TcpStream::connect(port).await.is_err(),
        "the port is still open"
    );
    assert_eq!(closed_because(&mut world).await, CloseCause::Stopped);
}

#[tokio::test]
async fn a_full_channel_holds_nobody_up() {
    let (world, _upstream, _target) = world(|_| {}).await;
    for _ in 0..300 {
        let answer = world
            .said("CONNECT evil.example:443 HTTP/1.1\r\n\r\n")
            .await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    }
    let counters = world.proxy.counters();
    assert_eq!((counters.denied, counters.dropped), (300, 44));
}
