//! Language models at an agent's own loopback, from both sides.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use claw_core::spec::Sandbox;
use claw_core::spec::sandbox::{Capture, Egress, HostRule, Reach};
use claw_core::{AgentSpec, ExitStatus, InstanceId, Order};
use claw_drivers::Driver;
use claw_drivers::process::EgressChange;
use claw_drivers::sandbox::Listeners;
use tokio::sync::mpsc;

use super::{confined, whole};
use crate::world::{PATIENCE, SetUp, World};

/// No port of this machine's own: the host is asked for it too.
const PORT: u16 = 4099;

/// What listens for an instance.
struct Opened {
    instance: InstanceId,
    hosts: Option<Listeners>,
    models: Option<TcpListener>,
}

type Changes = mpsc::UnboundedReceiver<EgressChange>;

async fn opened(changes: &mut Changes) -> Opened {
    let change = tokio::time::timeout(PATIENCE, changes.recv()).await;
    match change.unwrap().unwrap() {
        EgressChange::Opened {
            instance,
            listeners,
            models,
        } => Opened {
            instance,
            hosts: listeners,
            models,
        },
        closed @ EgressChange::Closed { .. } => panic!("{closed:?}"),
    }
}

async fn closed(changes: &mut Changes) -> InstanceId {
    let change = tokio::time::timeout(PATIENCE, changes.recv()).await;
    match change.unwrap().unwrap() {
        EgressChange::Closed { instance } => instance,
        opened @ EgressChange::Opened { .. } => panic!("{opened:?}"),
    }
}

async fn world() -> (World, Changes) {
    let (sender, changes) = mpsc::unbounded_channel();
    let world = World::set(SetUp {
        egress: Some(sender),
        ..SetUp::default()
    })
    .await;
    (world, changes)
}

/// An agent that waits for `own/go` and calls its models then.
fn caller(world: &World, program: &str, change: impl Fn(&mut Sandbox)) -> AgentSpec {
    let go = world.file("own/go").to_string_lossy().into_owned();
    let port = PORT.to_string();
    let command = ["/usr/bin/python3", "-I", "-c", program, &go, &port];
    let mut spec = confined(world, &command, change);
    spec.launch.models = Some(PORT);
    spec
}

fn reaching_nothing(sandbox: &mut Sandbox) {
    sandbox.network = Reach::Listed(Egress {
        capture: Capture::Nothing,
        ..Egress::default()
    });
}

fn listing(sandbox: &mut Sandbox) {
    let rule = HostRule {
        pattern: "api.example.com".to_owned(),
        key: "sandbox.allowed_network[0]".to_owned(),
    };
    sandbox.network = Reach::Listed(Egress {
        allowed: vec![rule],
        ..Egress::default()
    });
}

/// Answers one request, on the supervisor's side; its first line.
fn serve(listener: TcpListener) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        listener.set_nonblocking(false).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nanswer";
        stream.write_all(answer).unwrap();
        let head = String::from_utf8(head).unwrap();
        head.lines().next().unwrap().to_owned()
    })
}

