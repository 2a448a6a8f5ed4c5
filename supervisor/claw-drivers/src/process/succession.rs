//! Handing over to another supervisor: it is started once this one has ended, and this one's
//! executable again if that comes to nothing.
//!
//! ```text
//!  supervisor ──task──► spawner ──fork──► successor
//!      │  ▲                                  ├─ waits for the end of the supervisor
//!      │  └───── stands by ──────────────────┤
//!      └── ends, agents go on                ├─ starts the new one ──ready──► outcome, exit
//!                                            └─ not ready in time: kills it, starts the old one
//! ```
//!
//! A supervisor that executed the new one in its own place would hand down its filter of system
//! calls, which nothing takes away again, and there would be nobody left to go back. The successor
//! is a fork of the spawner, which is not locked down and whose executable is the old one, also
//! when another file lies in its place by now.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use claw_core::{SpawnError, SpawnStage};
use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags};
use serde::{Deserialize, Serialize};

use super::driver::ProcessDriver;
use super::instance::Connection;
use super::procfs::ProcessIdentity;
use super::signal;
use super::spawner::IGNORED;
use super::wire::{self, Program, Report, SuccessionTask, Task, Watchdog};

/// The old executable has come up before, and after it there is nothing else to try.
const WAY_BACK: Duration = Duration::from_secs(60);

/// Between looks at a supervisor that comes up; a person does not notice this.
const STEP: Duration = Duration::from_millis(20);

/// How long a supervisor that comes up may take for one answer.
const ANSWER: Duration = Duration::from_secs(1);

/// The question whether it is ready.
const QUESTION: &[u8] = b"GET /api/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// How the answer begins if it is.
const YES: &[u8] = b"HTTP/1.1 200";

/// Who comes after this supervisor.
#[derive(Debug, Clone)]
pub struct Successor {
    /// Its executable. It gets the arguments, the environment and the working directory of this
    /// process.
    pub binary: PathBuf,
    /// Where it answers `GET /api/ready`.
    pub socket: PathBuf,
    /// What it writes of itself is appended to this file.
    pub log: PathBuf,
    /// Where the [`Outcome`] is written, as JSON, whole or not at all.
    pub outcome: PathBuf,
    /// How long it may take until it is ready; for the way back at least a minute.
    pub patience: Duration,
}

/// What a succession came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The new supervisor is ready.
    TakenOver {
        /// Its process id.
        pid: u32,
    },
    /// It did not come up, and the old one is ready again.
    WentBack {
        /// The process id of the old one, which is a new process.
        pid: u32,
        /// What became of the new one, for people.
        reason: String,
    },
    /// Neither came up. Agents go on without a supervisor.
    Down {
        /// What became of the new one, for people.
        reason: String,
        /// What became of the old one, for people.
        back: String,
    },
}

impl ProcessDriver {
    /// Has somebody stand by who starts the successor once this process has ended. When this
    /// returns, the end of this process is all that is waited for.
    ///
    /// # Errors
    ///
    /// There is no process for it; nothing has changed then.
    pub async fn hand_over(&self, successor: Successor) -> Result<(), SpawnError> {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let supervisor = ProcessIdentity::of(own).ok_or_else(|| failed("/proc is unreadable"))?;
        let working_dir = std::env::current_dir();
        let working_dir = working_dir
            .map_err(|_gone| failed("the working directory of the supervisor is gone"))?;
        let task = SuccessionTask {
            supervisor,
            binary: successor.binary,
            socket: successor.socket,
            log: successor.log,
            outcome: successor.outcome,
            patience: successor.patience,
        };
        // What is no text, nobody has asked a fleet file to refer to.
        let variables = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
        let program = Program {
            command: std::env::args_os()
                .map(|word| word.to_string_lossy().into_owned())
                .collect(),
            env: variables
                .map(|(key, value)| format!("{key}={value}"))
                .collect(),
            watchdog: Watchdog::Off,
            working_dir,
            user: None,
        };
        let task = Task::Succeed(Box::new(task));
        let launched = self.inner.link.launch(&task, &program, None);
        let stream = launched.await.map_err(|error| SpawnError {
            stage: SpawnStage::Fork,
            errno: error.errno(),
            detail: error.sentence(),
        })?;
        match Connection::new(stream).next().await {
            Some(Report::Opened) => Ok(()),
            Some(Report::SpawnFailed(error)) => Err(error),
            Some(_) | None => Err(failed("the process that was to start the successor died")),
        }
    }
}

