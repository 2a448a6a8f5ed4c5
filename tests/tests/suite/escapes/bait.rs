//! Things of the host that an attempt may find, and the names that lead to them.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::NamedTempFile;

use super::place::Place;
use crate::fleet::{Fleet, free_port};

/// The network that fleets open to their agents; each bait has an address in it.
pub(crate) const OPEN_NETWORK: &str = "127.53.0.0/16";

/// The hosts that the agent that tries may reach, beside a port of the bait.
const LISTED: [&str; 4] = [
    "listed.test",
    "turning.test",
    "mixed.test",
    "metadata.test:80",
];

/// What the script, the parts of it, and what starts supervisors are made of.
const FILES: [(&str, &str); 4] = [
    ("escapes.py", include_str!("escapes.py")),
    ("network.py", include_str!("network.py")),
    ("neighbour.py", include_str!("neighbour.py")),
    ("closed.py", include_str!("closed.py")),
];

/// Lays out what the attempts are about.
pub(crate) struct Bait {
    tcp: TcpListener,
    name: String,
    neighbour: u16,
    /// Answers what supervisors ask, and where names lead; only root can have supervisors ask it.
    names: Option<Ipv4Addr>,
    /// A file that everybody may read.
    secret: NamedTempFile,
    _abstract_socket: UnixListener,
}

impl Bait {
    pub(crate) fn lay() -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let name = format!("claw-escapes-{}", tcp.local_addr().unwrap().port());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let names = rustix::process::geteuid().is_root().then(serve_names);
        Self {
            tcp,
            _abstract_socket: UnixListener::bind_addr(&address).unwrap(),
            name,
            neighbour: free_port(),
            secret: public_file(),
            names,
        }
    }

    /// Whether names lead where the attempts expect it.
    pub(crate) const fn has_names(&self) -> bool {
        self.names.is_some()
    }

    /// The port of the host that somebody listens on.
    fn port(&self) -> u16 {
        self.tcp.local_addr().unwrap().port()
    }

    /// The hosts of the agent's list, for a fleet file.
    pub(crate) fn listed(&self) -> String {
        let port = format!("localhost:{}", self.port());
        let hosts = LISTED.map(|host| format!("\"{host}\"")).join(", ");
        format!("\"{port}\", {hosts}")
    }

    /// Puts the scripts into the fleet's folder `attempts`, and what is to be found beside it.
    pub(crate) fn place(&self, fleet: &Fleet) {
        let folder = fleet.path("attempts");
        std::fs::create_dir_all(&folder).unwrap();
        let sized = fleet.path("sized");
        std::fs::create_dir_all(&sized).unwrap();
        let everybody = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(sized, everybody).unwrap();
        for (name, text) in FILES {
            std::fs::write(folder.join(name), text).unwrap();
        }
        if let Some(address) = self.names {
            let servers = format!("nameserver {address}\noptions attempts:1 timeout:2\n");
            std::fs::write(folder.join("resolv.conf"), servers).unwrap();
        }
    }

    /// The file that names the bait as a server of names.
    pub(crate) fn resolver(&self, fleet: &Fleet) -> Option<String> {
        self.names.map(|_| fleet.place("attempts/resolv.conf"))
    }

    /// The agent beside the one that tries; `hosts` are those of its list, if it has one.
    pub(crate) fn neighbour(&self, keys: &str) -> String {
        format!(
            "  neighbour: {{command: [/usr/bin/python3, attempts/neighbour.py, \"{}\"], \
                 sandbox: {{mode: process, readable: [attempts]{keys}}}}}\n",
            self.neighbour
        )
    }

    /// The argument of the script, as a YAML string; `calls` is where it finds the program of
    /// system calls.
    pub(crate) fn argument(
        &self,
        place: Place,
        (fleet, supervisor): (&Fleet, i32),
        calls: Option<&Path>,
    ) -> String {
        let user = place.user();
        let mut known = serde_json::json!({
            "user": user,
            "foreign": std::process::id(),
            "secret": self.secret.path(),
            "supervisor": supervisor,
            "port": self.port(),
            "neighbour": self.neighbour,
            "home": fleet.place("").trim_end_matches('/'),
            "abstract": self.name,
        });
        if let Some(path) = calls {
            known["calls"] = path.to_str().unwrap().into();
        }
        serde_json::to_string(&known.to_string()).unwrap()
    }
}

