//! From fork to exec: what happens in the process that becomes the agent.
//!
//! Order matters: the cgroup first, so that limits hold from the start; the run record before
//! privileges go and before anything of the agent runs; the death signal after the change of
//! user, which clears it; the working directory as the user who has to be allowed there.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use claw_core::{InstanceId, SpawnError, SpawnStage, Wall};
use claw_failpoint::Step;
use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::SigSet;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use super::keeper::Keeper;
use super::{confined, exec, guest};
use crate::process::cgroup::{CgroupError, Entrances, Group};
use crate::process::fork::{self, Forked};
use crate::process::procfs::ProcessIdentity;
use crate::process::protocol::Protocol;
use crate::process::record::{InstanceDir, RUN, RunRecord};
use crate::process::signal;
use crate::process::spawner::IGNORED;
use crate::process::wire::{Program, Watchdog};
use crate::sandbox::{self, Confinement, Walls, privileges};

/// Waits between attempts to fork.
const FORK_RETRIES: [Duration; 4] = [
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
];

/// The kernel takes agents first when memory runs out: the supervisor cannot protect itself
/// without a capability it may not have.
const OOM_SCORE: &str = "500";

/// What a child is made of.
pub(super) struct Birth<'a> {
    /// A [`Program`] in JSON; parsed by the child only.
    pub(super) program: &'a [u8],
    /// `None`: what the shim has, `/dev/null`.
    pub(super) stdin: Option<BorrowedFd<'a>>,
    pub(super) stdout: BorrowedFd<'a>,
    pub(super) stderr: BorrowedFd<'a>,
    pub(super) group: &'a Group,
    /// Where to write the run record; commands have none.
    pub(super) record: Option<RecordSlot<'a>>,
    pub(super) confinement: Option<&'a Confinement>,
    pub(super) terminal: ControllingTerminal,
    /// By what the process hands over the listener of its filter, if calls are to be learned.
    pub(super) learner: Option<BorrowedFd<'a>>,
}

/// Whether the standard input of a child is a terminal of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ControllingTerminal {
    None,
    Stdin,
}

/// What the child needs for its run record.
pub(super) struct RecordSlot<'a> {
    pub(super) dir: &'a InstanceDir,
    pub(super) instance: &'a InstanceId,
    pub(super) boot_id: &'a str,
}

/// Who is who, for the run record.
pub(super) struct Parentage {
    pub(super) shim: ProcessIdentity,
    pub(super) main: ProcessIdentity,
    pub(super) keeper: Option<ProcessIdentity>,
}

/// A child on its way.
#[derive(Debug)]
pub(super) struct Newborn {
    pub(super) pid: i32,
    /// At its end once the program is executed; a [`SpawnError`] in JSON comes first if it is not.
    pub(super) verdict: OwnedFd,
    /// The child, if it is not the program's process but keeps its namespaces.
    pub(super) keeper: Option<Keeper>,
}

/// Makes the process. That it is there does not mean that the program could be executed.
pub(super) fn spawn(birth: &Birth<'_>) -> Result<Newborn, SpawnError> {
    if let Some(confinement) = birth.confinement {
        match &confinement.walls {
            Walls::Namespaces(namespaces) => {
                return confined::spawn(birth, confinement, namespaces);
            }
            Walls::Guest(guest) => return guest::spawn(birth, confinement, guest),
            Walls::None | Walls::Rules(_) => {}
        }
    }
    let mut entrances = entrances(birth)?;
    let (verdict, write_end) = verdict_pipe()?;
    let parent = rustix::process::getpid();
    let forked = patiently(&mut entrances, birth.group, |into, modern| {
        if modern {
            fork::fork(into)
        } else {
            fork::fork_plainly()
        }
    });
    match forked? {
        Forked::Parent(pid) => Ok(Newborn {
            pid,
            verdict,
            keeper: None,
        }),
        Forked::Child => report(write_end, &become_program(birth, &entrances, parent)),
    }
}

/// Opens what the child needs to enter its groups.
pub(super) fn entrances(birth: &Birth<'_>) -> Result<Entrances, SpawnError> {
    let entrances = birth.group.entrances();
    entrances.map_err(|error| cgroup_failure(&error))
}

/// Where the child says why it could not execute its program.
pub(super) fn verdict_pipe() -> Result<(OwnedFd, OwnedFd), SpawnError> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|errno| failure(SpawnStage::Prepare, "cannot make a pipe", &errno.into()))
}

/// Ends the child with the reason why it is not the program.
pub(super) fn report(verdict: OwnedFd, error: &SpawnError) -> ! {
    let text = serde_json::to_vec(error).unwrap_or_default();
    // The shim takes an end without a text for success, but this process then dies at once, which
    // it sees as well.
    File::from(verdict).write_all(&text).ok();
    std::process::exit(i32::from(u8::try_from(error.stage as i32).unwrap_or(1)))
}

