//! Language models at a container's own loopback, from both sides.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use claw_core::spec::container::Network;
use claw_core::spec::sandbox::{Egress, HostRule};
use claw_core::{AgentSpec, ExitStatus, InstanceId};
use claw_drivers::Driver;
use claw_drivers::process::EgressChange;
use claw_drivers::sandbox::Listeners;
use tokio::sync::mpsc;

use crate::conformance::stage::{PATIENCE, Platform, Stage};
use crate::platform::Containers;

/// No port of this machine's own: the host is asked for it too.
const PORT: u16 = 4098;

type Changes = mpsc::UnboundedReceiver<EgressChange>;

async fn set(test: &'static str) -> Option<(Stage<Containers>, Changes)> {
    let (sender, changes) = mpsc::unbounded_channel();
    match Containers::find().await {
        Ok(platform) => {
            let platform = Containers {
                egress: Some(sender),
                ..platform
            };
            Some((Stage::of(platform, test).await, changes))
        }
        Err(why) => {
            eprintln!("SKIP {test}: {why}");
            None
        }
    }
}

async fn opened(changes: &mut Changes, of: &InstanceId) -> (Option<Listeners>, TcpListener) {
    let change = tokio::time::timeout(PATIENCE, changes.recv()).await;
    match change.unwrap().unwrap() {
        EgressChange::Opened {
            instance,
            listeners,
            models,
        } => {
            assert_eq!(instance, *of);
            (listeners, models.unwrap())
        }
        closed @ EgressChange::Closed { .. } => panic!("{closed:?}"),
    }
}

async fn closed(changes: &mut Changes, of: &InstanceId) {
    let change = tokio::time::timeout(PATIENCE, changes.recv()).await;
    match change.unwrap().unwrap() {
        EgressChange::Closed { instance } => assert_eq!(instance, *of),
        opened @ EgressChange::Opened { .. } => panic!("{opened:?}"),
    }
}

/// An agent that waits for a file and calls its models then.
fn caller(stage: &Stage<Containers>, network: Network) -> AgentSpec {
    let text = format!(
        "while [ ! -e {} ]; do sleep 0.05; done; \
         wget -Y off -q -O - http://127.0.0.1:{PORT}/v1/models; \
         nc -w 5 127.0.0.1 {} < /dev/null 2> /dev/null || echo nobody else",
        stage.file("go").display(),
        PORT + 1
    );
    let mut spec = stage.script(&text);
    spec.launch.models = Some(PORT);
    spec.launch.container.as_mut().unwrap().network = network;
    spec
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
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nanswer\n";
        stream.write_all(answer).unwrap();
        let head = String::from_utf8(head).unwrap();
        head.lines().next().unwrap().to_owned()
    })
}

fn refused_on_the_host() -> bool {
    let refused = TcpStream::connect(("127.0.0.1", PORT));
    refused.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// Has an agent call its models, under the supervisor that started it or the next; what it got.
async fn called(stage: &mut Stage<Containers>, instance: &InstanceId, models: TcpListener) {
    let accepted = models.accept();
    assert_eq!(accepted.unwrap_err().kind(), ErrorKind::WouldBlock);
    let served = serve(models);
    std::fs::write(stage.file("go"), "").unwrap();
    let report = stage.gone(instance).await;
    assert_eq!(report.status, ExitStatus::Code(0), "{}", stage.log());
    assert_eq!(served.join().unwrap(), "GET /v1/models HTTP/1.1");
    assert_eq!(stage.log(), "answer\nnobody else\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_without_a_network_calls_models_also_of_the_next_supervisor() {
    let test = "a_container_without_a_network_calls_models_also_of_the_next_supervisor";
    let Some((mut stage, mut changes)) = set(test).await else {
        return;
    };
    let spec = caller(&stage, Network::None);
    let instance = stage.started(spec).await;
    let (hosts, models) = opened(&mut changes, &instance).await;
    assert!(hosts.is_none());
    assert!(refused_on_the_host());
    drop(models);
    stage.crash();
    stage.restart().await;
    stage.driver().recover(vec![stage.open(&instance)]).await;
    // The supervisor that is gone may or may not have come to say so.
    let models = loop {
        let change = tokio::time::timeout(PATIENCE, changes.recv()).await;
        if let EgressChange::Opened { models, .. } = change.unwrap().unwrap() {
            break models.unwrap();
        }
    };
    called(&mut stage, &instance, models).await;
    closed(&mut changes, &instance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_with_the_engines_network_calls_models_in_it() {
    let test = "a_container_with_the_engines_network_calls_models_in_it";
    let Some((mut stage, mut changes)) = set(test).await else {
        return;
    };
    let spec = caller(&stage, Network::Bridge);
    let instance = stage.started(spec).await;
    let (hosts, models) = opened(&mut changes, &instance).await;
    assert!(hosts.is_none());
    assert!(refused_on_the_host());
    called(&mut stage, &instance, models).await;
    closed(&mut changes, &instance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_reaches_listed_hosts_calls_models_beside_them() {
    let test = "a_container_that_reaches_listed_hosts_calls_models_beside_them";
    let Some((mut stage, mut changes)) = set(test).await else {
        return;
    };
    let rule = HostRule {
        pattern: "api.example.com".to_owned(),
        key: "sandbox.allowed_network[0]".to_owned(),
    };
    let listed = Network::Listed(Box::new(Egress {
        allowed: vec![rule],
        ..Egress::default()
    }));
    let spec = caller(&stage, listed);
    let instance = stage.started(spec).await;
    let (hosts, models) = opened(&mut changes, &instance).await;
    assert!(hosts.is_some());
    called(&mut stage, &instance, models).await;
    closed(&mut changes, &instance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_containers_listener_is_given_up() {
    let test = "a_killed_containers_listener_is_given_up";
    let Some((mut stage, mut changes)) = set(test).await else {
        return;
    };
    let spec = caller(&stage, Network::None);
    let instance = stage.started(spec).await;
    let (_, _models) = opened(&mut changes, &instance).await;
    stage.kill(&instance);
    assert_eq!(stage.gone(&instance).await.status, ExitStatus::Signal(9));
    closed(&mut changes, &instance).await;
}
