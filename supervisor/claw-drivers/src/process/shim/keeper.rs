//! The first process of an instance's namespaces: it keeps them, and reaps what dies in them.
//!
//! ```text
//!  shim ──go──► keeper ──fork──► agent
//!    ▲             │               │
//!    └── ended ────┴───── ready ───┘   one socket, packets
//! ```
//!
//! A process in its own namespace has the number 1 there, and no signal that would end others ends
//! it. So it cannot end as its agent did, and says how that ended instead.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use claw_core::ExitStatus;
use nix::libc;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use rustix::process::{PidfdFlags, WaitOptions};
use serde::{Deserialize, Serialize};

use super::main_process::decode;
use crate::process::procfs::ProcessIdentity;
use crate::process::signal;
use crate::sandbox::{Listeners, privileges};

/// The longest packet; ours have some dozens of bytes.
const PACKET: usize = 256;

/// The agent's process itself, and what was made in its network.
const DESCRIPTORS: usize = 1 + Listeners::COUNT;

/// What is said to the shim.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Packet {
    /// The agent's process is about to execute its program. The descriptors are a pidfd and, if it
    /// has some, listeners.
    Ready {
        main: ProcessIdentity,
        keeper: ProcessIdentity,
    },
    /// The agent ended with this wait status.
    Ended { status: i32, rest: Rest },
}

/// Whether something of the agent outlives its main process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Rest {
    None,
    Some,
}

/// What the shim was told.
#[derive(Debug)]
pub(super) enum Said {
    Ready(Ready),
    Ended(ExitStatus, Rest),
}

/// The agent's process.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) main: ProcessIdentity,
    pub(super) keeper: ProcessIdentity,
    pub(super) pidfd: OwnedFd,
    /// None, or all of them.
    pub(super) listeners: Vec<OwnedFd>,
}

/// The keeper, as its shim knows it.
#[derive(Debug)]
pub(super) struct Keeper {
    /// Our child.
    pub(super) pid: i32,
    /// Itself and the agent's process, once they are known.
    pub(super) identity: Option<(ProcessIdentity, ProcessIdentity)>,
    socket: OwnedFd,
}

/// Both ends of the socket: the shim's, and that of the processes inside.
pub(super) fn socket() -> io::Result<(OwnedFd, OwnedFd)> {
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    Ok(rustix::net::socketpair(
        family,
        kind,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

impl Keeper {
    pub(super) const fn new(pid: i32, socket: OwnedFd) -> Self {
        Self {
            pid,
            identity: None,
            socket,
        }
    }

    /// What to poll for reading.
    pub(super) fn interest(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Lets it begin.
    pub(super) fn go(&self) -> io::Result<()> {
        rustix::net::send(&self.socket, b"g", SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// What has been said since the last time.
    pub(super) fn said(&self) -> Option<Said> {
        let mut buffer = [0_u8; PACKET];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::net::recvmsg(
            &self.socket,
            &mut [IoSliceMut::new(&mut buffer)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
        );
        let received = received.ok().filter(|received| received.bytes > 0)?;
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(sent) = message {
                descriptors.extend(sent);
            }
        }
        match serde_json::from_slice(&buffer[..received.bytes]).ok()? {
            Packet::Ready { main, keeper } => {
                let mut descriptors = descriptors.into_iter();
                Some(Said::Ready(Ready {
                    main,
                    keeper,
                    pidfd: descriptors.next()?,
                    listeners: descriptors.collect(),
                }))
            }
            Packet::Ended { status, rest } => Some(Said::Ended(decode(status)?, rest)),
        }
    }
}

/// Waits, in a process between a shim and a keeper, for the keeper to be gone.
pub(super) fn wait_for_keeper() -> ! {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => std::process::exit(0),
        }
    }
}

/// Waits, in the keeper, until the shim has done its part; fails when the shim is gone.
pub(super) fn await_go(socket: BorrowedFd<'_>) -> io::Result<()> {
    let mut byte = [0_u8];
    match rustix::net::recv(socket, &mut byte, RecvFlags::empty())? {
        (1, _) => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Says, in the agent's process, that its program comes next.
pub(super) fn say_ready(
    socket: BorrowedFd<'_>,
    (main, keeper): (ProcessIdentity, ProcessIdentity),
    listeners: Option<Listeners>,
) -> io::Result<()> {
    let pidfd = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
    let listeners = listeners.map(Listeners::into_descriptors);
    let mut descriptors = vec![pidfd.as_fd()];
    descriptors.extend(listeners.iter().flatten().map(AsFd::as_fd));
    let packet = serde_json::to_vec(&Packet::Ready { main, keeper })?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let flags = SendFlags::NOSIGNAL;
    rustix::net::sendmsg(socket, &[IoSlice::new(&packet)], &mut control, flags)?;
    Ok(())
}

/// Becomes the keeper of `agent`, its child: reaps until nothing is left.
///
/// Whatever it could do it gives up first: it is inside, and of the agent's user.
pub(super) fn keep(agent: i32, socket: &OwnedFd) -> ! {
    if settle(socket).is_err() {
        // Everything in the namespaces ends with it, and the shim sees that.
        std::process::exit(1);
    }
    // SAFETY: `settle` has put the socket there and closed all else; nothing else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(SOCKET) };
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get() == agent => {
                let rest = reap_the_dead();
                let status = status.as_raw();
                let packet = serde_json::to_vec(&Packet::Ended { status, rest });
                // A shim that is gone takes this process with it.
                rustix::net::send(&socket, &packet.unwrap_or_default(), SendFlags::NOSIGNAL).ok();
                if rest == Rest::None {
                    std::process::exit(0);
                }
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => std::process::exit(0),
        }
    }
}

/// Where a keeper has its socket.
const SOCKET: i32 = 0;

fn settle(socket: &OwnedFd) -> io::Result<()> {
    nix::unistd::dup2_stdin(socket)?;
    // SAFETY: whatever owns those descriptors is in stack frames that this process never returns
    // to: it ends by `exit`.
    unsafe { libc::syscall(libc::SYS_close_range, 1_u32, u32::MAX, 0) };
    let other = |fault: crate::sandbox::Fault| fault.source;
    privileges::become_inside().map_err(other)?;
    privileges::drop_capabilities().map_err(other)?;
    privileges::forbid_gain().map_err(other)?;
    privileges::hide()?;
    nix::sys::prctl::set_name(c"claw-keeper")?;
    // After the change of user, which clears it.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    if is_alone() {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    Ok(())
}

/// Whether the shim died before the death signal was armed. Its number is not to be seen from
/// inside; its end of the socket is.
fn is_alone() -> bool {
    // SAFETY: `settle` has just put the socket there, and it stays open.
    let socket = unsafe { BorrowedFd::borrow_raw(SOCKET) };
    let mut polled = [PollFd::from_borrowed_fd(socket, PollFlags::empty())];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::event::poll(&mut polled, Some(&now)).is_ok()
        && polled[0].revents().contains(PollFlags::HUP)
}

fn reap_the_dead() -> Rest {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => return Rest::Some,
            Err(_) => return Rest::None,
        }
    }
}

/// Ends a child that could not be made a keeper, and waits for it.
pub(super) fn abandon(pid: i32) {
    signal::send(pid, signal::KILL);
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        rustix::process::waitpid(Some(pid), WaitOptions::empty()).ok();
    }
}
