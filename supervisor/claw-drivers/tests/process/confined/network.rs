//! The network of an agent, from both sides.

use std::io::{Read, Write};
use std::time::Duration;

use claw_core::spec::sandbox::{Capture, Egress, HostRule, Reach};
use claw_core::spec::{Check, Probe};
use claw_core::{AgentSpec, ExitStatus, Fact, InstanceId, Order, ProbeKind, ProbeOutcome};
use claw_drivers::Driver;
use claw_drivers::process::EgressChange;
use claw_drivers::sandbox::Listeners;
use tokio::sync::mpsc;

use super::{confined, whole};
use crate::world::{PATIENCE, SetUp, World, eventually};

const CLIENT: &str = r#"
import os, socket, sys, time
while not os.path.exists(sys.argv[1]):
    time.sleep(0.02)
for address in [("1.2.3.4", 443), ("5.6.7.8", 80), ("127.0.0.1", 3128)]:
    with socket.create_connection(address, timeout=20) as sock:
        sock.sendall(b"hello")
        assert sock.recv(5) == b"there"
query = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
query.settimeout(20)
query.sendto(b"name?", ("127.0.0.1", 53))
assert query.recv(100) == b"none"
try:
    socket.create_connection(("1.2.3.4", 8443), timeout=20)
except ConnectionRefusedError:
    print(os.environ["HTTPS_PROXY"], os.environ["no_proxy"], flush=True)
"#;

fn listing(sandbox: &mut claw_core::spec::Sandbox) {
    let rule = HostRule {
        pattern: "api.example.com".to_owned(),
        key: "sandbox.allowed_network[0]".to_owned(),
    };
    sandbox.network = Reach::Listed(Egress {
        allowed: vec![rule],
        ..Egress::default()
    });
}

async fn opened(changes: &mut mpsc::UnboundedReceiver<EgressChange>) -> (InstanceId, Listeners) {
    let change = tokio::time::timeout(PATIENCE, changes.recv()).await;
    match change.unwrap().unwrap() {
        EgressChange::Opened {
            instance,
            listeners: Some(listeners),
            models: None,
        } => (instance, listeners),
        other @ (EgressChange::Opened { .. } | EgressChange::Closed { .. }) => panic!("{other:?}"),
    }
}

