//! What an agent in a container may try to get out of it, from inside a real one.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use crate::fleet::{Engine, Fleet, IMAGE};

/// Prints `row N WHAT: OUTCOME` for each attempt of the list, and `done`.
const ATTEMPTS: &str = include_str!("escapes.py");

/// Each attempt with the outcomes that mean that it did not succeed; what checks something by
/// itself is `allowed` to end.
const EXPECTED: [(&str, &[&str]); 49] = [
    ("row 1 shadow", &["ENOENT"]),
    ("row 1 home of root", &["ENOENT"]),
    ("row 2 fleet file", &["ENOENT"]),
    ("row 2 journal", &["ENOENT"]),
    ("row 3 environment of a host's process", &["ENOENT"]),
    ("row 4 foreign processes", &["allowed"]),
    ("row 5 inherited descriptors", &["allowed"]),
    ("row 6 inherited environment", &["allowed"]),
    ("row 7 identity and capabilities", &["allowed"]),
    ("row 8 metadata address", &["ENETUNREACH"]),
    ("row 11 loopback of the host", &["ECONNREFUSED"]),
    ("row 12 address on the internet", &["ENETUNREACH"]),
    ("row 13 resolver on the internet", &["ENETUNREACH"]),
    ("row 18 abstract socket of the host", &["ECONNREFUSED"]),
    ("row 20 socket of the engine", &["ENOENT"]),
    ("row 20 socket of containerd", &["ENOENT"]),
    ("row 21 control socket", &["ENOENT"]),
    ("row 22 AF_VSOCK", &["EPERM"]),
    ("row 22 AF_PACKET", &["EPERM"]),
    ("row 22 raw socket", &["EPERM"]),
    ("row 24 signal to a host's process", &["ESRCH"]),
    ("row 27 nice of -20", &["EACCES", "EPERM"]),
    ("row 27 real-time class", &["EPERM"]),
    ("row 28 files of the image", &["EROFS"]),
    ("row 28 filling /tmp", &["ENOSPC"]),
    ("row 30 many descriptors", &["EMFILE"]),
    ("row 31 io_uring_setup", &["EPERM"]),
    ("row 31 bpf", &["EPERM"]),
    ("row 31 userfaultfd", &["EPERM"]),
    ("row 31 add_key", &["EPERM"]),
    ("row 31 keyctl", &["EPERM"]),
    ("row 31 perf_event_open", &["EPERM"]),
    ("row 32 unshare of users", &["EPERM"]),
    ("row 32 mount", &["EPERM"]),
    ("row 32 fsopen", &["EPERM"]),
    ("row 32 open_tree", &["EPERM"]),
    ("row 32 pivot_root", &["EPERM"]),
    ("row 32 chroot", &["EPERM"]),
    ("row 32 setns", &["EPERM", "EACCES"]),
    ("row 34 terminal", &["ENXIO", "ENOENT"]),
    ("row 35 core_pattern", &["EROFS", "EACCES"]),
    ("row 35 sysrq", &["EROFS", "EACCES", "ENOENT"]),
    ("row 36 cgroup", &["EROFS", "EACCES", "ENOENT"]),
    ("row 36 own score", &["EACCES"]),
    (
        "row 36 hard limits",
        &["not allowed to raise maximum limit"],
    ),
    ("row 37 init's executable", &["EACCES", "EROFS", "ETXTBSY"]),
    ("row 40 mknod", &["EPERM"]),
    ("row 40 open_by_handle_at", &["EPERM"]),
    ("row 44 clock", &["EPERM"]),
];

/// What the seccomp profile of an older engine lets through, as the manual says; it is not checked
/// there.
const ENGINES_OWN: [&str; 2] = ["row 22 AF_VSOCK", "row 31 io_uring_setup"];

#[test]
fn no_attempt_leads_out_of_a_container() {
    let Some(engine) = Engine::find("no_attempt_leads_out_of_a_container") else {
        return;
    };
    if !std::path::Path::new("/usr/bin/python3").exists() {
        eprintln!("SKIP no_attempt_leads_out_of_a_container: there is no /usr/bin/python3");
        return;
    }
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port();
    let name = format!("claw-escapes-{port}");
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let abstract_one = UnixListener::bind_addr(&address).unwrap();
    let mut fleet = Fleet::new("");
    let script = fleet.path("attempts");
    std::fs::create_dir(&script).unwrap();
    std::fs::write(script.join("escapes.py"), ATTEMPTS).unwrap();
    let home = fleet.place("");
    let pid = std::process::id();
    let agents = format!(
        "  boxed: {{image: \"{IMAGE}\", mode: oneshot, sandbox: {{mode: docker}}, resources: {{pids: 32}}, \
             command: [/usr/bin/python3, /attempts/escapes.py, \"{pid}\", \"{port}\", \"{home}\", {name}], \
             volumes: [\"/usr:/usr:ro\", \"/usr/lib:/lib:ro\", \"/usr/lib64:/lib64:ro\", \"./attempts:/attempts:ro\"]}}\n"
    );
    fleet.write(&format!("engine: \"{}\"", engine.address), &agents);
    fleet.up();
    fleet.await_output("boxed", "done");
    let output = fleet.output("boxed");
    let lines: Vec<&str> = output.lines().collect();
    let mut wrong = Vec::new();
    for (what, outcomes) in EXPECTED {
        let line = lines
            .iter()
            .find_map(|line| line.strip_prefix(what)?.strip_prefix(": "));
        if line == Some("allowed") && ENGINES_OWN.contains(&what) {
            eprintln!("SKIP no_attempt_leads_out_of_a_container {what}: this engine allows it");
        } else if !line.is_some_and(|outcome| outcomes.contains(&outcome)) {
            wrong.push(format!("{what}: {line:?}, expected one of {outcomes:?}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(lines.len(), EXPECTED.len() + 1, "{output}");
    drop((tcp, abstract_one));
    fleet.down();
}
