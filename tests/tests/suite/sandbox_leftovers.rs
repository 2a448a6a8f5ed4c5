//! What a fleet in sandboxes leaves on the machine once it is down: nothing but its files.
//!
//! Kept below the data directory are the agents' files, their logs, the journal, and in
//! `users.json` the number of each agent's user: what the agent wrote belongs to that number, so no
//! other agent may be given it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use claw_daemon::api::State;
use rustix::process::Signal;

use crate::fleet::{Fleet, Process, until};

const AGENTS: usize = 24;

/// Those of a machine that are looked for.
const KINDS: [&str; 6] = ["user", "mnt", "pid", "net", "ipc", "uts"];

fn name(number: usize) -> String {
    format!("boxed-{number}")
}

/// Every second one reaches a host, every third has hooks and a check, every fourth a directory
/// with an end of its own, and all come back.
fn agents() -> String {
    let one = |number: usize| {
        let network = match number % 2 {
            0 => "[api.example.com]",
            _ => "[]",
        };
        let commands = match number % 3 {
            0 => {
                ", hooks: {pre_start: [/bin/true], post_stop: [/bin/true]}, \
                 health_check: {liveness: {exec: [/bin/true], interval: 200ms}}"
            }
            _ => "",
        };
        let writable = match number % 4 {
            0 => format!("[{{path: sized/{number}, size: 8Mi}}]"),
            _ => "[]".to_owned(),
        };
        format!(
            "  {}: {{command: [/bin/sleep, \"1000\"], \
             restart_policy: {{policy: always, backoff: immediate, jitter: 0%}}, \
             sandbox: {{mode: process, allowed_network: {network}, writable: {writable}}}{commands}}}\n",
            name(number)
        )
    };
    (0..AGENTS).map(one).collect()
}

const OTHER: &str = "  other: {command: [/bin/sleep, \"1000\"]}\n";

fn await_all(fleet: &Fleet) {
    for number in 0..AGENTS {
        fleet.await_main(&name(number));
    }
}

/// The namespaces of processes, as `/proc` writes them, those of this test left out.
fn namespaces(processes: impl Iterator<Item = i32>) -> BTreeSet<String> {
    let of = |pid: &str| {
        let links = KINDS.map(|kind| fs::read_link(format!("/proc/{pid}/ns/{kind}")));
        let found = links.into_iter().flatten();
        found
            .map(|link| link.to_string_lossy().into_owned())
            .collect::<BTreeSet<_>>()
    };
    let mut all: BTreeSet<String> = processes.flat_map(|pid| of(&pid.to_string())).collect();
    for own in of("self") {
        all.remove(&own);
    }
    all
}

fn all_processes() -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// What holds a namespace although no process is in it: an open file, or a mount.
fn holds(pid: i32, namespaces: &BTreeSet<String>) -> bool {
    let files = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten();
    let mut targets = files
        .flatten()
        .filter_map(|file| fs::read_link(file.path()).ok());
    let open = targets.any(|target| namespaces.contains(&*target.to_string_lossy()));
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    let mounted = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(3))
        .any(|root| namespaces.contains(root));
    open || mounted
}

/// Directories of control groups that processes are in, those of `but` left out.
fn groups(processes: &[Process], but: &Process) -> BTreeSet<String> {
    let of = |process: &Process| {
        let groups = process.groups().into_iter();
        let places = groups.flat_map(|(controllers, path)| match &*controllers {
            // By itself, or beside those of version 1.
            "" => vec![
                format!("/sys/fs/cgroup{path}"),
                format!("/sys/fs/cgroup/unified{path}"),
            ],
            named => {
                let hierarchy = named.trim_start_matches("name=");
                vec![format!("/sys/fs/cgroup/{hierarchy}{path}")]
            }
        });
        let there = places.filter(|place| Path::new(place).exists());
        there.collect::<BTreeSet<_>>()
    };
    let all: BTreeSet<String> = processes.iter().flat_map(of).collect();
    &all - &of(but)
}

