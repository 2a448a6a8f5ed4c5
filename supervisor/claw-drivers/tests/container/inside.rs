//! What an agent finds inside, and what it cannot do.

use std::time::Duration;

use claw_core::memory::Recovered;
use claw_core::notification::Lifecycle;
use claw_core::spec::container::{Network, Port, PortProtocol};
use claw_core::spec::{Check, Probe};
use claw_core::{ExitStatus, Fact, Order, ProbeKind, ProbeOutcome};
use claw_drivers::Driver;

use crate::conformance::stage::{Stage, eventually};
use crate::platform::Containers;

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_confined() {
    let Some(mut stage) = Stage::<Containers>::set("an_agent_is_confined").await else {
        return;
    };
    let file = stage.file("found");
    let text = format!(
        "exec > {} 2>&1; id -u; id -g; grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status; \
         ulimit -n; ulimit -c; cat /proc/self/oom_score_adj; ip -o link | wc -l; \
         touch /here && echo writable root; touch /tmp/x && echo writable tmp; \
         cp /bin/busybox /tmp/b && /tmp/b true && echo executable tmp; \
         ls /var/run/docker.sock && echo socket; true",
        file.display()
    );
    let spec = stage.script(&text);
    let instance = stage.started(spec).await;
    assert_eq!(stage.gone(&instance).await.status, ExitStatus::Code(0));
    let text = std::fs::read_to_string(file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["1000", "1000"], "{text}");
    for line in [
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "256",
        "0",
        "500",
        "1",
        "writable tmp",
    ] {
        assert!(lines.contains(&line), "{line}:\n{text}");
    }
    for line in ["writable root", "executable tmp", "socket"] {
        assert!(!lines.contains(&line), "{line}:\n{text}");
    }
}

async fn outcome(
    stage: &mut Stage<Containers>,
    instance: &claw_core::InstanceId,
    check: Check,
) -> ProbeOutcome {
    let mut spec = stage.script("true");
    spec.probes.readiness = Some(Probe {
        check,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(10),
        threshold: 1,
    });
    stage.order(Order::Probe {
        instance: instance.clone(),
        probe: ProbeKind::Readiness,
        spec: spec.into(),
        sequence: 7,
    });
    stage
        .find(|fact| match fact {
            Fact::Probed { outcome, .. } => Some(outcome.clone()),
            _ => None,
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn loopback_means_the_containers_own() {
    let Some(mut stage) = Stage::<Containers>::set("loopback_means_the_containers_own").await
    else {
        return;
    };
    let file = stage.file("served");
    let text = format!(
        "mkdir /tmp/www; echo well > /tmp/www/health; httpd -p 127.0.0.1:8080 -h /tmp/www; \
         echo > {}; sleep 1000",
        file.display()
    );
    let spec = stage.script(&text);
    let instance = stage.started(spec).await;
    eventually("the server", || file.exists()).await;
    let http = |port, body: &str| Check::Http {
        host: "127.0.0.1".to_owned(),
        port,
        path: "/health".to_owned(),
        status: Some(200),
        body: Some(body.to_owned()),
    };
    let good = outcome(&mut stage, &instance, http(8080, "well")).await;
    assert_eq!(good, ProbeOutcome::Success);
    let bad = outcome(&mut stage, &instance, http(8080, "unwell")).await;
    assert!(matches!(bad, ProbeOutcome::Failure(_)), "{bad:?}");
    let tcp = |port| Check::Tcp {
        host: "localhost".to_owned(),
        port,
    };
    let open = outcome(&mut stage, &instance, tcp(8080)).await;
    assert_eq!(open, ProbeOutcome::Success);
    // The host may have a server there; the container has not.
    let host = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = host.local_addr().unwrap().port();
    let closed = outcome(&mut stage, &instance, tcp(port)).await;
    assert!(matches!(closed, ProbeOutcome::Failure(_)), "{closed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_the_host_that_is_taken_is_named() {
    let Some(mut stage) = Stage::<Containers>::set("a_port_of_the_host_that_is_taken").await else {
        return;
    };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host_port = taken.local_addr().unwrap().port();
    let mut spec = stage.script("sleep 1000");
    let container = spec.launch.container.as_mut().unwrap();
    container.network = Network::Bridge;
    container.ports = vec![Port {
        host_ip: "127.0.0.1".parse().unwrap(),
        host_port,
        container_port: 80,
        protocol: PortProtocol::Tcp,
    }];
    let instance = stage.spawn(spec);
    let error = stage.spawn_failed(&instance).await;
    assert_eq!(error.stage, claw_core::SpawnStage::Prepare, "{error}");
    assert!(error.detail.contains(&host_port.to_string()), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_is_heard_also_by_the_next_supervisor() {
    let Some(mut stage) = Stage::<Containers>::set("a_notification_is_heard").await else {
        return;
    };
    let spec = stage.script("test -S $NOTIFY_SOCKET && sleep 1000");
    let instance = stage.started(spec).await;
    // Busybox cannot send a datagram to a path, so the test does it where the container sees it.
    let socket = stage
        .data_dir()
        .join("containers/agent/1.notify/notify.sock");
    let say = |text: &str| {
        let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
        sender.send_to(text.as_bytes(), &socket).unwrap();
    };
    say("READY=1\nSTATUS=here");
    let lifecycle = |fact: &Fact| match fact {
        Fact::Notified { notification, .. } => notification.lifecycle,
        _ => None,
    };
    assert_eq!(stage.find(lifecycle).await, Lifecycle::Ready);
    stage.crash();
    stage.restart().await;
    let recovered = stage.driver().recover(vec![stage.open(&instance)]).await;
    let [(_, _, Recovered::Alive { image, .. })] = &recovered[..] else {
        panic!("{recovered:?}");
    };
    let image = image.as_ref().unwrap();
    assert_eq!(image.reference, crate::engine::IMAGE);
    assert!(image.digest.starts_with("sha256:"), "{image:?}");
    eventually("the new socket", || socket.exists()).await;
    say("READY=1");
    stage.find(lifecycle).await;
}