fn refused_on_the_host() -> bool {
    let refused = TcpStream::connect(("127.0.0.1", PORT));
    refused.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

const ALONE: &str = r#"
import errno, os, socket, sys, time, urllib.request
while not os.path.exists(sys.argv[1]):
    time.sleep(0.02)
for address in [("1.2.3.4", 443), ("1.2.3.4", int(sys.argv[2])), ("127.0.0.1", 3128), ("127.0.0.1", 53)]:
    try:
        socket.create_connection(address, timeout=20)
    except OSError as error:
        print(errno.errorcode[error.errno], end=" ")
print("HTTP_PROXY" in os.environ, end=" ")
with urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[2]}/v1/models", timeout=20) as answer:
    print(answer.read().decode(), flush=True)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_reaches_no_host_calls_models_and_nothing_else() {
    if whole("an_agent_that_reaches_no_host_calls_models_and_nothing_else").is_none() {
        return;
    }
    let (mut world, mut changes) = world().await;
    let spec = caller(&world, ALONE, reaching_nothing);
    let (instance, _) = world.started(spec).await;
    let there = opened(&mut changes).await;
    assert_eq!(there.instance, instance);
    assert!(there.hosts.is_none());
    let models = there.models.unwrap();
    assert_eq!(models.local_addr().unwrap().to_string(), "127.0.0.1:4099");
    let accepted = models.accept();
    assert_eq!(accepted.unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(refused_on_the_host());
    let served = serve(models);
    std::fs::write(world.file("own/go"), "").unwrap();
    let report = world.gone(&instance).await;
    let log = world.log(&instance);
    assert_eq!(report.status, ExitStatus::Code(0), "{log}");
    let nowhere = "ENETUNREACH ENETUNREACH ECONNREFUSED ECONNREFUSED";
    assert_eq!(log, format!("{nowhere} False answer\n"));
    assert_eq!(served.join().unwrap(), "GET /v1/models HTTP/1.1");
    assert_eq!(closed(&mut changes).await, instance);
}

const BESIDE_HOSTS: &str = r#"
import os, sys, time, urllib.request
while not os.path.exists(sys.argv[1]):
    time.sleep(0.02)
assert os.environ["HTTP_PROXY"] == "http://127.0.0.1:3128"
for address in f"127.0.0.1:{sys.argv[2]}", "api.example.com":
    with urllib.request.urlopen(f"http://{address}/v1/models", timeout=20) as answer:
        print(answer.read().decode(), flush=True)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn models_are_called_past_the_proxy_that_leads_to_hosts_also_of_the_next_supervisor() {
    let test = "models_are_called_past_the_proxy_that_leads_to_hosts_also_of_the_next_supervisor";
    if whole(test).is_none() {
        return;
    }
    let (mut world, mut changes) = world().await;
    let spec = caller(&world, BESIDE_HOSTS, listing);
    let (instance, _) = world.started(spec.clone()).await;
    let there = opened(&mut changes).await;
    assert!(there.hosts.is_some() && there.models.is_some());
    drop(there);
    world.crash();
    world.restart().await;
    let mut open = world.open(&instance);
    open.spec = Some(Arc::new(spec));
    world.driver().recover(vec![open]).await;
    let there = opened(&mut changes).await;
    assert_eq!(there.instance, instance);
    let hosts = there.hosts.unwrap();
    let (models, proxy) = (serve(there.models.unwrap()), serve(hosts.proxy));
    std::fs::write(world.file("own/go"), "").unwrap();
    let report = world.gone(&instance).await;
    let log = world.log(&instance);
    assert_eq!(report.status, ExitStatus::Code(0), "{log}");
    assert_eq!(log, "answer\nanswer\n");
    assert_eq!(models.join().unwrap(), "GET /v1/models HTTP/1.1");
    let proxied = "GET http://api.example.com/v1/models HTTP/1.1";
    assert_eq!(proxy.join().unwrap(), proxied);
}

const WAITING: &str = r#"
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[2])), timeout=20) as sock:
    sock.settimeout(None)
    sock.recv(1)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_killed_listens_no_more_and_its_calls_end() {
    if whole("what_is_killed_listens_no_more_and_its_calls_end").is_none() {
        return;
    }
    let (mut world, mut changes) = world().await;
    let spec = caller(&world, WAITING, reaching_nothing);
    let (instance, _) = world.started(spec).await;
    let models = opened(&mut changes).await.models.unwrap();
    models.set_nonblocking(false).unwrap();
    let (mut call, _) = models.accept().unwrap();
    world.order(Order::Kill {
        instance: instance.clone(),
    });
    let report = world.gone(&instance).await;
    assert_eq!(report.status, ExitStatus::Signal(9));
    assert_eq!(closed(&mut changes).await, instance);
    call.set_read_timeout(Some(PATIENCE)).unwrap();
    let end = call.read(&mut [0]);
    // Killed with its namespaces, it may not have said good-bye.
    let over = matches!(&end, Ok(0))
        || matches!(&end, Err(error) if error.kind() == ErrorKind::ConnectionReset);
    assert!(over, "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_in_the_hosts_network_finds_models_there() {
    if whole("an_agent_in_the_hosts_network_finds_models_there").is_none() {
        return;
    }
    let (mut world, mut changes) = world().await;
    let spec = caller(&world, "", |sandbox| sandbox.network = Reach::Host);
    let (instance, _) = world.started(spec).await;
    let report = world.gone(&instance).await;
    assert_eq!(report.status, ExitStatus::Code(0));
    let said = changes.try_recv();
    assert!(said.is_err(), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_leads_to_hosts_leads_to_no_models() {
    if whole("a_port_that_leads_to_hosts_leads_to_no_models").is_none() {
        return;
    }
    let (mut world, _changes) = world().await;
    let mut spec = caller(&world, "", listing);
    spec.launch.models = Some(3128);
    let instance = world.spawn(spec);
    let error = world.spawn_failed(&instance).await;
    let said = "cannot listen for calls of language models at 127.0.0.1:3128";
    assert!(error.detail.contains(said), "{error}");
}