/// Answers what the client above asks, on the supervisor's side.
fn serve(listeners: Listeners) -> std::thread::JoinHandle<Vec<String>> {
    std::thread::spawn(move || {
        let mut asked = Vec::new();
        let captured = listeners.captured.iter();
        let captured = captured.flat_map(|captured| [&captured.https, &captured.http]);
        for listener in captured.chain([&listeners.proxy]) {
            listener.set_nonblocking(false).unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            let mut text = [0; 5];
            stream.read_exact(&mut text).unwrap();
            assert_eq!(&text, b"hello");
            stream.write_all(b"there").unwrap();
            let to = stream.local_addr().unwrap();
            let ip = to.ip().to_canonical();
            asked.push(format!("{ip}:{}", to.port()));
        }
        listeners.dns.set_nonblocking(false).unwrap();
        let mut text = [0; 16];
        let (length, from) = listeners.dns.recv_from(&mut text).unwrap();
        asked.push(String::from_utf8_lossy(&text[..length]).into_owned());
        listeners.dns.send_to(b"none", from).unwrap();
        asked
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_connection_leads_to_the_supervisor_and_to_the_next() {
    if whole("every_connection_leads_to_the_supervisor_and_to_the_next").is_none() {
        return;
    }
    let (sender, mut changes) = mpsc::unbounded_channel();
    let mut world = World::set(SetUp {
        egress: Some(sender),
        ..SetUp::default()
    })
    .await;
    let go = world.file("own/go");
    let go_text = go.to_string_lossy().into_owned();
    let command = ["/usr/bin/python3", "-I", "-c", CLIENT, &go_text];
    let spec = confined(&world, &command, listing);
    let (instance, _) = world.started(spec.clone()).await;
    let (of, listeners) = opened(&mut changes).await;
    assert_eq!(of, instance);
    drop(listeners);
    world.crash();
    world.restart().await;
    let mut open = world.open(&instance);
    open.spec = Some(std::sync::Arc::new(spec));
    world.driver().recover(vec![open]).await;
    let (of, listeners) = opened(&mut changes).await;
    assert_eq!(of, instance);
    let served = serve(listeners);
    std::fs::write(go, "").unwrap();
    let report = world.gone(&instance).await;
    let log = world.log(&instance);
    assert_eq!(report.status, ExitStatus::Code(0), "{log}");
    assert_eq!(log, "http://127.0.0.1:3128 localhost,127.0.0.1,::1\n");
    let asked = served.join().unwrap();
    assert_eq!(
        asked,
        ["1.2.3.4:443", "5.6.7.8:80", "127.0.0.1:3128", "name?"]
    );
    let closed = tokio::time::timeout(PATIENCE, changes.recv())
        .await
        .unwrap();
    assert!(matches!(closed, Some(EgressChange::Closed { instance: of }) if of == instance));
}

const ASKING: &str = r#"
import errno, os, socket, sys, time
while not os.path.exists(sys.argv[1]):
    time.sleep(0.02)
for port in 443, 80, 53:
    try:
        socket.create_connection(("1.2.3.4", port), timeout=20)
    except OSError as error:
        print(errno.errorcode[error.errno], end=" ")
with socket.create_connection(("127.0.0.1", 3128), timeout=20) as sock:
    sock.sendall(b"hello")
    assert sock.recv(5) == b"there"
query = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
query.settimeout(20)
query.sendto(b"name?", ("127.0.0.1", 53))
print(query.recv(100).decode(), os.environ["HTTPS_PROXY"], flush=True)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_captured_the_proxy_alone_leads_out() {
    if whole("where_nothing_is_captured_the_proxy_alone_leads_out").is_none() {
        return;
    }
    let (sender, mut changes) = mpsc::unbounded_channel();
    let mut world = World::set(SetUp {
        egress: Some(sender),
        ..SetUp::default()
    })
    .await;
    let go = world.file("own/go");
    let go_text = go.to_string_lossy().into_owned();
    let command = ["/usr/bin/python3", "-I", "-c", ASKING, &go_text];
    let spec = confined(&world, &command, |sandbox| {
        sandbox.network = Reach::Listed(Egress {
            capture: Capture::ProxyOnly,
            ..Egress::default()
        });
    });
    let (instance, _) = world.started(spec).await;
    let (_, listeners) = opened(&mut changes).await;
    assert!(listeners.captured.is_none());
    let served = serve(listeners);
    std::fs::write(go, "").unwrap();
    let report = world.gone(&instance).await;
    let log = world.log(&instance);
    assert_eq!(report.status, ExitStatus::Code(0), "{log}");
    let unreachable = "ENETUNREACH ".repeat(3);
    assert_eq!(log, format!("{unreachable}none http://127.0.0.1:3128\n"));
    assert_eq!(served.join().unwrap(), ["127.0.0.1:3128", "name?"]);
}

const SERVER: &str = r#"
import http.server, sys
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        self.send_response(200 if self.path == "/good" else 503)
        self.end_headers()
server = http.server.HTTPServer(("127.0.0.1", 8080), Quiet)
open(sys.argv[1], "w").close()
server.serve_forever()
"#;

async fn probed(
    world: &mut World,
    instance: &InstanceId,
    spec: &AgentSpec,
    check: Check,
) -> ProbeOutcome {
    let mut spec = spec.clone();
    spec.probes.liveness = Some(Probe {
        check,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(15),
        threshold: 3,
    });
    world.order(Order::Probe {
        instance: instance.clone(),
        probe: ProbeKind::Liveness,
        spec: spec.into(),
        sequence: 1,
    });
    world
        .find(|fact| match fact {
            Fact::Probed { outcome, .. } => Some(outcome.clone()),
            _ => None,
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_is_made_where_the_agent_is() {
    if whole("a_check_is_made_where_the_agent_is").is_none() {
        return;
    }
    let mut world = World::new().await;
    let up = world.file("own/up");
    let up_text = up.to_string_lossy().into_owned();
    let command = ["/usr/bin/python3", "-I", "-c", SERVER, &up_text];
    let spec = confined(&world, &command, |_| {});
    let (instance, _) = world.started(spec.clone()).await;
    eventually("the server", || up.exists()).await;
    let tcp = |port| Check::Tcp {
        host: "127.0.0.1".to_owned(),
        port,
    };
    let good = probed(&mut world, &instance, &spec, tcp(8080)).await;
    assert_eq!(good, ProbeOutcome::Success);
    let closed = probed(&mut world, &instance, &spec, tcp(8081)).await;
    assert!(matches!(closed, ProbeOutcome::Failure(_)), "{closed:?}");
    let http = |path: &str| Check::Http {
        host: "localhost".to_owned(),
        port: 8080,
        path: path.to_owned(),
        status: None,
        body: None,
    };
    let good = probed(&mut world, &instance, &spec, http("/good")).await;
    assert_eq!(good, ProbeOutcome::Success);
    let bad = probed(&mut world, &instance, &spec, http("/bad")).await;
    assert!(matches!(bad, ProbeOutcome::Failure(_)), "{bad:?}");
}