/// Builds the program of system calls into the fleet's folder `attempts`; `None`, and said, where
/// there is nothing to build it with.
pub(crate) fn build_calls(test: &str, fleet: &Fleet) -> Option<PathBuf> {
    let program = fleet.path("attempts/calls");
    if let Some(built) = std::env::var_os("CLAW_ESCAPES_CALLS") {
        std::fs::copy(built, &program).unwrap();
        return Some(program);
    }
    let source = fleet.path("calls.c");
    std::fs::write(&source, include_str!("calls.c")).unwrap();
    let built = Command::new("gcc")
        .args(["-O1", "-static", "-o"])
        .arg(&program)
        .arg(&source)
        .output();
    let why = match built {
        Ok(output) if output.status.success() => return Some(program),
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    let why = why.lines().next().unwrap_or_default();
    eprintln!("SKIP {test} static: no static program can be built: {why}");
    None
}

fn public_file() -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    let public = std::fs::Permissions::from_mode(0o644);
    file.as_file().set_permissions(public).unwrap();
    file
}

/// A server of names and the host that they lead to, at an address of this process alone.
fn serve_names() -> Ipv4Addr {
    let (address, host) = bound();
    std::thread::spawn(move || {
        for stream in host.incoming() {
            let mut stream = stream.unwrap();
            // Whoever connected may say nothing, and be gone.
            if stream.read(&mut [0; 1024]).is_ok_and(|count| count > 0) {
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok();
            }
        }
    });
    let socket = UdpSocket::bind((address, 53)).unwrap();
    std::thread::spawn(move || answer_names(&socket, address));
    address
}

/// An address that nobody else has taken, and its port of HTTPS.
fn bound() -> (Ipv4Addr, TcpListener) {
    let first = std::process::id() % 65_000 + 1;
    let mut places = (first..first + 500).map(|place| {
        let [.., high, low] = place.to_be_bytes();
        let address = Ipv4Addr::new(127, 53, high, low);
        Some((address, TcpListener::bind((address, 443)).ok()?))
    });
    places.find_map(|place| place).expect("a free address")
}

fn answer_names(socket: &UdpSocket, own: Ipv4Addr) {
    let private = Ipv4Addr::new(10, 0, 0, 1);
    let public = Ipv4Addr::new(1, 1, 1, 1);
    let metadata = Ipv4Addr::new(169, 254, 169, 254);
    let mut turns: BTreeMap<&str, Vec<Vec<Ipv4Addr>>> = BTreeMap::from([
        ("listed.test", vec![vec![own]]),
        ("neighbours.test", vec![vec![own]]),
        ("mixed.test", vec![vec![public, own]]),
        ("metadata.test", vec![vec![metadata]]),
        // The last one is asked for first.
        ("turning.test", vec![vec![private], vec![own]]),
    ]);
    let mut question = [0; 512];
    while let Ok((length, client)) = socket.recv_from(&mut question) {
        let (name, kind) = read_question(&question[..length]);
        let addresses = match turns.get_mut(name.as_str()) {
            Some(turns) if kind == 1 && turns.len() > 1 => turns.pop().unwrap(),
            Some(turns) if kind == 1 => turns[0].clone(),
            Some(_) | None => Vec::new(),
        };
        let answer = write_answer(&question[..length], &addresses);
        socket.send_to(&answer, client).unwrap();
    }
}

/// The name that is asked for, and the kind of record.
fn read_question(message: &[u8]) -> (String, u16) {
    let mut labels = Vec::new();
    let mut at = 12;
    while message[at] > 0 {
        let length = usize::from(message[at]);
        labels.push(String::from_utf8_lossy(&message[at + 1..=at + length]).to_lowercase());
        at += length + 1;
    }
    let kind = u16::from_be_bytes([message[at + 1], message[at + 2]]);
    (labels.join("."), kind)
}

/// An answer of these addresses, with a time to live of nothing.
fn write_answer(question: &[u8], addresses: &[Ipv4Addr]) -> Vec<u8> {
    let end = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    let count = u8::try_from(addresses.len()).unwrap();
    let mut answer = question[..2].to_vec();
    answer.extend([0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0]);
    answer.extend(&question[12..end]);
    for address in addresses {
        answer.extend([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    answer
}
