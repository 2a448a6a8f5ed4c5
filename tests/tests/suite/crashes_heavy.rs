//! The supervisor is killed, again and again, under fleets that must not notice.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use rustix::process::Signal;

use crate::dice::Dice;
use crate::fleet::{Fleet, Process, agent, holds_for, until};

/// How many agents a fleet has here.
const AGENTS: usize = 20;

/// Of these, so many crash all the time.
const FLAKY: usize = 4;

fn steady() -> impl Iterator<Item = String> {
    (0..AGENTS - FLAKY).map(|number| format!("steady-{number}"))
}

fn flaky() -> impl Iterator<Item = String> {
    (0..FLAKY).map(|number| format!("flaky-{number}"))
}

/// Steady agents write numbers; flaky ones live a short time, each another, and fail.
fn crowd(fleet: &Fleet) -> String {
    let mut agents = String::new();
    for name in steady() {
        let marks = fleet.place(&format!("{name}.starts"));
        agents += &agent(&name, &["count-from", &marks, "20"], "");
    }
    for (number, name) in flaky().enumerate() {
        let marks = fleet.place(&format!("{name}.starts"));
        let life = (200 + 150 * number).to_string();
        let policy =
            "restart_policy: {initial_delay: 100ms, max_delay: 200ms, max_retries: unlimited}";
        agents += &agent(
            &name,
            &["mark", &marks, "sleep", &life, "exit", "1"],
            policy,
        );
    }
    agents
}

fn steady_mains(fleet: &Fleet) -> BTreeMap<String, Process> {
    steady()
        .map(|name| (name.clone(), fleet.await_main(&name)))
        .collect()
}

/// Each number follows the one before it: nothing the agent wrote is missing.
fn assert_continuous(fleet: &Fleet, name: &str, main: &Process) {
    let output = fleet.output(name);
    let whole_lines = output.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let mut next = 0;
    for line in whole_lines.lines() {
        let (pid, number) = line.split_once(' ').unwrap();
        assert_eq!(pid, main.pid.to_string(), "{name}");
        assert_eq!(number, next.to_string(), "a gap in the log of {name}");
        next += 1;
    }
    assert!(next > 0, "{name} wrote nothing");
}

/// One start and one end on record for each life; the last may go on, or have been stopped before
/// it came to its first step. A life that its supervisor did not live to begin has an end only.
fn assert_one_outcome_each(fleet: &Fleet, name: &str) {
    let ends = fleet.ends(name);
    let ended = ends.iter().map(|(generation, _)| *generation);
    assert!(
        ended.eq(1..=count(ends.len())),
        "one end each of {name}: {ends:?}"
    );
    let starts = fleet.lines(&format!("{name}.starts")).len();
    let begun = ends.iter().filter(|(_, cause)| cause != "spawn").count();
    let stopped_early = ends.last().is_some_and(|(_, cause)| cause == "asked");
    let possible = begun - usize::from(stopped_early)..=begun + 1;
    assert!(
        possible.contains(&starts),
        "{name}: {starts} starts, {ends:?}"
    );
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap()
}

/// Case 3: twenty agents outlive their supervisor, and the next takes over these very ones.
#[test]
fn twenty_agents_outlive_a_kill_of_the_supervisor_as_the_same_processes() {
    let mut fleet = Fleet::new("");
    let mut agents = String::new();
    for number in 0..AGENTS {
        let name = format!("steady-{number}");
        let marks = fleet.place(&format!("{name}.starts"));
        agents += &agent(&name, &["count-from", &marks, "5"], "");
    }
    fleet.write("", &agents);
    fleet.up();
    let name_of = |number: usize| format!("steady-{number}");
    let before: Vec<Process> = (0..AGENTS)
        .map(|number| fleet.await_main(&name_of(number)))
        .collect();
    let restarts: Vec<u64> = (0..AGENTS)
        .map(|number| fleet.agent(&name_of(number)).restarts)
        .collect();
    fleet.kill();
    holds_for(Duration::from_millis(500), "agents go on alone", || {
        before.iter().all(Process::lives)
    });
    fleet.up();
    for (number, main) in before.iter().enumerate() {
        let name = name_of(number);
        assert_eq!(&fleet.await_main(&name), main, "{name}");
        let now = fleet.agent(&name);
        assert_eq!(
            (now.restarts, now.instance.unwrap().generation),
            (restarts[number], 1)
        );
    }
    let copies = fleet
        .processes()
        .into_iter()
        .filter(|process| process.command.contains("count-from"));
    assert_eq!(
        copies.collect::<Vec<_>>(),
        sorted(&before),
        "exactly one copy of each"
    );
    fleet.down();
    for (number, main) in before.iter().enumerate() {
        assert_continuous(&fleet, &name_of(number), main);
    }
}