/// Forks with `fork`, which is told the group to be born in, and whether it may use `clone3(2)`.
pub(super) fn patiently(
    entrances: &mut Entrances,
    group: &Group,
    fork: impl Fn(Option<BorrowedFd<'_>>, bool) -> io::Result<Forked>,
) -> Result<Forked, SpawnError> {
    let mut retries = FORK_RETRIES.iter();
    loop {
        let into = entrances.born_in();
        let modern = into.is_some();
        let error = match fork(into, modern) {
            Ok(forked) => return Ok(forked),
            Err(error) => error,
        };
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::ENOMEM) => match retries.next() {
                Some(span) => signal::pause(*span),
                None => return Err(failure(SpawnStage::Fork, "cannot make a process", &error)),
            },
            Some(_) | None if modern => {
                entrances
                    .enter_instead(group)
                    .map_err(|error| cgroup_failure(&error))?;
            }
            Some(_) | None => {
                return Err(failure(SpawnStage::Fork, "cannot make a process", &error));
            }
        }
    }
}

/// Returns only if it fails.
fn become_program(
    birth: &Birth<'_>,
    entrances: &Entrances,
    parent: rustix::process::Pid,
) -> SpawnError {
    let prepared = prepare(birth, entrances, parent);
    match prepared {
        Ok(program) => {
            claw_failpoint::before(Step::Exec);
            exec::execute(&program)
        }
        Err(error) => error,
    }
}

fn prepare(
    birth: &Birth<'_>,
    entrances: &Entrances,
    parent: rustix::process::Pid,
) -> Result<Program, SpawnError> {
    enter_groups(entrances)?;
    let mut program = parse(birth)?;
    detach(birth).map_err(|error| failure(SpawnStage::Prepare, "cannot set up", &error))?;
    set_limits()?;
    if let Some(slot) = &birth.record {
        plain_parentage(parent)
            .and_then(|parentage| write_record(slot, &parentage, birth))
            .map_err(|error| failure(SpawnStage::Prepare, "cannot write the run record", &error))?;
    }
    assume_user(birth, &program)?;
    die_with(parent)?;
    nix::unistd::chdir(&program.working_dir).map_err(|errno| {
        let what = format!(
            "cannot enter the working directory `{}`",
            program.working_dir.display()
        );
        failure(SpawnStage::WorkingDir, &what, &errno.into())
    })?;
    finish(&mut program);
    if let Some(confinement) = birth.confinement {
        confine(confinement, birth.learner).map_err(sandbox::Fault::into_spawn_error)?;
    }
    Ok(program)
}

/// Moves this process into its groups.
pub(super) fn enter_groups(entrances: &Entrances) -> Result<(), SpawnError> {
    entrances
        .enter()
        .map_err(|error| failure(SpawnStage::Cgroup, "cannot enter the cgroup", &error))
}

/// Reads what the program is.
pub(super) fn parse(birth: &Birth<'_>) -> Result<Program, SpawnError> {
    serde_json::from_slice(birth.program).map_err(|error| SpawnError {
        stage: SpawnStage::Prepare,
        errno: 0,
        detail: format!("the launch description is unreadable: {error}"),
    })
}

/// Tells the program what only its process knows.
pub(super) fn finish(program: &mut Program) {
    if program.watchdog == Watchdog::On {
        program
            .env
            .push(format!("WATCHDOG_PID={}", std::process::id()));
    }
}

/// Confines a process that stays among those of the host.
fn confine(
    confinement: &Confinement,
    learner: Option<BorrowedFd<'_>>,
) -> Result<(), sandbox::Fault> {
    privileges::limit(confinement.limits)?;
    if let Walls::Rules(rules) = &confinement.walls {
        privileges::drop_capabilities()?;
        privileges::forbid_gain()?;
        sandbox::apply(rules)?;
    }
    match &confinement.filter {
        Some(filter) => privileges::forbid_gain().and_then(|()| sandbox::install(filter, learner)),
        None => Ok(()),
    }
}

/// Own session, own standard streams, default signals.
pub(super) fn detach(birth: &Birth<'_>) -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    if let Some(stdin) = birth.stdin {
        nix::unistd::dup2_stdin(stdin)?;
    }
    nix::unistd::dup2_stdout(birth.stdout)?;
    nix::unistd::dup2_stderr(birth.stderr)?;
    if birth.terminal == ControllingTerminal::Stdin {
        rustix::process::ioctl_tiocsctty(std::io::stdin())?;
    }
    // Ignored signals stay ignored across exec. The spawner has restored all others.
    for ignored in IGNORED {
        signal::restore(ignored as i32);
    }
    SigSet::empty().thread_set_mask()?;
    Ok(())
}