fn failed(detail: &str) -> SpawnError {
    SpawnError {
        stage: SpawnStage::Prepare,
        errno: 0,
        detail: detail.to_owned(),
    }
}

/// Stands by, and starts the successor; the exit code. Runs in a fork of the spawner.
pub(super) fn run(task: &SuccessionTask, program: &[u8], stream: OwnedFd) -> i32 {
    let Ok(program) = serde_json::from_slice::<Program>(program) else {
        return 1;
    };
    // Neither changes what is done here.
    nix::sys::prctl::set_name(c"claw-successor").ok();
    rustix::process::setsid().ok();
    let ready = wire::line(&Report::Opened);
    if rustix::net::send(&stream, &ready, rustix::net::SendFlags::NOSIGNAL).is_err() {
        return 1;
    }
    let back = SuccessionTask {
        patience: task.patience.max(WAY_BACK),
        ..task.clone()
    };
    await_end(task.supervisor);
    drop(stream);
    let outcome = match start(task, &task.binary, &program) {
        Ok(pid) => Outcome::TakenOver { pid },
        Err(reason) => match start(&back, Path::new("/proc/self/exe"), &program) {
            Ok(pid) => Outcome::WentBack { pid, reason },
            Err(back) => Outcome::Down { reason, back },
        },
    };
    i32::from(write(&task.outcome, &outcome).is_err())
}

/// Waits for the end of a process; of one that is gone, not at all.
fn await_end(of: ProcessIdentity) {
    let Some(pid) = Pid::from_raw(of.pid) else {
        return;
    };
    let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    if !of.is_there() {
        return;
    }
    loop {
        let mut polled = [PollFd::new(&pidfd, PollFlags::IN)];
        match rustix::event::poll(&mut polled, None) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(_) | Err(_) => return,
        }
    }
}

/// Starts a supervisor and waits until it is ready; its process id, or why nothing came of it.
fn start(task: &SuccessionTask, executable: &Path, program: &Program) -> Result<u32, String> {
    let mut child = launch(task, executable, program)
        .map_err(|error| format!("it could not be executed: {error}"))?;
    let deadline = Instant::now() + task.patience;
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Err(format!("it ended at its start ({status})"));
        }
        if is_ready(&task.socket, child.id()) {
            return Ok(child.id());
        }
        if Instant::now() >= deadline {
            // It may have ended by itself since.
            child.kill().ok();
            child.wait().ok();
            let seconds = task.patience.as_secs_f64();
            return Err(format!("it was not ready within {seconds} s"));
        }
        signal::pause(STEP);
    }
}

fn launch(task: &SuccessionTask, executable: &Path, program: &Program) -> io::Result<Child> {
    let log = File::options().create(true).append(true).open(&task.log)?;
    let (own_name, arguments) = program
        .command
        .split_first()
        .ok_or(io::ErrorKind::InvalidInput)?;
    let variables = program.env.iter().filter_map(|entry| entry.split_once('='));
    let mut command = Command::new(executable);
    if executable == task.binary {
        command.arg0(executable);
    } else {
        command.arg0(own_name);
    }
    command
        .args(arguments)
        .env_clear()
        .envs(variables)
        .current_dir(&program.working_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0);
    // What is ignored here would be there, too.
    signal::restore_all();
    let child = command.spawn();
    for ignored in IGNORED {
        // It may only be ended by more signals than before.
        signal::ignore(ignored).ok();
    }
    child
}

/// Whether this very process says that it is ready.
fn is_ready(socket: &Path, pid: u32) -> bool {
    let ask = || -> io::Result<bool> {
        let mut stream = UnixStream::connect(socket)?;
        let peer = rustix::net::sockopt::socket_peercred(&stream)?;
        if peer.pid.as_raw_nonzero().get().unsigned_abs() != pid {
            return Ok(false);
        }
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        stream.write_all(QUESTION)?;
        let mut begin = [0; YES.len()];
        stream.read_exact(&mut begin)?;
        Ok(begin == YES)
    };
    ask().unwrap_or(false)
}

fn write(path: &Path, outcome: &Outcome) -> io::Result<()> {
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, serde_json::to_vec(outcome)?)?;
    std::fs::rename(fresh, path)
}
