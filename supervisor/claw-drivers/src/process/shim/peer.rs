//! The connection to the supervisor, which may be slow, dead, or a new one.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use crate::process::wire::{self, LINE_LIMIT, Report, Request};
use crate::sandbox::Sockets;

/// What may wait for a slow supervisor. Beyond it the connection is dropped: it connects again
/// and is told where the instance stands.
const BACKLOG_LIMIT: usize = 64 * 1024;

/// The supervisor's end, as seen from the shim.
#[derive(Debug)]
pub(super) struct Peer {
    stream: Option<OwnedFd>,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
}

impl Peer {
    /// Takes a connected stream.
    pub(super) const fn new(stream: Option<OwnedFd>) -> Self {
        Self {
            stream,
            outgoing: Vec::new(),
            incoming: Vec::new(),
        }
    }

    /// What to poll, if anybody is connected.
    pub(super) fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let wanted = if self.outgoing.is_empty() {
            PollFlags::IN
        } else {
            PollFlags::IN | PollFlags::OUT
        };
        self.stream.as_ref().map(|stream| (stream.as_fd(), wanted))
    }

    /// Tells the supervisor, if there is one.
    pub(super) fn tell(&mut self, report: &Report) {
        if self.stream.is_none() {
            return;
        }
        self.outgoing.extend(wire::line(report));
        if self.outgoing.len() > BACKLOG_LIMIT {
            self.hang_up();
        } else {
            self.flush();
        }
    }

    /// Tells the supervisor, and hands it these descriptors with the first byte. It is the first
    /// that is said to it.
    pub(super) fn tell_with(&mut self, report: &Report, descriptors: &[OwnedFd]) {
        let Some(stream) = self.stream.as_ref().filter(|_| !descriptors.is_empty()) else {
            self.tell(report);
            return;
        };
        let line = wire::line(report);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(Sockets::COUNT))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match rustix::net::sendmsg(stream, &[IoSlice::new(&line)], &mut control, flags) {
            Ok(sent) => {
                self.outgoing.extend_from_slice(&line[sent..]);
                self.flush();
            }
            Err(_) => self.hang_up(),
        }
    }

    /// Sends what waits, as far as it can be sent now.
    pub(super) fn flush(&mut self) {
        while let Some(stream) = &self.stream
            && !self.outgoing.is_empty()
        {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match rustix::net::send(stream, &self.outgoing, flags) {
                Ok(sent) => drop(self.outgoing.drain(..sent)),
                Err(rustix::io::Errno::AGAIN) => return,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => self.hang_up(),
            }
        }
    }

    /// Reads what the supervisor asks for.
    pub(super) fn requests(&mut self) -> Vec<Request> {
        if self.fill().is_err() || self.incoming.len() > LINE_LIMIT {
            self.hang_up();
        }
        let Some(end) = self.incoming.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let complete: Vec<u8> = self.incoming.drain(..=end).collect();
        complete
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect()
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut buffer = [0_u8; 512];
        while let Some(stream) = &self.stream {
            match rustix::net::recv(stream, &mut buffer, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok((count, _)) => self.incoming.extend_from_slice(&buffer[..count]),
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn hang_up(&mut self) {
        self.stream = None;
        self.outgoing = Vec::new();
        self.incoming.clear();
    }
}
