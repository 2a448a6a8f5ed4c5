//! Probes against servers that behave and servers that do not.

use std::time::{Duration, Instant};

use claw_core::spec::{Check, Probe};
use claw_core::{AgentSpec, Fact, InstanceId, Order, ProbeKind, ProbeOutcome};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::world::{World, lives, pid_in, script};

fn probe(check: Check) -> Option<Probe> {
    Some(Probe {
        check,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        threshold: 3,
    })
}

fn http(port: u16, status: Option<u16>, body: Option<&str>) -> Check {
    Check::Http {
        host: "127.0.0.1".to_owned(),
        port,
        path: "/health?x=1".to_owned(),
        status,
        body: body.map(str::to_owned),
    }
}

fn with(check: Check) -> AgentSpec {
    let mut spec = script("sleep 1000");
    spec.probes.liveness = probe(check);
    spec
}

/// Asks again while the machine is too busy for an answer to mean anything.
async fn outcome(world: &mut World, instance: &InstanceId, spec: AgentSpec) -> ProbeOutcome {
    let spec = std::sync::Arc::new(spec);
    loop {
        match asked(world, instance, &spec).await {
            ProbeOutcome::Unknown(why) if why.contains("held up") => {}
            outcome => return outcome,
        }
    }
}

async fn asked(
    world: &mut World,
    instance: &InstanceId,
    spec: &std::sync::Arc<AgentSpec>,
) -> ProbeOutcome {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    world.order(Order::Probe {
        instance: instance.clone(),
        probe: ProbeKind::Liveness,
        spec: std::sync::Arc::clone(spec),
        sequence: number,
    });
    world
        .find(|fact| match fact {
            Fact::Probed {
                sequence, outcome, ..
            } if *sequence == number => Some(outcome.clone()),
            _ => None,
        })
        .await
}

/// A server that reads a request, answers with `answer`, and keeps the connection for a while.
async fn server(answer: &'static [u8], stay: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, answer, stay));
        }
    });
    port
}

