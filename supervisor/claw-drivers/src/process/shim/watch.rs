//! The shim's life: one loop that waits for everything at once and for nothing else.

use std::os::fd::OwnedFd;
use std::time::Instant;

use claw_core::{ExitReport, ExitStatus, SpawnError, Wall};
use claw_failpoint::Step;
use rustix::event::{PollFd, PollFlags};

use super::child::{self, Birth, ControllingTerminal, RecordSlot};
use super::deadline::{Due, KillTimer, until};
use super::farewell::{self, Departure};
use super::keeper::{Keeper, Ready, Rest, Said};
use super::learner::Learner;
use super::main_process::MainProcess;
use super::notify::{self, Received};
use super::output::Activity;
use super::peer::Peer;
use super::prepare::{self, Holdings};
use super::tree::{self, Children};
use crate::process::procfs::{self, ProcessIdentity};
use crate::process::protocol::Protocol;
use crate::process::signal;
use crate::process::wire::{Report, Request, ShimTask, Standing};
use crate::sandbox::Confinement;

/// Where the instance stands.
#[derive(Debug)]
enum Phase {
    /// The child exists; whether it could execute the program is not known yet. Until it has, it
    /// ignores what would end it, so signals are held back.
    Starting { verdict: OwnedFd, held: Vec<i32> },
    /// The program runs.
    Running,
    /// The main process ended so; what is left of the tree is being ended.
    Ending {
        status: ExitStatus,
        at: Wall,
        leftovers: u32,
        told: Told,
    },
}

/// Whether the supervisor has been told that the main process is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Yes,
    /// It is, unless the end of the whole tree, which says the same, follows at once.
    NotYet,
}

/// What the loop found ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Peer,
    Listener,
    Notify,
    Children,
    Verdict,
    Main,
    Keeper,
    Output,
    Learner,
}

struct Shim {
    task: ShimTask,
    holdings: Holdings,
    peer: Peer,
    main: MainProcess,
    /// The process that keeps the namespaces of the main one, if it has its own.
    keeper: Option<Keeper>,
    /// What the keeper said of the end of the main process, until it is gone itself.
    last_word: Option<ExitStatus>,
    /// Told to every supervisor, with `Standing`.
    listeners: Vec<OwnedFd>,
    /// What its calls are learned with, if they are.
    learner: Option<Learner>,
    phase: Phase,
    children: Children,
    /// Told to every supervisor that connects; `None` until the program runs.
    standing: Option<Standing>,
    kill_timer: KillTimer,
    departure: Departure,
    last_progress: Instant,
    unreported_progress: bool,
}

/// Runs an instance from its start to its end; the exit code says whether that went as it should.
/// `turn` is a share of the spawner's lock, held until this instance can be found without it.
pub(in crate::process) fn run(
    task: ShimTask,
    program: &mut [u8],
    stream: OwnedFd,
    stdin: Option<OwnedFd>,
    turn: OwnedFd,
) -> i32 {
    let prepared = prepare::prepare(&task, &stream);
    // The next supervisor finds this instance by its own lock and socket from here on.
    drop(turn);
    let mut peer = Peer::new(Some(stream));
    let (prepared, ends) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return farewell::refuse(&mut peer, error),
    };
    let learning = Learner::of(task.confinement.as_deref()).unwrap_or_default();
    let birth = Birth {
        program,
        stdin: stdin.as_ref().map(std::os::fd::AsFd::as_fd),
        stdout: std::os::fd::AsFd::as_fd(&ends.stdout),
        stderr: std::os::fd::AsFd::as_fd(&ends.stderr),
        group: &task.group,
        record: Some(RecordSlot {
            dir: &prepared.dir,
            instance: &task.instance,
            boot_id: &task.boot_id,
        }),
        confinement: task.confinement.as_deref(),
        terminal: ControllingTerminal::None,
        learner: learning
            .as_ref()
            .map(|(_, socket)| std::os::fd::AsFd::as_fd(socket)),
    };
    claw_failpoint::before(Step::ChildFork);
    let newborn = match child::spawn(&birth) {
        Ok(newborn) => newborn,
        Err(error) => {
            drop(prepared);
            let code = farewell::refuse(&mut peer, error);
            farewell::remove_group(&task.group);
            return code;
        }
    };
    claw_failpoint::after(Step::ChildFork);
    // The child has its own copy by now; this one held the secrets too.
    program.fill(0);
    drop((ends, stdin));
    let shim = Shim {
        main: MainProcess::child(newborn.pid),
        keeper: newborn.keeper,
        last_word: None,
        listeners: Vec::new(),
        learner: learning.map(|(learner, _socket)| learner),
        phase: Phase::Starting {
            verdict: newborn.verdict,
            held: Vec::new(),
        },
        children: Children::Left,
        standing: None,
        kill_timer: KillTimer::new(),
        departure: Departure::Unasked,
        last_progress: Instant::now(),
        unreported_progress: false,
        holdings: prepared.complete(&task),
        task,
        peer,
    };
    shim.watch()
}

