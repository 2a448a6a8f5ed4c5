//! Where the kernel asks about calls (`seccomp_unotify(2)`).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::libc;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use super::learn::Lessons;

/// Whether calls can be let go on after they were asked about: since Linux 5.5.
pub(crate) fn can_go_on() -> bool {
    let system = rustix::system::uname();
    let release = system.release().to_string_lossy();
    let mut numbers = release
        .split(['.', '-', '+'])
        .map(|part| part.parse().unwrap_or(0_u32));
    (numbers.next(), numbers.next()) >= (Some(5), Some(5))
}

/// Hands over a listener, in the process that is listened to.
pub(crate) fn hand_over(socket: BorrowedFd<'_>, listener: &OwnedFd) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [listener.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let flags = SendFlags::NOSIGNAL;
    rustix::net::sendmsg(socket, &[IoSlice::new(b"l")], &mut control, flags)?;
    Ok(())
}

/// Takes over a listener; `None`: there is none yet, or there will be none.
pub(crate) fn take_over(socket: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let mut byte = [0_u8];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = match rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut byte)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
    ) {
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(None),
        other => other?,
    };
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut found = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
            found = found.or(descriptors.next());
        }
    }
    Ok(found)
}

/// Whether somebody is listened to still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listening {
    On,
    Over,
}

/// Answers what is asked now, and counts it.
pub(crate) fn answer(listener: &OwnedFd, lessons: &mut Lessons) -> Listening {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    loop {
        let mut polled = [PollFd::new(listener, PollFlags::IN)];
        match rustix::event::poll(&mut polled, Some(&now)) {
            Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(_) => return Listening::Over,
        }
        let ready = polled[0].revents();
        if !ready.contains(PollFlags::IN) {
            let over = ready.intersects(PollFlags::HUP | PollFlags::ERR);
            return if over { Listening::Over } else { Listening::On };
        }
        // One whose caller died meanwhile is no question any more.
        if let Ok(question) = receive(listener) {
            let refusal = lessons.take(i64::from(question.data.nr));
            send(listener, question.id, refusal).ok();
        }
    }
}

fn receive(listener: &OwnedFd) -> io::Result<libc::seccomp_notif> {
    // SAFETY: all fields are integers, and the kernel wants them to be zero.
    let mut question: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the request carries the size of the structure; the kernel writes no more than that,
    // into memory that lives across the call.
    let result = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_RECV,
            &raw mut question,
        )
    };
    if result == 0 {
        Ok(question)
    } else {
        Err(io::Error::last_os_error())
    }
}

fn send(listener: &OwnedFd, id: u64, refusal: Option<i32>) -> io::Result<()> {
    let go_on = u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap_or(0);
    let answer = libc::seccomp_notif_resp {
        id,
        val: 0,
        error: refusal.map_or(0, |errno| -errno),
        flags: if refusal.is_some() { 0 } else { go_on },
    };
    // SAFETY: the request carries the size of the structure, which lives across the call.
    let result = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SEND,
            &raw const answer,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