fn open_files(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

fn mounts() -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Files that loop devices are made of.
fn loops() -> BTreeSet<String> {
    let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    devices
        .filter_map(|device| fs::read_to_string(device.path().join("loop/backing_file")).ok())
        .collect()
}

/// Without root there are sandboxes as well, but neither users nor groups of agents.
fn is_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIP {test}: not root");
    }
    root
}

#[test]
fn a_supervisor_closes_what_it_had_open_for_agents_that_are_gone() {
    if !is_root("a_supervisor_closes_what_it_had_open_for_agents_that_are_gone") {
        return;
    }
    let mut fleet = Fleet::new(OTHER);
    fleet.up();
    fleet.await_main("other");
    let before = open_files(fleet.pid());
    fleet.write("", &format!("{OTHER}{}", agents()));
    fleet.run(&["apply"]).ok();
    await_all(&fleet);
    assert!(open_files(fleet.pid()) > before + AGENTS);
    fleet.write("", OTHER);
    fleet.run(&["apply"]).ok();
    until("the agents are gone from the fleet", || {
        (0..AGENTS)
            .all(|number| fleet.find(&name(number)).is_none())
            .then_some(())
    });
    until("what was open for agents is closed", || {
        (open_files(fleet.pid()) <= before).then_some(())
    });
}

#[test]
fn a_fleet_in_sandboxes_that_went_down_leaves_nothing_but_its_files() {
    if !is_root("a_fleet_in_sandboxes_that_went_down_leaves_nothing_but_its_files") {
        return;
    }
    let mut fleet = Fleet::new(&format!("{OTHER}{}", agents()));
    fleet.up();
    await_all(&fleet);
    for number in 0..4 {
        let killed = fleet.await_main(&name(number));
        killed.signal(Signal::KILL);
        until("a killed agent is back", || {
            let main = fleet.await_main(&name(number));
            (main.pid != killed.pid).then_some(())
        });
    }
    fleet.crash_and_up();
    await_all(&fleet);
    fleet.await_state(&name(0), State::Running);
    let supervisor = Process::of(fleet.pid()).unwrap();
    let processes = fleet.processes();
    let pids = processes.iter().map(|process| process.pid);
    let inside = namespaces(pids.chain((0..AGENTS).map(|it| fleet.await_main(&name(it)).pid)));
    assert!(inside.len() >= AGENTS * KINDS.len(), "{}", inside.len());
    let shims: Vec<Process> = processes.into_iter().filter(Process::is_shim).collect();
    let mains = (0..AGENTS).map(|number| fleet.await_main(&name(number)));
    let groups = groups(&mains.chain(shims).collect::<Vec<_>>(), &supervisor);
    let test = "a_fleet_in_sandboxes_that_went_down_leaves_nothing_but_its_files";
    assert!(!fleet.enforces("memory", test) || groups.len() >= AGENTS);
    let folder = fleet.place("");
    let is_ours = |text: &&String| text.contains(folder.trim_end_matches('/'));
    if fleet.enforces_sizes() {
        assert_eq!(loops().iter().filter(is_ours).count(), AGENTS.div_ceil(4));
    } else {
        eprintln!("SKIP the sizes of {test}: there are no loop devices");
    }
    fleet.down();

    // Processes of other tests may come by the number of a namespace that is gone, and go again.
    let elders = all_processes();
    until(
        "no process is in a namespace of the fleet's, or holds one",
        || {
            let left = namespaces(elders.iter().copied());
            let held = elders.iter().any(|pid| holds(*pid, &inside));
            (left.is_disjoint(&inside) && !held).then_some(())
        },
    );
    let left: Vec<&String> = groups.iter().filter(|it| Path::new(it).exists()).collect();
    assert!(left.is_empty(), "{left:#?}");
    assert_eq!(
        mounts().iter().filter(is_ours).count(),
        0,
        "{:#?}",
        mounts()
    );
    assert_eq!(loops().iter().filter(is_ours).count(), 0, "{:#?}", loops());
    let users = fs::read_to_string(fleet.data().join("users.json")).unwrap();
    let users: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&users).unwrap();
    let expected: BTreeSet<String> = (0..AGENTS).map(name).collect();
    assert_eq!(users.keys().cloned().collect::<BTreeSet<_>>(), expected);
}