impl Shim {
    fn watch(mut self) -> i32 {
        loop {
            let ready = self.wait();
            if let Some(learner) = self
                .learner
                .as_mut()
                .filter(|_| ready.contains(&Source::Learner))
            {
                learner.attend();
            }
            // Notifications before deaths: a sender that died is known only until it is reaped.
            if ready.contains(&Source::Notify) {
                self.take_notifications();
            }
            if ready.contains(&Source::Output) {
                self.take_output();
            }
            let exited = self.take_deaths(&ready);
            if (ready.contains(&Source::Verdict) || exited.is_some())
                && let Some(error) = self.take_verdict()
            {
                return farewell::fail(&self.task, self.holdings, self.peer, error);
            }
            if let Some(status) = exited {
                self.main_exited(status);
            }
            if ready.contains(&Source::Peer) {
                self.take_requests();
            }
            if ready.contains(&Source::Listener) {
                self.accept();
            }
            self.on_deadlines();
            if let Some(report) = self.ended() {
                if self.learner.is_some() {
                    self.tell_learned();
                }
                let last_words = (&report, self.departure);
                return farewell::finish(&self.task, self.holdings, self.peer, last_words);
            }
            self.tell_of_main();
        }
    }

    fn wait(&self) -> Vec<Source> {
        let mut polled = Vec::with_capacity(8);
        let mut sources = Vec::with_capacity(8);
        let mut add = |fd, flags, source| {
            polled.push(PollFd::from_borrowed_fd(fd, flags));
            sources.push(source);
        };
        use std::os::fd::AsFd;
        add(
            self.holdings.signals.as_fd(),
            PollFlags::IN,
            Source::Children,
        );
        add(
            self.holdings.notify.interest(),
            PollFlags::IN,
            Source::Notify,
        );
        add(
            self.holdings.listener.as_fd(),
            PollFlags::IN,
            Source::Listener,
        );
        if let Some((fd, flags)) = self.peer.interest() {
            add(fd, flags, Source::Peer);
        }
        for fd in self.holdings.output.interest().into_iter().flatten() {
            add(fd, PollFlags::IN, Source::Output);
        }
        if let Phase::Starting { verdict, .. } = &self.phase {
            add(verdict.as_fd(), PollFlags::IN, Source::Verdict);
        }
        if let Some(fd) = self.main.interest() {
            add(fd, PollFlags::IN, Source::Main);
        }
        if let Some(fd) = self.keeper.as_ref().and_then(Keeper::interest) {
            add(fd, PollFlags::IN, Source::Keeper);
        }
        if let Some(fd) = self.learner.as_ref().and_then(Learner::interest) {
            add(fd, PollFlags::IN, Source::Learner);
        }
        let timeout = self.deadline().map(until);
        if rustix::event::poll(&mut polled, timeout.as_ref()).is_err() {
            return Vec::new();
        }
        let ready = polled.iter().zip(sources);
        ready
            .filter(|(fd, _)| !fd.revents().is_empty())
            .map(|(_, source)| source)
            .collect()
    }

