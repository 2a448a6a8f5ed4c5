//! What an agent may try to get out of where it is locked in, and what comes of it in each place.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use crate::fleet::Fleet;

/// Prints `row N WHAT: OUTCOME` for each attempt of the list, and `done`.
pub(crate) const ATTEMPTS: &str = include_str!("escapes.py");

/// Where an agent is locked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A container without a network.
    Container,
    /// A process in namespaces of its own.
    Full,
    /// A process behind Landlock and a filter of system calls.
    Landlock,
}

/// The outcomes of an attempt that are right; any other is wrong, also one that looks safer.
/// What checks something by itself is `allowed` to end.
type Outcomes = &'static [&'static str];

struct Row {
    what: &'static str,
    container: Outcomes,
    full: Outcomes,
    landlock: Outcomes,
}

/// One outcome everywhere.
const fn same(what: &'static str, outcomes: Outcomes) -> Row {
    row(what, outcomes, outcomes, outcomes)
}

const fn row(what: &'static str, container: Outcomes, full: Outcomes, landlock: Outcomes) -> Row {
    Row {
        what,
        container,
        full,
        landlock,
    }
}

const ABSENT: Outcomes = &["ENOENT"];
const DENIED: Outcomes = &["EPERM"];
const NO_NETWORK: Outcomes = &["ENETUNREACH"];
const NO_PROXY: Outcomes = &["ECONNREFUSED"];

const ROWS: [Row; 85] = [
    row("row 1 shadow", ABSENT, ABSENT, &["EACCES", "ENOENT"]),
    row("row 1 home of root", ABSENT, ABSENT, &["EACCES", "ENOENT"]),
    row("row 1 state of another agent", ABSENT, ABSENT, &["EACCES"]),
    row("row 2 fleet file", ABSENT, &["EACCES"], &["EACCES"]),
    row("row 2 journal", ABSENT, ABSENT, &["EACCES"]),
    row(
        "row 3 environment of a host's process",
        ABSENT,
        ABSENT,
        &["EACCES", "ENOENT"],
    ),
    row(
        "row 3 environment of the first process",
        &["allowed"],
        ABSENT,
        &["EACCES"],
    ),
    row(
        "row 4 foreign processes",
        &["allowed"],
        &["allowed"],
        &["it sees others"],
    ),
    same("row 5 inherited descriptors", &["allowed"]),
    same("row 6 inherited environment", &["allowed"]),
    same("row 7 identity and capabilities", &["allowed"]),
    row("row 8 metadata address", NO_NETWORK, &["403"], DENIED),
    row("row 8 metadata by tunnel", NO_PROXY, &["403"], DENIED),
    row("row 8 metadata in decimal", NO_PROXY, &["400"], DENIED),
    row("row 8 metadata in hexadecimal", NO_PROXY, &["400"], DENIED),
    row("row 8 metadata mapped to IPv6", NO_PROXY, &["403"], DENIED),
    row("row 8 metadata by name", NO_PROXY, &["403"], DENIED),
    row(
        "row 10 private address by an allowed name",
        NO_PROXY,
        &["403"],
        DENIED,
    ),
    row("row 11 loopback of the host", NO_PROXY, NO_PROXY, DENIED),
    row(
        "row 11 loopback of the host by tunnel",
        NO_PROXY,
        &["403"],
        DENIED,
    ),
    row(
        "row 12 address on the internet",
        NO_NETWORK,
        NO_PROXY,
        DENIED,
    ),
    row(
        "row 13 resolver on the internet",
        NO_NETWORK,
        &["allowed"],
        DENIED,
    ),
    row(
        "row 13 name that is not allowed",
        NO_NETWORK,
        &["rcode 3, 0 answers"],
        DENIED,
    ),
    row(
        "row 13 lookup",
        &["gaierror(-3, 'Temporary failure in name resolution')"],
        &["gaierror(-2, 'Name or service not known')"],
        &["gaierror(-3, 'Temporary failure in name resolution')"],
    ),
    row("row 15 user in a tunnel", NO_PROXY, &["400"], DENIED),
    row("row 15 port 0", NO_PROXY, &["400"], DENIED),
    row("row 15 two hosts", NO_PROXY, &["400"], DENIED),
    row("row 15 another host", NO_PROXY, &["400"], DENIED),
    row("row 15 folded line", NO_PROXY, &["400"], DENIED),
    row(
        "row 18 abstract socket of the host",
        NO_PROXY,
        NO_PROXY,
        &["EPERM", "ECONNREFUSED"],
    ),
    row(
        "row 19 socket in a directory of the host",
        ABSENT,
        ABSENT,
        &["EACCES", "ENOENT"],
    ),
    row(
        "row 20 socket of the engine",
        ABSENT,
        ABSENT,
        &["ENOENT", "EACCES"],
    ),
    row(
        "row 20 socket of containerd",
        ABSENT,
        ABSENT,
        &["ENOENT", "EACCES"],
    ),
    row("row 20 D-Bus", ABSENT, ABSENT, &["ENOENT", "EACCES"]),
    row("row 21 control socket", ABSENT, ABSENT, &["EACCES"]),
    same("row 22 AF_VSOCK", DENIED),
    same("row 22 AF_PACKET", DENIED),
    row("row 22 AF_ALG", &["EPERM", "EAFNOSUPPORT"], DENIED, DENIED),
    same("row 22 raw socket", DENIED),
    row("row 22 MPTCP", &["allowed"], &["EPROTONOSUPPORT"], DENIED),
    row("row 22 netlink for audit", &["allowed"], DENIED, DENIED),
    same("row 22 netlink for routes", &["allowed"]),
    row(
        "row 23 ptrace of the first process",
        &["allowed"],
        DENIED,
        DENIED,
    ),
    same("row 23 memory of the first process", DENIED),
    same("row 23 descriptor of the first process", DENIED),
    row(
        "row 24 signal to a host's process",
        &["ESRCH"],
        &["ESRCH"],
        &["EPERM", "ESRCH"],
    ),
    row(
        "row 24 signal to everybody",
        &["allowed"],
        &["allowed"],
        DENIED,
    ),
    same("row 25 fork bomb", &["EAGAIN"]),
    same("row 27 nice of -20", &["EACCES", "EPERM"]),
    same("row 27 real-time class", DENIED),
    row(
        "row 28 system's files",
        &["EROFS"],
        &["EROFS"],
        &["EACCES", "EROFS"],
    ),
    row("row 28 root directory", &["EROFS"], &["EROFS"], &["EACCES"]),
    row("row 28 filling /tmp", &["ENOSPC"], &["ENOSPC"], &["EACCES"]),
    row(
        "row 28 filling /dev/shm",
        &["ENOSPC"],
        &["ENOSPC"],
        &["EACCES"],
    ),
    same("row 30 many descriptors", &["EMFILE"]),
    same("row 31 io_uring_setup", DENIED),
    same("row 31 bpf", DENIED),
    same("row 31 userfaultfd", DENIED),
    same("row 31 add_key", DENIED),
    same("row 31 keyctl", DENIED),
    same("row 31 perf_event_open", DENIED),
    same("row 32 unshare of users", DENIED),
    same("row 32 clone of users", DENIED),
    same("row 32 mount", DENIED),
    same("row 32 fsopen", DENIED),
    same("row 32 open_tree", DENIED),
    same("row 32 pivot_root", DENIED),
    same("row 32 chroot", DENIED),
    same("row 32 setns", &["EPERM", "EACCES"]),
    same("row 33 set-uid root", &["no gain"]),
    row("row 33 user 0", &["EPERM"], &["EINVAL", "EPERM"], DENIED),
    row(
        "row 34 terminal",
        &["ENXIO", "ENOENT"],
        &["ENXIO", "ENOENT"],
        &["EACCES"],
    ),
    row("row 34 typing for others", DENIED, ABSENT, &["EACCES"]),
    same("row 35 core_pattern", &["EROFS", "EACCES"]),
    same("row 35 sysrq", &["EROFS", "EACCES", "ENOENT"]),
    same("row 36 cgroup", &["EROFS", "EACCES", "ENOENT"]),
    same("row 36 own score", &["EACCES"]),
    same(
        "row 36 hard limits",
        &["not allowed to raise maximum limit"],
    ),
    same("row 36 cgroup namespace", DENIED),
    row(
        "row 37 init's executable",
        &["EACCES", "EROFS", "ETXTBSY"],
        ABSENT,
        &["EACCES", "EROFS", "ETXTBSY"],
    ),
    row("row 40 mknod", DENIED, &["EACCES"], &["EACCES"]),
    same("row 40 name_to_handle_at", DENIED),
    same("row 40 open_by_handle_at", DENIED),
    row(
        "row 42 call of x32",
        &["ended with 0"],
        &["ended with -31"],
        &["ended with -31"],
    ),
    same("row 44 clock", DENIED),
];

