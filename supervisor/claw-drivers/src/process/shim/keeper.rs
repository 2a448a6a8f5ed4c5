//! The first process of an instance's namespaces: it keeps them, and reaps what dies in them.
//!
//! ```text
//!  shim ──────────── go ─────────────┐
//!    ▲           keeper ──fork──► agent ◄
//!    │             │ ◄─ user ────  │        one socket, packets
//!    │             │ ── network ─► │        another
//!    └── ended ────┴───── ready ───┘
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
use crate::sandbox::{Sockets, privileges};

/// The longest packet; ours have some dozens of bytes.
const PACKET: usize = 256;

/// How many descriptors go with one packet; the kernel takes some more.
const AT_ONCE: usize = 200;

/// The packets that let an agent's process begin: more files come, and these are the last.
const MORE: [u8; 1] = *b"m";
const GO: [u8; 1] = *b"g";

/// The agent's process itself, and what was made in its network.
const DESCRIPTORS: usize = 1 + Sockets::COUNT;

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
    /// Until those inside have closed it: from then on it would be ready for ever.
    socket: Option<OwnedFd>,
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
            socket: Some(socket),
        }
    }

    /// What to poll for reading, as long as something may come.
    pub(super) fn interest(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    /// Lets the agent's process begin, with these files.
    pub(super) fn go(&self, files: &[BorrowedFd<'_>]) -> io::Result<()> {
        let socket = self.interest().ok_or(io::ErrorKind::NotConnected)?;
        let mut files = files;
        while let Some((now, later)) = files.split_at_checked(AT_ONCE) {
            send_with(socket, &MORE, now)?;
            files = later;
        }
        send_with(socket, &GO, files)
    }

    /// What has been said since the last time.
    pub(super) fn said(&mut self) -> Option<Said> {
        let socket = self.socket.as_ref()?;
        let mut buffer = [0_u8; PACKET];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::net::recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut buffer)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
        );
        let received = match received {
            Ok(received) if received.bytes > 0 => received,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return None,
            Ok(_) | Err(_) => {
                drop(control);
                self.socket = None;
                return None;
            }
        };
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

/// Sends a packet with descriptors.
fn send_with(socket: BorrowedFd<'_>, packet: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(files));
    }
    let flags = SendFlags::NOSIGNAL;
    rustix::net::sendmsg(socket, &[IoSlice::new(packet)], &mut control, flags)?;
    Ok(())
}

/// Waits for a packet of one byte, and takes the descriptors that come with it; fails when the
/// other side is gone.
fn receive_with(socket: BorrowedFd<'_>) -> io::Result<([u8; 1], Vec<OwnedFd>)> {
    let mut byte = [0_u8];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut packet = [IoSliceMut::new(&mut byte)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = rustix::net::recvmsg(socket, &mut packet, &mut control, flags)?;
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut files = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(sent) = message {
            files.extend(sent);
        }
    }
    Ok((byte, files))
}

/// Waits, in the agent's process, until the shim has done its part; what it sent, in its order.
/// Fails when the shim is gone.
pub(super) fn await_go(socket: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let mut files = Vec::new();
    loop {
        let (packet, sent) = receive_with(socket)?;
        files.extend(sent);
        if packet == GO {
            return Ok(files);
        }
    }
}

/// What a keeper makes for its agent while that makes its root directory: both take their time.
#[derive(Debug)]
pub(super) struct Handover {
    /// The other end is the agent's.
    pub(super) socket: OwnedFd,
    /// Nothing, or a network and what was made in it.
    pub(super) made: Vec<OwnedFd>,
}

/// Says, in the agent's process, that the user of the namespaces is there.
pub(super) fn say_user(socket: BorrowedFd<'_>) -> io::Result<()> {
    send_with(socket, &GO, &[])
}

/// Waits, in the agent's process, for what the keeper made; that has given up by then whatever it
/// could do. Does not come back without it: all inside ends with a keeper.
pub(super) fn await_handover(socket: BorrowedFd<'_>) -> Vec<OwnedFd> {
    match receive_with(socket) {
        Ok((_, made)) => made,
        Err(_) => loop {
            nix::unistd::pause();
        },
    }
}

/// Says, in the agent's process, that its program comes next.
pub(super) fn say_ready(
    socket: BorrowedFd<'_>,
    (main, keeper): (ProcessIdentity, ProcessIdentity),
    listeners: &[OwnedFd],
) -> io::Result<()> {
    let pidfd = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
    let mut descriptors = vec![pidfd.as_fd()];
    descriptors.extend(listeners.iter().map(AsFd::as_fd));
    let packet = serde_json::to_vec(&Packet::Ready { main, keeper })?;
    send_with(socket, &packet, &descriptors)
}

/// Becomes the keeper of `agent`, its child: reaps until nothing is left.
///
/// Whatever it could do it gives up first: it is inside, and of the agent's user.
pub(super) fn keep(agent: i32, socket: &OwnedFd, handover: Option<Handover>) -> ! {
    if settle(socket, handover).is_err() {
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

fn settle(socket: &OwnedFd, handover: Option<Handover>) -> io::Result<()> {
    nix::unistd::dup2_stdin(socket)?;
    if let Some(handover) = &handover {
        receive_with(handover.socket.as_fd())?;
    }
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
    if let Some(handover) = handover {
        let made: Vec<_> = handover.made.iter().map(AsFd::as_fd).collect();
        // An agent that is gone needs nothing, and is waited for below.
        send_with(handover.socket.as_fd(), &GO, &made).ok();
    }
    // SAFETY: whatever owns those descriptors is in stack frames that this process never returns
    // to: it ends by `exit`.
    unsafe { libc::syscall(libc::SYS_close_range, 1_u32, u32::MAX, 0) };
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
