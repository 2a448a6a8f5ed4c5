//! Attempts to get out, each with the answer it gets.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use claw_core::ExitStatus;
use claw_core::sandbox::{Abilities, Lack};
use claw_core::spec::sandbox::OnMissing;

use super::{confined, run, whole};
use crate::world::{SetUp, World};

const SCRIPT: &str = include_str!("escape.py");

/// What each attempt comes to with namespaces, for root and for others alike.
const FULL: &[(&str, &str)] = &[
    ("1 shadow", "ENOENT"),
    ("1 home of root", "ENOENT"),
    ("1 file of the host", "ENOENT"),
    ("2 data directory", "ENOENT"),
    ("3 environment of the supervisor", "ENOENT"),
    ("3 environment of process 1", "ENOENT"),
    ("4 foreign processes", "0"),
    ("5 descriptors", "none"),
    ("6 canary", "absent"),
    ("7 groups", "[]"),
    ("11 loopback of the host", "ECONNREFUSED"),
    ("18 abstract socket", "ECONNREFUSED"),
    ("20 docker", "ENOENT"),
    ("20 bus", "ENOENT"),
    ("22 vsock", "EPERM"),
    ("22 packet", "EPERM"),
    ("22 alg", "EPERM"),
    ("22 raw", "EPERM"),
    ("22 mptcp", "EPROTONOSUPPORT"),
    ("22 netlink", "EPERM"),
    ("22 netlink of routes", "made"),
    ("23 ptrace", "EPERM"),
    ("23 process_vm_readv", "EPERM"),
    ("23 pidfd_getfd", "EPERM"),
    ("24 kill the supervisor", "ESRCH"),
    ("31 io_uring", "EPERM"),
    ("31 bpf", "EPERM"),
    ("31 userfaultfd", "EPERM"),
    ("31 keyctl", "EPERM"),
    ("31 add_key", "EPERM"),
    ("31 perf", "EPERM"),
    ("32 unshare", "EPERM"),
    ("32 clone", "EPERM"),
    ("32 mount", "EPERM"),
    ("32 fsopen", "EPERM"),
    ("32 open_tree", "EPERM"),
    ("32 pivot_root", "EPERM"),
    ("32 chroot", "EPERM"),
    ("32 setns", "EPERM"),
    (
        "33 capabilities",
        "000000000000000000000000000000000000000000000000",
    ),
    ("33 bounding set", "0000000000000000"),
    ("33 new privileges", "1"),
    ("33 setuid files", "True"),
    ("34 terminal", "ENOENT"),
    ("34 TIOCSTI", "EPERM"),
    ("34 TIOCLINUX", "EPERM"),
    ("35 core dumps", "(0, 0)"),
    ("35 core pattern", "EROFS"),
    ("35 sysrq", "any"),
    ("36 groups of the kernel", "ENOENT"),
    ("36 own score", "EACCES"),
    ("36 limits", "EPERM"),
    ("36 namespace of groups", "EPERM"),
    ("37 file of process 1", "ENOENT"),
    ("40 device", "EACCES"),
    ("40 name_to_handle_at", "EPERM"),
    ("40 open_by_handle_at", "EPERM"),
    ("44 clock_settime", "EPERM"),
    ("44 settimeofday", "EPERM"),
    ("write to /", "EROFS"),
    ("write to /usr", "EROFS"),
    ("write to /etc", "EROFS"),
    ("write to a directory of its own", "written"),
    ("command line of the kernel", "False"),
    ("keys", "False"),
];

/// What is different without namespaces: what is there is seen to be there, and not to be had.
const RULES: &[(&str, &str)] = &[
    ("1 shadow", "EACCES"),
    ("1 home of root", "EACCES"),
    ("1 file of the host", "EACCES"),
    ("2 data directory", "EACCES"),
    ("3 environment of the supervisor", "EACCES"),
    ("3 environment of process 1", "EACCES"),
    ("4 foreign processes", "many"),
    ("11 loopback of the host", "EPERM"),
    ("18 abstract socket", "EPERM"),
    ("20 docker", "any"),
    ("20 bus", "any"),
    ("22 raw", "EPERM"),
    ("22 mptcp", "EPERM"),
    ("24 kill the supervisor", "EPERM"),
    ("33 setuid files", "any"),
    ("34 terminal", "EACCES"),
    ("35 core pattern", "EACCES"),
    ("36 groups of the kernel", "EACCES"),
    ("37 file of process 1", "EACCES"),
    ("write to /", "EACCES"),
    ("write to /usr", "EACCES"),
    ("write to /etc", "EACCES"),
    ("command line of the kernel", "True"),
    ("keys", "any"),
];

async fn attempts(set_up: SetUp, accepted: OnMissing) -> BTreeMap<String, String> {
    let mut world = World::set(set_up).await;
    let secret = world.file("secret");
    std::fs::write(&secret, "of the host").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("openclaw-test-{}", world.dir.path().display());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _abstract = UnixListener::bind_addr(&address).unwrap();
    let host = serde_json::json!({
        "file": secret,
        "data": world.file("data"),
        "supervisor": std::process::id(),
        "port": listener.local_addr().unwrap().port(),
        "abstract": name,
        "writable": world.file("own"),
    });
    let command = ["/usr/bin/python3", "-I", "-c", SCRIPT, &host.to_string()];
    let spec = confined(&world, &command, |sandbox| sandbox.on_missing = accepted);
    let (status, text, _) = run(&mut world, spec).await;
    assert_eq!(status, ExitStatus::Code(0), "{text}");
    let lines = text.lines().filter_map(|line| line.split_once(": "));
    lines
        .map(|(what, outcome)| (what.to_owned(), outcome.to_owned()))
        .collect()
}

fn compare(found: &BTreeMap<String, String>, expected: &BTreeMap<&str, &str>) {
    let wrong: Vec<String> = expected
        .iter()
        .filter_map(|(what, expected)| {
            let found = found.get(*what).map_or("nothing", String::as_str);
            let good = match *expected {
                // What a machine may have or not, and closes if it has it.
                "any" => ["ENOENT", "EACCES", "EPERM", "EROFS", "False", "True"].contains(&found),
                "many" => found.parse().is_ok_and(|count: u32| count > 1),
                exact => found == exact,
            };
            (!good).then(|| format!("{what}: {found}, and not {expected}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(found.len(), expected.len(), "an attempt is not judged");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_namespaces_nothing_of_the_host_is_there() {
    if whole("with_namespaces_nothing_of_the_host_is_there").is_none() {
        return;
    }
    let found = attempts(SetUp::default(), OnMissing::Refuse).await;
    compare(&found, &FULL.iter().copied().collect());
}

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
async fn without_namespaces_what_is_there_is_not_to_be_had() {
    let Some(abilities) = whole("without_namespaces_what_is_there_is_not_to_be_had") else {
        return;
    };
    let set_up = SetUp {
        abilities: Some(without_namespaces(&abilities)),
        ..SetUp::default()
    };
    let found = attempts(set_up, OnMissing::Degrade).await;
    let mut expected: BTreeMap<&str, &str> = FULL.iter().copied().collect();
    expected.extend(RULES.iter().copied());
    // Who is not root cannot empty it, and nothing can be gained by it.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let bounding = status
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:\t"));
    if !nix::unistd::geteuid().is_root() {
        expected.insert("33 bounding set", bounding.unwrap());
    }
    compare(&found, &expected);
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
