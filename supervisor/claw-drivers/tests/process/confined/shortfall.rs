//! What a driver does where a sandbox cannot be made. What agents try to get out of one is tried by
//! those of whole fleets, in the suite of black-box tests.

use claw_core::ExitStatus;
use claw_core::sandbox::{Abilities, Lack};
use claw_core::spec::sandbox::OnMissing;

use super::{confined, run, whole};
use crate::world::{SetUp, World};

fn without_namespaces(abilities: &Abilities) -> Abilities {
    let lack = Lack {
        call: "clone".to_owned(),
        errno: 1,
        reason: "EPERM".to_owned(),
    };
    Abilities {
        namespaces: Err(lack.clone()),
        root_dir: Err(lack.clone()),
        proc: Err(lack.clone()),
        network: Err(lack),
        ..abilities.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_cannot_is_said_and_nothing_is_started() {
    let Some(abilities) = whole("a_machine_that_cannot_is_said_and_nothing_is_started") else {
        return;
    };
    let mut world = World::set(SetUp {
        abilities: Some(without_namespaces(&abilities)),
        ..SetUp::default()
    })
    .await;
    let spec = confined(&world, &["true"], |_| {});
    let instance = world.spawn(spec);
    let error = world.spawn_failed(&instance).await;
    assert_eq!(error.stage, claw_core::SpawnStage::Sandbox);
    let begin = "it may reach no host, and a network namespace cannot be created (clone: EPERM).";
    assert!(error.detail.starts_with(begin), "{}", error.detail);
    assert!(world.driver().plan_of(&instance).is_none());
}

const PORTS_APART: &str = r#"
import errno, socket, sys
def code(attempt):
    try:
        return attempt() or "done"
    except OSError as error:
        return errno.errorcode[error.errno]
def tcp(action):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(20)
        return action(sock)
models, other = (("127.0.0.1", int(port)) for port in sys.argv[1:])
print(tcp(lambda sock: sock.connect(models) or sock.recv(6).decode()), end=" ")
print(code(lambda: tcp(lambda sock: sock.connect(other))), end=" ")
print(code(lambda: tcp(lambda sock: sock.bind(("127.0.0.1", 0)))), end=" ")
print(code(lambda: tcp(lambda sock: sock.sendto(b"x", socket.MSG_FASTOPEN, other))), end=" ")
print(code(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()), flush=True)
"#;

/// A listener of the host that answers one connection.
fn answering() -> (u16, std::thread::JoinHandle<()>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::Write::write_all(&mut stream, b"answer").unwrap();
    });
    (port, answering)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_network_of_its_own_an_agent_connects_to_the_port_of_its_models_alone() {
    let test = "without_a_network_of_its_own_an_agent_connects_to_the_port_of_its_models_alone";
    let Some(abilities) = whole(test) else {
        return;
    };
    if !matches!(abilities.landlock, Ok(4..)) {
        eprintln!("SKIP {test}: Landlock is {:?}", abilities.landlock);
        return;
    }
    let mut world = World::set(SetUp {
        abilities: Some(without_namespaces(&abilities)),
        ..SetUp::default()
    })
    .await;
    let (models, answered) = answering();
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other = other.local_addr().unwrap().port().to_string();
    let port = models.to_string();
    let command = ["/usr/bin/python3", "-I", "-c", PORTS_APART, &port, &other];
    let mut spec = confined(&world, &command, |sandbox| {
        sandbox.on_missing = OnMissing::Degrade;
    });
    spec.launch.models = Some(models);
    let (status, log, _) = run(&mut world, spec).await;
    assert_eq!(status, ExitStatus::Code(0), "{log}");
    assert_eq!(log, "answer EACCES EACCES EPERM EPERM\n");
    answered.join().unwrap();
}