    fn deadline(&self) -> Option<Instant> {
        let progress = self.task.progress.filter(|_| self.unreported_progress);
        let progress = progress.map(|interval| self.last_progress + interval);
        [
            self.kill_timer.deadline(),
            progress,
            self.holdings.output.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn on_deadlines(&mut self) {
        let now = Instant::now();
        self.holdings.output.on_deadline();
        if self.kill_timer.take(now) == Due::Now {
            tree::kill(&self.task.group);
        }
        let due = self
            .task
            .progress
            .is_some_and(|interval| now >= self.last_progress + interval);
        if self.unreported_progress && due {
            self.peer.tell(&Report::Progressed);
            self.last_progress = now;
            self.unreported_progress = false;
        }
    }

    fn take_output(&mut self) {
        if self.holdings.output.pump() == Activity::Spoke {
            self.unreported_progress = true;
        }
    }

    fn take_notifications(&mut self) {
        let received = self.holdings.notify.receive();
        if !received.is_empty() {
            // Nothing but the program itself can have sent it, so the program was executed.
            let failed = self.take_verdict();
            debug_assert!(failed.is_none(), "a program that was not executed spoke");
        }
        for Received { text, main } in received {
            let taken = main.is_none_or(|pid| self.follow(pid));
            let told = if taken {
                text
            } else {
                notify::without_main(&text)
            };
            let told = self.holdings.output.masked(told);
            self.peer.tell(&Report::Notified(told));
        }
    }

    /// Whether the main process is that one now: only one of the tree can be.
    fn follow(&mut self, pid: i32) -> bool {
        let Some(pid) = self.host_number(pid) else {
            return false;
        };
        if pid == self.main.pid {
            return true;
        }
        let (Phase::Running, Some(named)) = (&self.phase, MainProcess::named(pid)) else {
            return false;
        };
        self.main = named;
        if let (Some(standing), Some(identity)) = (&mut self.standing, ProcessIdentity::of(pid)) {
            standing.main = identity;
        }
        true
    }

    /// What the host calls a process that the agent calls by this number.
    fn host_number(&self, pid: i32) -> Option<i32> {
        if self.keeper.is_none() {
            return Some(pid);
        }
        procfs::by_inner_number(&tree::members(&self.task.group), pid)
    }

    /// Waits for the dead; how the main process ended, if it did.
    fn take_deaths(&mut self, ready: &[Source]) -> Option<ExitStatus> {
        let mut exited = None;
        if ready.contains(&Source::Keeper) {
            exited = self.hear_keeper();
        }
        if ready.contains(&Source::Children) {
            while matches!(self.holdings.signals.read_signal(), Ok(Some(_))) {}
            let main = self.main.pid;
            let mut kept = None;
            let keeper = self.keeper.as_ref().map(|keeper| keeper.pid);
            self.children = tree::reap(|pid, status| {
                if Some(pid) == keeper {
                    kept = Some(status);
                } else if pid == main {
                    exited = Some(status);
                }
            });
            if let Some(status) = kept {
                exited = exited.or_else(|| self.lose_keeper(status));
            }
        }
        if exited.is_none() && ready.contains(&Source::Main) {
            exited = Some(self.main.foreign_exit());
        }
        exited
    }

    /// Takes what the keeper has to say; how the main process ended, if something outlives it.
    fn hear_keeper(&mut self) -> Option<ExitStatus> {
        let mut exited = None;
        while let Some(said) = self.keeper.as_mut().and_then(Keeper::said) {
            match said {
                Said::Ready(ready) => self.begin(ready),
                Said::Ended(_, _) if !self.main.is_kept() => {}
                Said::Ended(status, Rest::Some) => exited = Some(status),
                Said::Ended(status, Rest::None) => self.last_word = Some(status),
            }
        }
        exited
    }

    /// The main process is known.
    fn begin(&mut self, ready: Ready) {
        self.main = MainProcess::kept(ready.main.pid, ready.pidfd);
        self.listeners = ready.listeners;
        if let Some(keeper) = &mut self.keeper {
            keeper.identity = Some((ready.keeper, ready.main));
        }
    }

    /// The keeper is gone, and everything that it kept; how the main process ended, if it was one
    /// of that. One whose end it did not say was killed with it.
    fn lose_keeper(&mut self, status: ExitStatus) -> Option<ExitStatus> {
        let last_words = self.hear_keeper();
        let identity = self.keeper.take().and_then(|keeper| keeper.identity);
        let kept = self.main.is_kept() || identity.is_none();
        kept.then(|| self.last_word.or(last_words).unwrap_or(status))
    }

    /// Learns whether the program was executed; the error if it was not.
    fn take_verdict(&mut self) -> Option<SpawnError> {
        let Phase::Starting { verdict, .. } = &self.phase else {
            return None;
        };
        if let Some(error) = child::verdict(verdict) {
            return Some(error);
        }
        claw_failpoint::after(Step::Exec);
        // It was said before the program was executed.
        self.last_word = self.hear_keeper().or(self.last_word);
        let Phase::Starting { held, .. } = &mut self.phase else {
            return None;
        };
        for number in std::mem::take(held) {
            self.main.signal(number);
        }
        self.phase = Phase::Running;
        let identity = ProcessIdentity::of(self.main.pid).unwrap_or(ProcessIdentity {
            pid: self.main.pid,
            start: 0,
        });
        let keeper = self.keeper.as_ref().and_then(|keeper| keeper.identity);
        let confinement = self.task.confinement.as_deref();
        let ports = confinement.map(Confinement::ports);
        let standing = Standing {
            protocol: Protocol::OURS,
            main: keeper.map_or(identity, |(_, main)| main),
            keeper: keeper.map(|(keeper, _)| keeper),
            at: Wall::now(),
            exited: None,
            notified: String::new(),
            ports: Some(ports.unwrap_or_default()),
        };
        let report = Report::Started(standing.clone());
        claw_failpoint::before(Step::StartReport);
        self.peer.tell_with(&report, &self.listeners);
        claw_failpoint::after(Step::StartReport);
        self.standing = Some(standing);
        None
    }

    fn main_exited(&mut self, status: ExitStatus) {
        if !matches!(self.phase, Phase::Running) {
            return;
        }
        if let Some(standing) = &mut self.standing {
            standing.exited = Some(status);
        }
        self.main = MainProcess::child(0);
        let mut leftovers = 0;
        if self.children == Children::Left {
            let mut left = tree::members(&self.task.group);
            left.retain(|pid| self.keeper.as_ref().is_none_or(|keeper| *pid != keeper.pid));
            leftovers = u32::try_from(left.len()).unwrap_or(u32::MAX);
            for pid in left {
                signal::send(pid, self.task.stop_signal);
                signal::send(pid, signal::CONT);
            }
            self.kill_timer.main_exited(Instant::now());
        }
        self.phase = Phase::Ending {
            status,
            at: Wall::now(),
            leftovers,
            told: Told::NotYet,
        };
    }

    fn tell_learned(&mut self) {
        let learner = self.learner.as_ref();
        let calls = learner.map(Learner::calls).unwrap_or_default();
        self.peer.tell(&Report::Learned(calls));
    }

    fn tell_of_main(&mut self) {
        if let Phase::Ending { status, told, .. } = &mut self.phase
            && *told == Told::NotYet
        {
            *told = Told::Yes;
            self.peer.tell(&Report::MainExited(*status));
        }
    }

    fn take_requests(&mut self) {
        self.peer.flush();
        for request in self.peer.requests() {
            match request {
                Request::Signal(number) => self.signal_main(number),
                Request::Kill => {
                    self.departure = Departure::Asked;
                    self.kill_timer.kill(Instant::now());
                }
                Request::Freeze => tree::freeze(&self.task.group),
                Request::Thaw => tree::thaw(&self.task.group),
                Request::Learned => self.tell_learned(),
            }
        }
    }

    fn signal_main(&mut self, number: i32) {
        let stops = number == self.task.stop_signal;
        // A stopped process would sleep through what is to end it.
        for number in [Some(number), stops.then_some(signal::CONT)]
            .into_iter()
            .flatten()
        {
            match &mut self.phase {
                Phase::Starting { held, .. } => held.push(number),
                Phase::Running | Phase::Ending { .. } => self.main.signal(number),
            }
        }
        if stops {
            self.departure = Departure::Asked;
            self.kill_timer
                .stop_began(Instant::now(), self.task.stop_grace);
        }
    }

    /// Takes a new supervisor in place of the old one, and tells it where the instance stands.
    fn accept(&mut self) {
        let flags = rustix::net::SocketFlags::CLOEXEC;
        let Ok(stream) = rustix::net::accept_with(&self.holdings.listener, flags) else {
            return;
        };
        let own = rustix::process::geteuid();
        let ours = rustix::net::sockopt::socket_peercred(&stream).is_ok_and(|peer| {
            // Where users are not told apart, an agent without namespaces is as we are.
            let pid = peer.pid.as_raw_nonzero().get();
            (peer.uid == own || peer.uid.is_root()) && !procfs::is_confined(pid)
        });
        if !ours {
            return;
        }
        self.peer = Peer::new(Some(stream));
        if let Some(standing) = &self.standing {
            let mut standing = standing.clone();
            standing.notified = self.holdings.notify.remembered();
            let report = Report::Started(standing);
            self.peer.tell_with(&report, &self.listeners);
        }
    }

    /// What there is to say once nothing of the instance is left.
    fn ended(&mut self) -> Option<ExitReport> {
        let Phase::Ending {
            status,
            at,
            leftovers,
            told: _,
        } = self.phase
        else {
            return None;
        };
        if self.children == Children::Left {
            return None;
        }
        if self.task.group.is_populated() {
            // Guests: a probe, or somebody who entered the group by hand.
            self.kill_timer.begin(Instant::now());
            return None;
        }
        let group = &self.task.group;
        let (reaped_cpu, largest) = tree::reaped_usage();
        Some(ExitReport {
            status,
            at,
            oom_kills: group.oom_kills(),
            leftovers,
            cpu_us: group.cpu_us().unwrap_or(reaped_cpu),
            memory_peak: group.memory_peak().unwrap_or(largest),
            log: self.holdings.output.finish(),
        })
    }
}
