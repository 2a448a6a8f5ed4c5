//! A process that makes one connection in the network of an instance and hands it over.
//!
//! Who is not root enters a network by way of its user namespace, which a process with threads
//! cannot.

use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;

use super::farewell;
use super::guest;
use super::peer::Peer;
use crate::process::wire::{ConnectTask, Report};

/// Connects and reports; the exit code.
pub(in crate::process) fn connect(task: &ConnectTask, stream: OwnedFd) -> i32 {
    let mut peer = Peer::new(Some(stream));
    match attempt(task) {
        Ok(connection) => {
            let descriptors = [OwnedFd::from(connection)];
            peer.tell_with(&Report::Connected(Ok(())), &descriptors);
        }
        Err(error) => {
            let timed_out = error.kind() == io::ErrorKind::TimedOut;
            let unnamed = if timed_out {
                nix::libc::ETIMEDOUT
            } else {
                nix::libc::EIO
            };
            let errno = error.raw_os_error().unwrap_or(unnamed);
            peer.tell(&Report::Connected(Err(errno)));
        }
    }
    farewell::deliver(&mut peer);
    0
}

fn attempt(task: &ConnectTask) -> io::Result<TcpStream> {
    guest::enter(task.keeper, task.main, &["user", "net"])?;
    // Of two addresses the first is the one that is meant.
    let mut first = None;
    for address in &task.addresses {
        match TcpStream::connect_timeout(address, task.limit) {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                first.get_or_insert(error);
            }
        }
    }
    Err(first.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
}