fn sorted(processes: &[Process]) -> Vec<Process> {
    let mut sorted = processes.to_vec();
    sorted.sort();
    sorted
}

/// Row 2 of the fault matrix: the same fifty times at random moments, among them some in the
/// middle of a start, while other agents crash.
#[test]
fn fifty_random_kills_lose_no_agent_no_outcome_and_no_line() {
    let mut dice = Dice::new();
    let mut fleet = Fleet::new("");
    fleet.write("", &crowd(&fleet));
    fleet.up();
    let before = steady_mains(&fleet);
    for _ in 0..50 {
        if dice.below(3) > 0 {
            fleet.await_answer();
        }
        let moment = dice.time(Duration::from_millis(300));
        holds_for(moment, "steady agents live", || {
            before.values().all(Process::lives)
        });
        fleet.kill();
        fleet.start();
    }
    fleet.await_answer();
    assert_eq!(steady_mains(&fleet), before, "the same processes");
    for name in flaky() {
        fleet.await_ends(&name, 3);
        fleet.run(&["stop", &name]).ok();
        assert_one_outcome_each(&fleet, &name);
    }
    for name in steady() {
        assert_one_outcome_each(&fleet, &name);
    }
    fleet.down();
    for (name, main) in &before {
        assert_continuous(&fleet, name, main);
    }
}

/// Case 5: supervisor and spawner die at any moment around a fork. Nothing is started twice, and
/// nothing runs that nobody knows.
#[test]
fn a_crash_around_a_fork_leaves_no_orphan_and_no_second_copy() {
    let mut dice = Dice::new();
    let mut fleet = Fleet::new("");
    let mut agents = String::new();
    for number in 0..5 {
        let marks = fleet.place(&format!("starts-{number}"));
        let shutdown = "graceful_shutdown: {timeout: 500ms}";
        let name = format!("agent-{number}");
        write!(
            agents,
            "{}",
            agent(&name, &["mark", &marks, "forever"], shutdown)
        )
        .unwrap();
    }
    fleet.write("", &agents);
    for round in 0..15 {
        fleet.start();
        if round % 3 == 0 {
            fleet.await_answer();
            for number in 0..5 {
                fleet
                    .api()
                    .post(&format!("/api/agents/agent-{number}/restart"), None);
            }
        }
        let moment = dice.time(Duration::from_millis(150));
        holds_for(moment, "time passes", || true);
        kill_with_spawner(&mut fleet);
    }
    fleet.up();
    for number in 0..5 {
        let main = fleet.await_main(&format!("agent-{number}"));
        let file = format!("starts-{number}");
        let own = |process: &Process| process.command.ends_with(&format!("{file} forever"));
        let copies: Vec<Process> = fleet.processes().into_iter().filter(own).collect();
        assert_eq!(copies, [main], "one copy of agent {number}");
    }
    fleet.down();
}

fn kill_with_spawner(fleet: &mut Fleet) {
    let spawners: Vec<Process> = fleet
        .processes()
        .into_iter()
        .filter(Process::is_spawner)
        .collect();
    for spawner in &spawners {
        spawner.signal(Signal::KILL);
    }
    fleet.kill();
    until("the spawner is gone", || {
        spawners
            .iter()
            .all(|process| !process.lives())
            .then_some(())
    });
}

