//! The agent's `NOTIFY_SOCKET`.

use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SocketAddrUnix, SocketFlags, SocketType,
};

use crate::process::procfs;
use crate::process::record::{InstanceDir, NOTIFY_SOCKET};
use crate::process::wire::NotifyAddress;

/// The longest notification accepted, as systemd has it; longer ones are dropped.
const MESSAGE_LIMIT: usize = 4096;

/// Messages taken at once, so that a flood cannot keep the shim from its other duties.
const BATCH: usize = 32;

/// What is told again to a supervisor that connects later, by key. Heartbeats are not: they
/// count only when they come.
const REMEMBERED: [&str; 5] = [
    "READY",
    "STATUS",
    "RELOADING",
    "STOPPING",
    "EXTEND_TIMEOUT_USEC",
];

/// Receives notifications and remembers the last ones.
#[derive(Debug)]
pub(super) struct Notify {
    socket: OwnedFd,
    remembered: BTreeMap<&'static str, String>,
}

/// A notification from a process of the agent's own tree.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) text: String,
    /// The process that the agent says is its main one; not yet checked.
    pub(super) main: Option<i32>,
}

impl Notify {
    /// Makes the socket.
    pub(super) fn bind(dir: &InstanceDir, address: &NotifyAddress) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        rustix::net::sockopt::set_socket_passcred(&socket, true)?;
        match address {
            NotifyAddress::Path => {
                dir.remove(NOTIFY_SOCKET);
                let path = dir.short_path(NOTIFY_SOCKET);
                rustix::net::bind(&socket, &SocketAddrUnix::new(path.as_str())?)?;
                // Open to all, because every sender is checked; directories above say who gets here.
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666))?;
            }
            NotifyAddress::Abstract(name) => {
                let address = SocketAddrUnix::new_abstract_name(name.as_bytes())?;
                rustix::net::bind(&socket, &address)?;
            }
        }
        Ok(Self {
            socket,
            remembered: BTreeMap::new(),
        })
    }

    /// What to poll for reading.
    pub(super) fn interest(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Takes what has come from processes of this shim's own tree. The shim is its subreaper, so
    /// everything in the tree descends from it; others are ignored.
    pub(super) fn receive(&mut self) -> Vec<Received> {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let mut found = Vec::new();
        for _ in 0..BATCH {
            let Ok((text, sender)) = self.receive_one() else {
                break;
            };
            let Some(text) =
                text.filter(|_| sender.is_some_and(|pid| procfs::descends_from(pid, own)))
            else {
                continue;
            };
            self.remember(&text);
            let main = field(&text, "MAINPID").and_then(|value| value.parse().ok());
            found.push(Received { text, main });
        }
        found
    }

    /// Descriptors that come along are closed on return, which is what `BARRIER=1` waits for.
    fn receive_one(&self) -> io::Result<(Option<String>, Option<i32>)> {
        let mut buffer = [0_u8; MESSAGE_LIMIT];
        let mut space =
            [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16), ScmCredentials(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::net::recvmsg(
            &self.socket,
            &mut [IoSliceMut::new(&mut buffer)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
        )?;
        let mut sender = None;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmCredentials(credentials) = message {
                sender = Some(credentials.pid.as_raw_nonzero().get());
            }
        }
        let whole = !received.flags.contains(ReturnFlags::TRUNC);
        let text = std::str::from_utf8(&buffer[..received.bytes])
            .ok()
            .filter(|_| whole);
        Ok((text.map(str::to_owned), sender))
    }

    fn remember(&mut self, text: &str) {
        for key in REMEMBERED {
            let Some(value) = field(text, key) else {
                continue;
            };
            match key {
                "READY" => drop(self.remembered.remove("RELOADING")),
                "STOPPING" => self
                    .remembered
                    .retain(|key, _| !matches!(*key, "READY" | "RELOADING")),
                _ => {}
            }
            self.remembered.insert(key, format!("{key}={value}"));
        }
    }

    /// What a supervisor that connects now has to know, as one text.
    pub(super) fn remembered(&self) -> String {
        let lines: Vec<&str> = self.remembered.values().map(String::as_str).collect();
        lines.join("\n")
    }
}

/// The text without what it says of the main process, for when that was not to be believed.
pub(super) fn without_main(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with("MAINPID="));
    lines.collect::<Vec<_>>().join("\n")
}

/// The first value of a key, as the core's parser takes it.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .find(|(name, _)| *name == key)
        .map(|(_, value)| value)
}