/// What holds for every agent.
pub(super) fn set_limits() -> Result<(), SpawnError> {
    // Best effort: a supervisor that is itself scored higher may not lower the score.
    if let Ok(mut file) = File::options().write(true).open("/proc/self/oom_score_adj") {
        file.write_all(OOM_SCORE.as_bytes()).ok();
    }
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(|errno| {
        failure(
            SpawnStage::Limits,
            "cannot forbid core dumps",
            &errno.into(),
        )
    })
}

/// A process of the host's, and its shim.
fn plain_parentage(parent: rustix::process::Pid) -> io::Result<Parentage> {
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    let own = rustix::process::getpid().as_raw_nonzero().get();
    Ok(Parentage {
        shim: ProcessIdentity::of(parent.as_raw_nonzero().get()).ok_or_else(gone)?,
        main: ProcessIdentity::of(own).ok_or_else(gone)?,
        keeper: None,
    })
}

/// Writes down that the instance was started, as what.
pub(super) fn write_record(
    slot: &RecordSlot<'_>,
    parentage: &Parentage,
    birth: &Birth<'_>,
) -> io::Result<()> {
    let record = RunRecord {
        protocol: Protocol::OURS,
        instance: slot.instance.clone(),
        shim: parentage.shim,
        main: parentage.main,
        boot_id: slot.boot_id.to_owned(),
        at: Wall::now(),
        group: birth.group.clone(),
        plan: birth
            .confinement
            .map(|confinement| confinement.plan.clone()),
        keeper: parentage.keeper,
    };
    slot.dir.write(RUN, &record)
}

/// Groups are set, never inherited: those of the supervisor's terminal open doors.
fn assume_user(birth: &Birth<'_>, program: &Program) -> Result<(), SpawnError> {
    if let Some(confinement) = birth.confinement
        && let Walls::Rules(_) = &confinement.walls
    {
        // While this process still can.
        privileges::empty_bounding_set();
    }
    let failed = |what: &str, errno: nix::errno::Errno| {
        failure(SpawnStage::User, what, &io::Error::from(errno))
    };
    let Some(user) = &program.user else {
        if Uid::effective().is_root() {
            setgroups(&[]).map_err(|errno| failed("cannot clear the groups", errno))?;
        }
        return Ok(());
    };
    let what = format!("cannot become the user `{}`", user.name);
    let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
    if Uid::effective().is_root() {
        setgroups(&groups).map_err(|errno| failed(&what, errno))?;
    }
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    setresgid(gid, gid, gid).map_err(|errno| failed(&what, errno))?;
    setresuid(uid, uid, uid).map_err(|errno| failed(&what, errno))
}

/// The agent dies with its shim: an agent that nobody watches is worse than none.
fn die_with(parent: rustix::process::Pid) -> Result<(), SpawnError> {
    let signal = Some(rustix::process::Signal::KILL);
    rustix::process::set_parent_process_death_signal(signal).map_err(|errno| {
        failure(
            SpawnStage::Prepare,
            "cannot arm the death signal",
            &errno.into(),
        )
    })?;
    if rustix::process::getppid() == Some(parent) {
        return Ok(());
    }
    Err(SpawnError {
        stage: SpawnStage::Prepare,
        errno: 0,
        detail: "the shim died during the start".to_owned(),
    })
}

/// The same for a process whose parent may be gone already, which then ends at once.
pub(super) fn die_with_parent(parent: Option<rustix::process::Pid>) {
    let armed = parent.is_some_and(|parent| die_with(parent).is_ok());
    if !armed {
        std::process::exit(1);
    }
}

/// A failure as a sentence.
pub(super) fn failure(stage: SpawnStage, what: &str, error: &io::Error) -> SpawnError {
    let errno = error.raw_os_error().unwrap_or(0);
    SpawnError {
        stage,
        errno,
        detail: format!("{what}: {}", exec::reason(error)),
    }
}

/// A failure of a cgroup as a sentence; it names the file itself.
pub(super) fn cgroup_failure(error: &CgroupError) -> SpawnError {
    SpawnError {
        stage: SpawnStage::Cgroup,
        errno: error.errno(),
        detail: format!("{error}: {}", exec::reason(error.io())),
    }
}

/// Reads the verdict of a child once its pipe is at its end.
pub(super) fn verdict(pipe: &OwnedFd) -> Option<SpawnError> {
    let mut text = Vec::new();
    let mut buffer = [0_u8; 1024];
    while let Ok(count @ 1..) = rustix::io::read(pipe.as_fd(), &mut buffer) {
        text.extend_from_slice(&buffer[..count]);
    }
    // Of those who may both have failed, the first said why.
    let mut errors = serde_json::Deserializer::from_slice(&text).into_iter();
    errors.next()?.ok()
}