/// Things of the host that an attempt may find.
pub(crate) struct Bait {
    tcp: TcpListener,
    name: String,
    _abstract_socket: UnixListener,
}

impl Bait {
    pub(crate) fn lay() -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let name = format!("claw-escapes-{}", tcp.local_addr().unwrap().port());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        Self {
            tcp,
            _abstract_socket: UnixListener::bind_addr(&address).unwrap(),
            name,
        }
    }

    /// The port of the host that somebody listens on.
    pub(crate) fn port(&self) -> u16 {
        self.tcp.local_addr().unwrap().port()
    }

    /// The script in the fleet's folder `attempts`, and its argument.
    pub(crate) fn script(&self, fleet: &Fleet) -> String {
        let folder = fleet.path("attempts");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("escapes.py"), ATTEMPTS).unwrap();
        let place = serde_json::json!({
            "foreign": std::process::id(),
            "port": self.port(),
            "home": fleet.place(""),
            "abstract": self.name,
        });
        serde_json::to_string(&place.to_string()).unwrap()
    }
}

/// Checks each line that the script printed; `excused` are attempts that this place is known to
/// let through, which is said.
pub(crate) fn judge(test: &str, place: Place, output: &str, excused: &[&str]) {
    let lines: Vec<&str> = output.lines().collect();
    let mut wrong = Vec::new();
    for row in &ROWS {
        let (what, outcomes) = (row.what, row.outcomes(place));
        let line = lines
            .iter()
            .find_map(|line| line.strip_prefix(what)?.strip_prefix(": "));
        if line == Some("allowed") && excused.contains(&what) {
            eprintln!("SKIP {test} {what}: this place allows it");
        } else if !line.is_some_and(|outcome| outcomes.contains(&outcome)) {
            wrong.push(format!("{what}: {line:?}, expected one of {outcomes:?}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(lines.len(), ROWS.len() + 1, "{output}");
}

impl Row {
    const fn outcomes(&self, place: Place) -> Outcomes {
        match place {
            Place::Container => self.container,
            Place::Full => self.full,
            Place::Landlock => self.landlock,
        }
    }
}
