//! The supervisor's end of the fork server.

use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use claw_failpoint::Step;
use rustix::fs::MemfdFlags;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;
use tokio::sync::Mutex;

use super::descriptors::{close_on_exec, restore_limit};
use super::entry;
use super::respawn;
use super::signal;
use super::turn::Turn;
use super::wire::{FLAG_MEMORY_FILE, FLAG_STDIN, INLINE_LIMIT, MESSAGE_LIMIT, Program, Task, line};

/// How long the process above a fork server may take to end both.
const FAREWELL: Duration = Duration::from_millis(1500);

/// How often that is looked for.
const FAREWELL_STEP: Duration = Duration::from_micros(200);

/// Why a launch could not be handed over.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The fork server could not be started.
    #[error("cannot start the fork server {exe}")]
    Start {
        /// The executable.
        exe: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A launch could not be sent.
    #[error("cannot hand a launch to the fork server")]
    Send(#[source] std::io::Error),
    /// It was killed with the process above it, and this one cannot replace both.
    #[error(
        "the fork server was killed, and a supervisor that has locked itself down cannot start \
         another one; start the supervisor again, its agents run on meanwhile with \
         `clawctl down --keep`"
    )]
    LockedDown,
    /// A launch is too large.
    #[error("the launch is {0} bytes long, at most {MESSAGE_LIMIT} are possible")]
    TooLong(usize),
}

impl LinkError {
    /// The error number of the system call, 0 when there was none.
    pub(crate) fn errno(&self) -> i32 {
        match self {
            Self::Start { source, .. } | Self::Send(source) => source.raw_os_error().unwrap_or(0),
            Self::TooLong(_) => nix::libc::E2BIG,
            Self::LockedDown => nix::libc::EPERM,
        }
    }

    /// The whole chain as one sentence.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::Start { source, .. } | Self::Send(source) => format!("{self}: {source}"),
            Self::LockedDown | Self::TooLong(_) => self.to_string(),
        }
    }
}

/// The fork server, started again when it is gone.
#[derive(Debug)]
pub(crate) struct Link {
    exe: PathBuf,
    turn: Turn,
    server: Mutex<Option<Server>>,
    /// Set once this process can start none that makes sandboxes.
    locked: AtomicBool,
}

#[derive(Debug)]
struct Server {
    /// `None` only while it is being dropped.
    socket: Option<AsyncFd<OwnedFd>>,
    process: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Without its socket the server ends by itself; shims live on. The kill is for one that
        // is stopped, so that waiting for it cannot take long. Either may find it gone already.
        self.socket = None;
        let deadline = Instant::now() + FAREWELL;
        while let Ok(None) = self.process.try_wait()
            && Instant::now() < deadline
        {
            signal::pause(FAREWELL_STEP);
        }
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Link {
    /// Starts the fork server.
    pub(crate) fn start(exe: PathBuf, turn: Turn) -> Result<Self, LinkError> {
        let server = Server::start(&exe, &turn)?;
        Ok(Self {
            exe,
            turn,
            server: Mutex::new(Some(server)),
            locked: AtomicBool::new(false),
        })
    }

    /// Hands over a launch; what comes back is the stream to the process that was made for it.
    pub(crate) async fn launch(
        &self,
        task: &Task,
        program: &Program,
        stdin: Option<&str>,
    ) -> Result<UnixStream, LinkError> {
        let (ours, theirs) = UnixStream::pair().map_err(LinkError::Send)?;
        let theirs = theirs.into_std().map_err(LinkError::Send)?;
        let stdin = stdin.map(memory_file).transpose()?;
        let mut message = vec![0];
        message.extend(line(task));
        message.extend(line(program));
        if message.len() > MESSAGE_LIMIT {
            return Err(LinkError::TooLong(message.len()));
        }
        let body = if message.len() > INLINE_LIMIT {
            let body = memory_file_of(&message[1..])?;
            message = vec![FLAG_MEMORY_FILE];
            Some(body)
        } else {
            None
        };
        if stdin.is_some() {
            message[0] |= FLAG_STDIN;
        }
        let mut descriptors = vec![theirs.as_fd()];
        descriptors.extend(body.as_ref().map(AsFd::as_fd));
        descriptors.extend(stdin.as_ref().map(AsFd::as_fd));
        claw_failpoint::before(Step::Launch);
        self.send(&message, &descriptors).await?;
        claw_failpoint::after(Step::Launch);
        Ok(ours)
    }

    async fn send(&self, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), LinkError> {
        let mut server = self.server.lock().await;
        if let Some(running) = server.as_ref() {
            match running.send(message, descriptors).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::warn!(%error, "the fork server is gone and is started again");
                }
            }
        }
        *server = None;
        if self.locked.load(Ordering::Relaxed) {
            return Err(LinkError::LockedDown);
        }
        let fresh = Server::start(&self.exe, &self.turn)?;
        let sent = fresh.send(message, descriptors).await;
        *server = Some(fresh);
        sent.map_err(LinkError::Send)
    }

    /// Says that whatever this process starts from here on makes no sandbox any more.
    pub(crate) fn lock_down(&self) {
        self.locked.store(true, Ordering::Relaxed);
    }

    /// The process id of the fork server, for measurements and tests. Blocks.
    pub(crate) async fn pid(&self) -> Option<u32> {
        let server = self.server.lock().await;
        respawn::spawner_of(server.as_ref()?.process.id())
    }
}

impl Server {
    fn start(exe: &std::path::Path, turn: &Turn) -> Result<Self, LinkError> {
        let failed = |source| LinkError::Start {
            exe: exe.to_owned(),
            source,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
                .map_err(|errno| failed(errno.into()))?;
        // The spawner and its shims may outlive us by weeks; a pipe of whoever started us must not
        // stay open for so long.
        close_on_exec();
        let process = Command::new(exe)
            .arg0("claw-spawner")
            .arg(entry::SPAWNER)
            .env_clear()
            .envs(claw_failpoint::inherited())
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::from(turn.share().map_err(failed)?))
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        // It forks nothing before it is told to.
        restore_limit(&process);
        // SAFETY: an `OwnedFd` is open and stays the same descriptor until it is dropped, and the
        // `AsyncFd` owns it.
        let socket = unsafe { AsyncFd::register_with_interest(ours, Interest::WRITABLE) }
            .map_err(|error| failed(error.into_parts().1))?;
        Ok(Self {
            socket: Some(socket),
            process,
        })
    }

    async fn send(&self, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> std::io::Result<()> {
        let Some(socket) = &self.socket else {
            return Err(std::io::ErrorKind::NotConnected.into());
        };
        let attempt = |socket: &OwnedFd| {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let fits = control.push(SendAncillaryMessage::ScmRights(descriptors));
            debug_assert!(fits, "a launch has at most three descriptors");
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            rustix::net::sendmsg(socket, &[IoSlice::new(message)], &mut control, flags)?;
            Ok(())
        };
        socket.async_io(Interest::WRITABLE, attempt).await
    }
}

fn memory_file(text: &str) -> Result<OwnedFd, LinkError> {
    memory_file_of(text.as_bytes())
}

fn memory_file_of(bytes: &[u8]) -> Result<OwnedFd, LinkError> {
    let create = || -> std::io::Result<OwnedFd> {
        let mut file = std::fs::File::from(rustix::fs::memfd_create(
            "claw-launch",
            MemfdFlags::CLOEXEC,
        )?);
        file.write_all(bytes)?;
        std::io::Seek::rewind(&mut file)?;
        Ok(file.into())
    };
    create().map_err(LinkError::Send)
}
