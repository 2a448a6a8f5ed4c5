//! What is done to the fleet.

use std::fmt;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::process::Signal;

use crate::dice::Dice;
use crate::fleet::{Process, holds_for, until};

use super::Soak;
use super::crowd::Crowd;

/// How long something stands still at most.
const STANDSTILL: Duration = Duration::from_secs(3);

/// How many clients hang at once: fewer than are served beside each other.
const HANGING: usize = 20;

/// How many runs are asked for at once.
const TRIGGERS: usize = 60;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    SupervisorKilled,
    SupervisorAndShimKilled,
    SpawnerKilled,
    ShimKilled,
    AgentKilled,
    SupervisorStopped,
    ShimStopped,
    AgentStopped,
    FileChanged,
    FileBroken,
    Triggers,
    StopAndStart,
    Restart,
    PauseAndResume,
    HaltAndLift,
    DiskFull,
    ClientsHang,
}

/// Kills of the supervisor are what most can go wrong with.
const ROLLED: [Fault; 20] = [
    Fault::SupervisorKilled,
    Fault::SupervisorKilled,
    Fault::SupervisorKilled,
    Fault::SupervisorAndShimKilled,
    Fault::SpawnerKilled,
    Fault::ShimKilled,
    Fault::ShimKilled,
    Fault::AgentKilled,
    Fault::SupervisorStopped,
    Fault::ShimStopped,
    Fault::AgentStopped,
    Fault::FileChanged,
    Fault::FileBroken,
    Fault::Triggers,
    Fault::StopAndStart,
    Fault::Restart,
    Fault::PauseAndResume,
    Fault::HaltAndLift,
    Fault::DiskFull,
    Fault::ClientsHang,
];

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::SupervisorKilled => "supervisor killed",
            Self::SupervisorAndShimKilled => "supervisor and a shim killed",
            Self::SpawnerKilled => "fork server killed",
            Self::ShimKilled => "shim killed",
            Self::AgentKilled => "agent killed",
            Self::SupervisorStopped => "supervisor stopped for a while",
            Self::ShimStopped => "shim stopped for a while",
            Self::AgentStopped => "agent stopped for a while",
            Self::FileChanged => "fleet file changed",
            Self::FileBroken => "fleet file broken",
            Self::Triggers => "many runs asked for at once",
            Self::StopAndStart => "agent stopped and started by hand",
            Self::Restart => "agent restarted by hand",
            Self::PauseAndResume => "agent paused and resumed",
            Self::HaltAndLift => "agent halted and let go",
            Self::DiskFull => "disk full for a while",
            Self::ClientsHang => "clients that say half a request",
        })
    }
}

impl Fault {
    pub(super) fn rolled(dice: &mut Dice) -> Self {
        ROLLED[index(dice, ROLLED.len())]
    }

    /// Does it, and undoes what does not end by itself.
    pub(super) fn strike(self, soak: &mut Soak) {
        match self {
            Self::SupervisorKilled => kill_supervisor(soak),
            Self::SupervisorAndShimKilled => {
                signal_one(soak, Signal::KILL, Process::is_shim);
                kill_supervisor(soak);
            }
            Self::SpawnerKilled => drop(signal_one(soak, Signal::KILL, Process::is_spawner)),
            Self::ShimKilled => drop(signal_one(soak, Signal::KILL, Process::is_shim)),
            Self::AgentKilled => drop(signal_one(soak, Signal::KILL, is_agent)),
            Self::SupervisorStopped => {
                soak.fleet.signal(Signal::STOP);
                stand_still(soak);
                soak.fleet.signal(Signal::CONT);
            }
            Self::ShimStopped => stop_one(soak, Process::is_shim),
            Self::AgentStopped => stop_one(soak, is_agent),
            Self::FileChanged => {
                // Before it listens, a signal ends it as it would any program.
                soak.fleet.await_answer();
                let version = soak.dice.below(1_000);
                soak.crowd.write(&soak.fleet, version);
                soak.fleet.signal(Signal::HUP);
            }
            Self::FileBroken => {
                let whole = soak.crowd.text(&soak.fleet, 0);
                let cut = index(&mut soak.dice, whole.len());
                soak.fleet.write_raw(&format!("{}\n: [", &whole[..cut]));
                soak.fleet.await_answer();
                // The file would say where the supervisor is, and cannot.
                let socket = soak.fleet.data().join("control.sock");
                let host = format!("unix:{}", socket.display());
                soak.fleet.run(&["--host", &host, "apply"]).exits(78);
                soak.crowd.write(&soak.fleet, 0);
            }
            Self::Triggers => trigger(soak),
            Self::StopAndStart => by_hand(soak, &["stop"], &["start"]),
            Self::Restart => by_hand(soak, &["restart"], &["start"]),
            Self::PauseAndResume => by_hand(soak, &["pause"], &["resume"]),
            Self::HaltAndLift => {
                let levels = ["runs", "egress", "freeze", "kill"];
                let level = levels[index(&mut soak.dice, levels.len())];
                by_hand(
                    soak,
                    &["halt", "--level", level],
                    &["resume", "--halt", "--yes"],
                );
            }
            Self::DiskFull => fill(soak),
            Self::ClientsHang => hang(soak),
        }
    }
}

