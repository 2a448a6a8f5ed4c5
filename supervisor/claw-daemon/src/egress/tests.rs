//! A way out as the daemon keeps it: opened, changed by a reload, closed, written down.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use claw_gateway::egress::SystemResolver;

use super::*;
use crate::config::{self, Environment};

fn fleet(hosts: &str) -> FleetSpec {
    let text = format!(
        "project: t\nversion: \"1.0\"\nagents:\n  coder: {{command: [\"true\"], sandbox: {{mode: process, allowed_network: {hosts}}}}}\n"
    );
    let environment = Environment::with([]);
    config::load_str(&text, Path::new("/tmp/openclaw.yaml"), &environment)
        .unwrap_or_else(|broken| panic!("{broken}"))
        .fleet
}

fn listener() -> (Listeners, std::net::SocketAddr) {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = proxy.local_addr().unwrap();
    let listeners = Listeners {
        proxy: Some(proxy),
        ..Listeners::default()
    };
    (listeners, address)
}

fn started(data: &Path, halts: Halts) -> Egress {
    let resolver = Arc::new(SystemResolver::default());
    Egress::start(data, Vec::new(), resolver, halts)
}

/// The status that a request for a tunnel is answered with.
async fn asked(proxy: std::net::SocketAddr, host: &'static str) -> String {
    let asking = move || {
        let mut stream = TcpStream::connect(proxy).unwrap();
        write!(stream, "CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        String::from_utf8_lossy(&head[9..]).into_owned()
    };
    tokio::task::spawn_blocking(asking).await.unwrap()
}

async fn written(file: &Path, lines: usize) -> String {
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        let text = fs_text(file);
        if text.lines().count() >= lines {
            return text;
        }
        assert!(Instant::now() < limit, "{text}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn fs_text(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_default()
}

#[tokio::test]
async fn a_reload_changes_what_is_reached_and_all_of_it_is_on_record() {
    let data = tempfile::tempdir().unwrap();
    let egress = started(data.path(), Halts::default());
    egress.configure(&fleet("[api.example.com]"));
    let instance: InstanceId = InstanceId {
        agent: "coder".parse().unwrap(),
        generation: claw_core::Generation(3),
    };
    let (listeners, proxy) = listener();
    egress.open(instance.clone(), listeners);
    assert_eq!(asked(proxy, "localhost:9").await, "403");
    let denials = egress.denials(&instance.agent);
    let fix = denials[0].fix.as_deref().unwrap();
    assert_eq!(
        fix,
        "add `- localhost:9` below `agents.coder.sandbox.allowed_network`"
    );

    // Allowed by name from now on, and still denied, for what the name resolves to.
    egress.configure(&fleet("[\"localhost:9\"]"));
    assert_eq!(asked(proxy, "localhost:9").await, "403");
    assert_eq!(egress.denials(&instance.agent).len(), 2);

    let page = egress.openmetrics();
    let denied = "openclaw_egress_requests_total{agent=\"coder\",verdict=\"denied\"} 2";
    assert!(page.contains(denied) && !page.contains("EOF"), "{page}");
    egress.close(&instance);
    assert_eq!(egress.denials(&instance.agent).len(), 2);
    assert!(egress.openmetrics().contains(denied));

    let text = written(&data.path().join("agents/coder/egress.jsonl"), 2).await;
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(first["host"], "localhost");
    assert_eq!(first["port"], 9);
    assert_eq!(first["by"], "connect");
    assert_eq!(first["verdict"], "denied");
    assert_eq!(first["reason"], "not_listed");
}

#[tokio::test]
async fn an_agent_that_is_halted_reaches_nobody_before_and_after_it_is_started_again() {
    let data = tempfile::tempdir().unwrap();
    let halts = Halts::default();
    let agent: AgentName = "coder".parse().unwrap();
    let halt = |level| claw_core::Halt {
        level,
        since: "2026-01-01T00:00:00Z".parse().unwrap(),
        by: "root".to_owned(),
        why: None,
    };
    crate::halts::turn(&halts, &agent, Some(&halt(claw_core::HaltLevel::Runs)));
    let egress = started(data.path(), halts.clone());
    egress.configure(&fleet("[api.example.com]"));
    let (listeners, proxy) = listener();
    let instance = |generation| InstanceId {
        agent: agent.clone(),
        generation: claw_core::Generation(generation),
    };
    egress.open(instance(3), listeners);
    let denied = async |proxy, why: &str| {
        let limit = Instant::now() + Duration::from_secs(20);
        loop {
            assert_eq!(asked(proxy, "localhost:9").await, "403");
            let reason = egress.denials(&agent)[0].reason.clone();
            if reason.contains(why) {
                return;
            }
            assert!(Instant::now() < limit, "{reason}");
        }
    };
    denied(proxy, "no line of `allowed_network` names it").await;
    crate::halts::turn(&halts, &agent, Some(&halt(claw_core::HaltLevel::Egress)));
    denied(proxy, "egress since 2026-01-01T00:00:00Z by root").await;
    egress.configure(&fleet("[\"localhost:9\"]"));
    denied(proxy, "its agent is halted").await;
    let (listeners, next) = listener();
    egress.open(instance(4), listeners);
    denied(next, "its agent is halted").await;
    crate::halts::turn(&halts, &agent, None);
    denied(proxy, "its address").await;
}

#[tokio::test]
async fn a_listener_for_models_goes_to_who_serves_them_also_where_no_host_is_reached() {
    let data = tempfile::tempdir().unwrap();
    let egress = started(data.path(), Halts::default());
    let (changes, followed) = mpsc::unbounded_channel();
    let (sender, mut models) = mpsc::unbounded_channel();
    egress.follow(followed, move |change| sender.send(change).unwrap());
    let instance = InstanceId {
        agent: "coder".parse().unwrap(),
        generation: claw_core::Generation(3),
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let opened = EgressChange::Opened {
        instance: instance.clone(),
        listeners: None,
        models: Some(listener),
    };
    changes.send(opened).unwrap();
    match models.recv().await.unwrap() {
        ModelsChange::Opened {
            instance: of,
            listener,
        } => {
            assert_eq!(of, instance);
            assert_eq!(listener.local_addr().unwrap(), address);
        }
        other @ ModelsChange::Closed { .. } => panic!("{other:?}"),
    }
    changes
        .send(EgressChange::Closed {
            instance: instance.clone(),
        })
        .unwrap();
    let closed = models.recv().await.unwrap();
    assert!(matches!(closed, ModelsChange::Closed { instance: of } if of == instance));
}