async fn serve(mut stream: TcpStream, answer: &'static [u8], stay: Duration) {
    let mut request = vec![0; 4096];
    let length = stream.read(&mut request).await.unwrap_or(0);
    let text = String::from_utf8_lossy(&request[..length]).to_lowercase();
    assert!(text.contains("user-agent: clawctl-probe") && text.contains("connection: close"));
    assert!(text.starts_with("get /health?x=1 http/1.1"));
    // A peer that hangs up early is part of the tests.
    stream.write_all(answer).await.ok();
    tokio::time::sleep(stay).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_checks_judge_status_and_body() {
    let mut world = World::new().await;
    let (instance, _) = world.started(script("sleep 1000")).await;
    let ok = server(
        b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"ok\": true}\n",
        Duration::ZERO,
    )
    .await;
    let moved = server(
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        Duration::ZERO,
    )
    .await;
    let broken = server(
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
        Duration::ZERO,
    )
    .await;
    let garbage = server(b"SSH-2.0-OpenSSH_9.2\r\n", Duration::ZERO).await;
    let success = ProbeOutcome::Success;
    for (check, expected) in [
        (http(ok, None, None), success.clone()),
        (http(ok, Some(200), Some("\"ok\"")), success.clone()),
        (
            http(ok, None, Some("absent")),
            ProbeOutcome::Failure(format!(
                "GET http://127.0.0.1:{ok}/health?x=1: status 200, but `absent` is not in the first 4096 bytes of the body"
            )),
        ),
        (
            http(ok, Some(204), None),
            ProbeOutcome::Failure(format!("GET http://127.0.0.1:{ok}/health?x=1: status 200")),
        ),
        // Not followed: port 1 would refuse.
        (http(moved, None, None), success.clone()),
        (http(moved, Some(302), None), success),
        (
            http(broken, None, None),
            ProbeOutcome::Failure(format!(
                "GET http://127.0.0.1:{broken}/health?x=1: status 503"
            )),
        ),
    ] {
        assert_eq!(outcome(&mut world, &instance, with(check)).await, expected);
    }
    let strange = outcome(&mut world, &instance, with(http(garbage, None, None))).await;
    assert!(matches!(strange, ProbeOutcome::Failure(_)), "{strange:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_half_open_and_endless_answers_cost_no_more_than_the_timeout() {
    let mut world = World::new().await;
    let (instance, _) = world.started(script("sleep 1000")).await;
    let long = Duration::from_secs(30);
    let silent = server(b"", long).await;
    let cut = server(b"HTTP/1.1 200 OK\r\nContent-Le", long).await;
    let slow_body = server(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab", long).await;
    let timeout = ProbeOutcome::Failure("no answer within 1000 ms".to_owned());
    for (port, body) in [(silent, None), (cut, None), (slow_body, Some("c"))] {
        let began = Instant::now();
        let spec = with(http(port, None, body));
        assert_eq!(outcome(&mut world, &instance, spec).await, timeout);
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "took {:?}",
            began.elapsed()
        );
    }
    // The status is enough where no text is asked for.
    let spec = with(http(slow_body, None, None));
    assert_eq!(
        outcome(&mut world, &instance, spec).await,
        ProbeOutcome::Success
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_huge_body_the_beginning_is_looked_at() {
    let mut world = World::new().await;
    let (instance, _) = world.started(script("sleep 1000")).await;
    let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\nfirst".to_vec();
    answer.resize(20_000_000, b'x');
    answer.extend_from_slice(b"last");
    let port = server(answer.leak(), Duration::from_secs(5)).await;
    let spec = with(http(port, None, Some("first")));
    assert_eq!(
        outcome(&mut world, &instance, spec).await,
        ProbeOutcome::Success
    );
    let spec = with(http(port, None, Some("last")));
    let missing = outcome(&mut world, &instance, spec).await;
    assert!(
        matches!(&missing, ProbeOutcome::Failure(text) if text.contains("4096")),
        "{missing:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_checks_want_a_connection() {
    let mut world = World::new().await;
    let (instance, _) = world.started(script("sleep 1000")).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let check = || Check::Tcp {
        host: "127.0.0.1".to_owned(),
        port,
    };
    assert_eq!(
        outcome(&mut world, &instance, with(check())).await,
        ProbeOutcome::Success
    );
    drop(listener);
    let refused = outcome(&mut world, &instance, with(check())).await;
    assert!(
        matches!(&refused, ProbeOutcome::Failure(text) if text.starts_with(&format!("cannot connect to 127.0.0.1:{port}"))),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_checks_run_in_the_agents_group_and_end_with_their_tree() {
    let mut world = World::new().await;
    let (instance, main) = world.started(script("sleep 1000")).await;
    let exec = |text: &str| {
        with(Check::Exec {
            command: vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()],
        })
    };
    let group = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let file = world.file("group");
    let spec = exec(&format!("cat /proc/self/cgroup > {}", file.display()));
    assert_eq!(
        outcome(&mut world, &instance, spec).await,
        ProbeOutcome::Success
    );
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        group(&main.to_string())
    );
    assert_eq!(
        outcome(&mut world, &instance, exec("echo tired; exit 2")).await,
        ProbeOutcome::Failure("exited with code 2: tired".to_owned())
    );
    let pids = world.file("pid");
    let hang = format!(
        "(setsid sh -c 'trap \"\" TERM; echo $$ > {}; exec sleep 1000' &); sleep 1000",
        pids.display()
    );
    let began = Instant::now();
    assert_eq!(
        outcome(&mut world, &instance, exec(&hang)).await,
        ProbeOutcome::Failure("no answer within 1000 ms".to_owned())
    );
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "took {:?}",
        began.elapsed()
    );
    assert!(!lives(pid_in(&pids).await));
    assert!(lives(main));
    let missing = with(Check::Exec {
        command: vec!["no-such-check".to_owned()],
    });
    let missing = outcome(&mut world, &instance, missing).await;
    assert!(matches!(missing, ProbeOutcome::Failure(_)), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_is_never_stacked_and_a_heartbeat_never_run() {
    let mut world = World::new().await;
    let (instance, _) = world.started(script("sleep 1000")).await;
    let slow = with(Check::Exec {
        command: vec!["sleep".to_owned(), "1000".to_owned()],
    });
    let slow = std::sync::Arc::new(slow);
    for sequence in [1001, 1002] {
        world.order(Order::Probe {
            instance: instance.clone(),
            probe: ProbeKind::Liveness,
            spec: slow.clone(),
            sequence,
        });
    }
    let of = |number: u64| {
        move |fact: &Fact| match fact {
            Fact::Probed {
                sequence, outcome, ..
            } if *sequence == number => Some(outcome.clone()),
            _ => None,
        }
    };
    let second = world.find(of(1002)).await;
    let still = "the liveness probe before this one still runs";
    assert_eq!(second, ProbeOutcome::Unknown(still.to_owned()));
    // Out of time, or, on a machine that stood still meanwhile, of no weight.
    assert_ne!(world.find(of(1001)).await, ProbeOutcome::Success);
    let beat = outcome(&mut world, &instance, with(Check::Heartbeat)).await;
    assert!(matches!(beat, ProbeOutcome::Unknown(_)));
}