fn index(dice: &mut Dice, length: usize) -> usize {
    let length = u64::try_from(length).unwrap();
    usize::try_from(dice.below(length)).unwrap()
}

/// Some time with whatever was done, in which nothing happens to others.
fn stand_still(soak: &mut Soak) {
    let span = soak.dice.time(STANDSTILL);
    holds_for(span, "time passes", || true);
}

/// The next one is not always waited for: the next fault may find it in the middle of its start.
fn kill_supervisor(soak: &mut Soak) {
    soak.fleet.kill();
    soak.fleet.start();
    if soak.dice.below(3) > 0 {
        soak.fleet.await_answer();
    }
}

fn is_agent(process: &Process) -> bool {
    process.command.contains("test-agent") || process.command.contains("python3")
}

fn signal_one(soak: &mut Soak, signal: Signal, kind: fn(&Process) -> bool) -> Option<Process> {
    let all = soak.fleet.processes().into_iter();
    let of_kind: Vec<Process> = all.filter(kind).collect();
    if of_kind.is_empty() {
        return None;
    }
    let chosen = of_kind[index(&mut soak.dice, of_kind.len())].clone();
    chosen.signal(signal);
    Some(chosen)
}

fn stop_one(soak: &mut Soak, kind: fn(&Process) -> bool) {
    if let Some(stopped) = signal_one(soak, Signal::STOP, kind) {
        stand_still(soak);
        stopped.signal(Signal::CONT);
    }
}

fn trigger(soak: &mut Soak) {
    soak.fleet.await_answer();
    let names: Vec<String> = Crowd::on_call().collect();
    let name = &names[index(&mut soak.dice, names.len())];
    let path = format!("/api/agents/{name}/trigger");
    for _ in 0..TRIGGERS {
        let (status, answer) = soak.fleet.api().post(&path, None);
        // A queue has its end.
        assert!(matches!(status, 202 | 409 | 429), "{status}: {answer}");
    }
}

/// A command, and later the one that undoes it. Either may find that there is nothing to do.
fn by_hand(soak: &mut Soak, first: &[&str], then: &[&str]) {
    soak.fleet.await_answer();
    let names = soak.crowd.touched();
    let name = names[index(&mut soak.dice, names.len())].as_str();
    for (words, pause) in [(first, true), (then, false)] {
        let (command, more) = words.split_first().unwrap();
        let ran = soak.fleet.run(&[&[*command, name], more].concat());
        // 8: it is in no state for that, for instance because its queue of runs is given up.
        assert!(
            matches!(ran.code, Some(0 | 8)),
            "{words:?} {name}: {ran:#?}"
        );
        if pause {
            stand_still(soak);
        }
    }
}

fn fill(soak: &mut Soak) {
    let Some(disk) = &soak.disk else { return };
    soak.fleet.await_answer();
    let ballast = disk.fill();
    stand_still(soak);
    std::fs::remove_file(ballast).unwrap();
    until("the supervisor is well again", || {
        let (_, health) = soak.fleet.api().ask("/api/health")?;
        let health: serde_json::Value = serde_json::from_str(&health).ok()?;
        health["degraded"].as_array()?.is_empty().then_some(())
    });
}

/// They say the beginning of a request, and nothing more.
fn hang(soak: &mut Soak) {
    let socket = soak.fleet.data().join("control.sock");
    let connect = |_| UnixStream::connect(&socket).ok();
    let mut clients: Vec<UnixStream> = (0..HANGING).filter_map(connect).collect();
    for client in &mut clients {
        // One that is let go at once has heard enough.
        client.write_all(b"GET /api/health HTTP/1.1\r\nhost: ").ok();
    }
    soak.fleet.await_answer();
    stand_still(soak);
}