/// How often a supervisor or a shim is killed below; `CLAW_KILLS` says another number.
const KILLS: u64 = 60;

/// Rows 2 and 3 of the fault matrix together: supervisors and shims die at random. An agent dies with its shim, and
/// whoever finds out, there is one end of that life, and one successor.
#[test]
fn random_kills_of_supervisors_and_shims_leave_one_outcome_for_each_generation() {
    let kills = std::env::var("CLAW_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let names = mortals(if kills > KILLS { 50 } else { AGENTS });
    let mut dice = Dice::new();
    let mut fleet = Fleet::new("");
    fleet.write("", &mortal_crowd(&fleet, &names));
    fleet.up();
    for round in 0..kills {
        let moment = dice.time(Duration::from_millis(250));
        holds_for(moment, "time passes", || true);
        match dice.below(5) {
            0 | 1 => {
                fleet.kill();
                fleet.start();
            }
            2 => {
                kill_a_shim(&fleet, &mut dice);
                fleet.kill();
                fleet.start();
            }
            _ => kill_a_shim(&fleet, &mut dice),
        }
        if round % 10 == 9 {
            assert_no_second_copy(&fleet, &names);
        }
    }
    fleet.await_answer();
    for name in names.iter().step_by(2) {
        let main = fleet.await_main(name);
        let living = living_copies(&fleet, name, &fleet.processes());
        assert_eq!(living, [main], "one copy of {name}");
    }
    for name in &names {
        fleet.await_main(name);
        fleet.run(&["stop", name]).ok();
        let ends = fleet.ends(name);
        let ended = ends.iter().map(|(generation, _)| *generation);
        assert!(
            ended.eq(1..=count(ends.len())),
            "one end each of {name}: {ends:?}"
        );
        let starts = fleet.lines(&format!("{name}.starts")).len();
        assert!(
            (1..=ends.len()).contains(&starts),
            "{name} was started {starts} times: {ends:?}"
        );
    }
    assert_no_second_copy(&fleet, &names);
    fleet.down();
}

fn mortals(number: usize) -> Vec<String> {
    (0..number)
        .map(|number| format!("mortal-{number}"))
        .collect()
}

/// Every second of them lives for some time, and fails.
fn mortal_crowd(fleet: &Fleet, names: &[String]) -> String {
    let policy = "restart_policy: {initial_delay: 100ms, max_delay: 1s, max_retries: unlimited}";
    let mut agents = String::new();
    for (number, name) in names.iter().enumerate() {
        let marks = fleet.place(&format!("{name}.starts"));
        let life = (700 + 100 * number).to_string();
        let steps: &[&str] = if number % 2 == 0 {
            &["mark", &marks, "forever"]
        } else {
            &["mark", &marks, "sleep", &life, "exit", "1"]
        };
        agents += &agent(name, steps, policy);
    }
    agents
}

fn kill_a_shim(fleet: &Fleet, dice: &mut Dice) {
    let processes = fleet.processes().into_iter();
    let shims: Vec<Process> = processes.filter(Process::is_shim).collect();
    if let Some(last) = count(shims.len()).checked_sub(1) {
        let chosen = usize::try_from(dice.below(last + 1)).unwrap();
        shims[chosen].signal(Signal::KILL);
    }
}

fn assert_no_second_copy(fleet: &Fleet, names: &[String]) {
    let processes = fleet.processes();
    for name in names {
        let living = living_copies(fleet, name, &processes);
        assert!(living.len() <= 1, "copies of {name}: {living:?}");
    }
}

fn living_copies(fleet: &Fleet, name: &str, processes: &[Process]) -> Vec<Process> {
    let marks = format!("mark {} ", fleet.place(&format!("{name}.starts")));
    let own = processes
        .iter()
        .filter(|process| !process.is_shim() && !process.is_spawner());
    let copies = own.filter(|process| process.command.contains(&marks));
    copies.filter(|process| process.lives()).cloned().collect()
}
