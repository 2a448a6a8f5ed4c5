//! The fork server: a small process with one thread that makes shims by forking itself.
//!
//! ```text
//!  supervisor ──message──► spawner ──fork──► shim ──fork, exec──► agent
//!      │                      │                │
//!      └── dies ──hang-up──► exits             └── lives on, waits for a new supervisor
//! ```
//!
//! The supervisor is large and has many threads: forking it is slow, and what it forks must
//! execute something at once. The spawner has a heap of a few pages, so a shim that shares them
//! costs next to nothing.
//!
//! It is the subreaper above the shims, so whatever a killed shim leaves behind becomes a child of
//! the spawner, and is ended by it. Only descendants of dead shims can: a live shim is the nearer
//! subreaper.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use claw_core::{SpawnError, SpawnStage, Wall};
use claw_failpoint::Step;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::ForkResult;
use rustix::event::{PollFd, PollFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use rustix::process::WaitOptions;

use super::wire::{FLAG_MEMORY_FILE, FLAG_STDIN, INLINE_LIMIT, MESSAGE_LIMIT, Report, Task};
use super::{procfs, shim, signal, succession, wire};

/// Waits between attempts to fork; a machine out of processes for longer is a failed start.
const FORK_RETRIES: [Duration; 3] = [
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(20),
];

/// The signals a process in between must not die of: agents depend on it. All others are at their
/// default in the spawner and in what it forks.
pub(super) const IGNORED: [Signal; 9] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGPIPE,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTSTP,
    Signal::SIGXFSZ,
];

/// What a message from the supervisor holds.
struct Launch {
    stream: OwnedFd,
    stdin: Option<OwnedFd>,
    body: Body,
}

enum Body {
    /// So many bytes of the receive buffer.
    Buffer(usize),
    MemoryFile(OwnedFd),
}

/// Runs the spawner until the supervisor is gone.
pub(super) fn run(own: &Own) -> u8 {
    match prepare().and_then(|()| serve(own)) {
        Ok(()) => 0,
        Err(error) => u8::try_from(error.raw_os_error().unwrap_or(1)).unwrap_or(1),
    }
}

/// Does once what every shim would otherwise be the first to do after its fork: asking for the
/// processor's features, each question a trap in a virtual machine, and setting up what libraries
/// set up at their first use. Nothing depends on it but the time to a start.
pub(super) fn warm() {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let identity = procfs::ProcessIdentity::of(own);
    if let Ok(text) = serde_json::to_vec(&(identity, Wall::now())) {
        serde_json::from_slice::<serde_json::Value>(&text).ok();
    }
    #[cfg(target_arch = "x86_64")]
    std::hint::black_box(std::arch::is_x86_feature_detected!("avx2"));
}

/// What the spawner itself holds, and no shim may keep.
pub(super) struct Own {
    pub(super) socket: OwnedFd,
    /// Deaths of children, of whichever process reads it.
    pub(super) signals: SignalFd,
    /// A share of the lock that tells the next supervisor that launches may still be under way.
    turn: OwnedFd,
}

/// Becomes what shims are forked from.
fn prepare() -> io::Result<()> {
    nix::sys::prctl::set_name(c"claw-spawner")?;
    nix::sys::prctl::set_child_subreaper(true)?;
    Ok(())
}

impl Own {
    /// Takes the socket from standard input and the lock from standard output, leaves the
    /// terminal, and arms the signals.
    pub(super) fn take() -> io::Result<Self> {
        let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
        let turn = std::io::stdout().as_fd().try_clone_to_owned()?;
        let null = File::options().read(true).write(true).open("/dev/null")?;
        nix::unistd::dup2_stdin(&null)?;
        nix::unistd::dup2_stdout(&null)?;
        nix::unistd::dup2_stderr(&null)?;
        // Fails for a process group leader only, which a fresh child is not.
        rustix::process::setsid().ok();
        std::env::set_current_dir("/")?;
        signal::restore_all();
        for ignored in IGNORED {
            signal::ignore(ignored)?;
        }
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        mask.thread_set_mask()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&mask, flags)?;
        Ok(Self {
            socket,
            signals,
            turn,
        })
    }
}

fn serve(own: &Own) -> io::Result<()> {
    let (socket, signals) = (&own.socket, &own.signals);
    let mut buffer = vec![0_u8; INLINE_LIMIT + 1];
    let mut shims = BTreeSet::new();
    loop {
        let mut polled = [
            PollFd::new(socket, PollFlags::IN),
            PollFd::new(signals, PollFlags::IN),
        ];
        match rustix::event::poll(&mut polled, None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        let [from_supervisor, from_children] = polled.map(|entry| entry.revents());
        if !from_children.is_empty() {
            while matches!(signals.read_signal(), Ok(Some(_))) {}
            reap(&mut shims);
        }
        // Launches of a supervisor that is gone are not carried out: the next one starts anew.
        if from_supervisor.intersects(PollFlags::HUP | PollFlags::ERR) {
            return Ok(());
        }
        if from_supervisor.contains(PollFlags::IN)
            && let Some(launch) = receive(socket, &mut buffer)?
        {
            shims.extend(launch_shim(launch, &mut buffer, own));
        }
    }
}

/// Waits for the dead, and ends the orphans of shims that did not end by themselves.
fn reap(shims: &mut BTreeSet<i32>) {
    let mut orphaned = false;
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        let was_shim = shims.remove(&pid.as_raw_nonzero().get());
        orphaned |= !was_shim || status.exit_status() != Some(0);
    }
    if orphaned {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        for pid in procfs::descendants(own) {
            let child_of_ours = procfs::Stat::read(pid).is_some_and(|stat| stat.parent == own);
            if child_of_ours && !shims.contains(&pid) {
                signal::send(pid, signal::KILL);
            }
        }
    }
}

fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<Option<Launch>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = match rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(buffer)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
    ) {
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(None),
        other => other?,
    };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            descriptors.extend(fds);
        }
    }
    let mut descriptors = descriptors.into_iter();
    let Some(flags) = buffer[..received.bytes].first().copied() else {
        return Ok(None);
    };
    let Some(stream) = descriptors.next() else {
        return Ok(None);
    };
    let body = if flags & FLAG_MEMORY_FILE == 0 {
        Body::Buffer(received.bytes)
    } else {
        match descriptors.next() {
            Some(file) => Body::MemoryFile(file),
            None => return Ok(None),
        }
    };
    let stdin = descriptors.next().filter(|_| flags & FLAG_STDIN != 0);
    Ok(Some(Launch {
        stream,
        stdin,
        body,
    }))
}

/// Forks a shim; its number, unless the fork failed.
fn launch_shim(launch: Launch, buffer: &mut [u8], own: &Own) -> Option<i32> {
    let mut retries = FORK_RETRIES.iter();
    claw_failpoint::before(Step::ShimFork);
    let forked = loop {
        // SAFETY: this process has one thread, so the child may do whatever the parent may.
        match unsafe { nix::unistd::fork() } {
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::ENOMEM) => match retries.next() {
                Some(span) => signal::pause(*span),
                None => break Err(nix::errno::Errno::EAGAIN),
            },
            other => break other,
        }
    };
    match forked {
        Ok(ForkResult::Child) => {
            let turn = shed(own);
            let code = become_shim(launch, buffer, turn);
            std::process::exit(code)
        }
        Ok(ForkResult::Parent { child }) => {
            claw_failpoint::after(Step::ShimFork);
            forget_secrets(&launch.body, buffer);
            Some(child.as_raw())
        }
        Err(errno) => {
            forget_secrets(&launch.body, buffer);
            refuse(&launch.stream, errno);
            None
        }
    }
}

/// Closes the spawner's descriptors in a shim, where a held socket would keep the spawner's peer
/// from seeing it die, and hands over the share of the lock.
fn shed(own: &Own) -> OwnedFd {
    use std::os::fd::{AsRawFd, FromRawFd};
    for fd in [own.socket.as_raw_fd(), own.signals.as_fd().as_raw_fd()] {
        // SAFETY: the owners of both live in a stack frame that this process never returns to: it
        // ends by `exit`, so no descriptor is closed twice or used after.
        unsafe { rustix::io::close(fd) };
    }
    // SAFETY: as above; from here on the new owner is the only one that runs.
    unsafe { OwnedFd::from_raw_fd(own.turn.as_raw_fd()) }
}

/// The message may hold secrets; the buffer lives on.
fn forget_secrets(body: &Body, buffer: &mut [u8]) {
    if let Body::Buffer(len) = body {
        buffer[..*len].fill(0);
    }
}

fn refuse(stream: &OwnedFd, errno: nix::errno::Errno) {
    let report = Report::SpawnFailed(SpawnError {
        stage: SpawnStage::Fork,
        errno: errno as i32,
        detail: format!("cannot make a process for the shim: {}", errno.desc()),
    });
    // A supervisor that is gone will find that nothing was started.
    rustix::net::send(
        stream,
        &wire::line(&report),
        rustix::net::SendFlags::NOSIGNAL,
    )
    .ok();
}

/// What the forked process does instead of being a spawner.
fn become_shim(launch: Launch, buffer: &mut [u8], turn: OwnedFd) -> i32 {
    let mut from_file;
    let message: &mut [u8] = match launch.body {
        Body::Buffer(len) => &mut buffer[1..len],
        Body::MemoryFile(file) => {
            from_file = Vec::new();
            let limit = u64::try_from(MESSAGE_LIMIT).unwrap_or(u64::MAX);
            if File::from(file)
                .take(limit)
                .read_to_end(&mut from_file)
                .is_err()
            {
                return 1;
            }
            &mut from_file
        }
    };
    let Some(end) = message.iter().position(|byte| *byte == b'\n') else {
        return 1;
    };
    let (task, program) = message.split_at_mut(end);
    match serde_json::from_slice(task) {
        Ok(Task::Shim(task)) => shim::run(*task, program, launch.stream, launch.stdin, turn),
        Ok(Task::Exec(task)) => {
            drop(turn);
            shim::run_command(&task, program, launch.stream)
        }
        Ok(Task::Session(task)) => {
            drop(turn);
            shim::run_session(&task, program, launch.stream)
        }
        Ok(Task::Connect(task)) => {
            drop(turn);
            shim::connect(&task, launch.stream)
        }
        Ok(Task::Succeed(task)) => {
            drop(turn);
            succession::run(&task, program, launch.stream)
        }
        Err(_) => 1,
    }
}
