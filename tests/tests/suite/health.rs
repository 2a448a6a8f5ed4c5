//! Probes: what they may do to an agent, and what they may not.

use std::fs;
use std::time::{Duration, Instant};

use claw_daemon::api::State;
use rustix::process::Signal;

use crate::fleet::{Fleet, Process, agent, free_port, holds_for, steps, until, within};

/// Case 11: the supervisor slept through several probes and heartbeats; its agents did not.
#[test]
fn a_supervisor_that_was_paused_blames_no_agent_for_it() {
    let mut fleet = Fleet::new("");
    let port = free_port().to_string();
    let http = format!(
        "health_check: {{liveness: {{http: {{port: {port}}}, interval: 200ms, timeout: 200ms, threshold: 2}}}}"
    );
    let heartbeat = "health_check: {liveness: {heartbeat: {}, interval: 400ms, threshold: 2}}";
    let silence = "health_check: {progress: {max_silence: 1s}}";
    fleet.write(
        "",
        &[
            agent("web", &["listen", &port, "forever"], &http),
            agent("talker", &["notify", "READY=1", "beat", "100"], heartbeat),
            agent("writer", &["count", "100"], silence),
        ]
        .concat(),
    );
    fleet.up();
    let names = ["web", "talker", "writer"];
    let before = names.map(|name| fleet.await_main(name));
    let paused = Process::of(fleet.pid()).unwrap();
    paused.signal(Signal::STOP);
    holds_for(Duration::from_secs(4), "agents live", || {
        before.iter().all(Process::lives)
    });
    paused.signal(Signal::CONT);
    holds_for(Duration::from_secs(2), "nobody is killed for it", || {
        before.iter().all(Process::lives)
    });
    for (name, main) in names.iter().zip(&before) {
        assert_eq!(&fleet.await_main(name), main);
        assert_eq!(fleet.agent(name).restarts, 0);
    }
    fleet.down();
}

/// Case 14: a probe that hangs and forks is killed with all it made, before the next.
#[test]
fn a_probe_that_hangs_and_forks_is_killed_with_its_tree_and_never_stacked() {
    let mut fleet = Fleet::new("");
    let (probes, kids) = (fleet.place("probes"), fleet.place("kids"));
    let probe = steps(&[
        "mark", &probes, "child", "[", "mark", &kids, "block", "TERM", "forever", "]", "block",
        "TERM", "forever",
    ]);
    let keys = format!(
        "health_check: {{readiness: {{exec: {probe}, interval: 100ms, timeout: 300ms, threshold: 1000}}}}"
    );
    fleet.write("", &agent("probed", &["forever"], &keys));
    fleet.up();
    let main = fleet.await_main("probed");
    let counted = |file: &str| {
        fleet
            .lines(file)
            .iter()
            .filter_map(|line| line.parse().ok())
            .filter_map(Process::of)
            .count()
    };
    until("six probes were made", || {
        assert!(counted("probes") <= 1, "probes are stacked");
        assert!(counted("kids") <= 1, "children of probes are left");
        (fleet.lines("probes").len() >= 6).then_some(())
    });
    let made = u32::try_from(fleet.lines("probes").len()).unwrap();
    let failures = fleet.agent("probed").probes[0].failures;
    assert!(
        failures <= made && failures + 2 >= made,
        "{failures} failures of {made} probes"
    );
    let zombies = zombies_of(&fleet);
    assert_eq!(zombies, Vec::<String>::new());
    assert_eq!(fleet.await_main("probed"), main, "readiness never restarts");
    fleet.down();
}

/// Zombies whose parent is one of the fleet's processes, and which stay.
fn zombies_of(fleet: &Fleet) -> Vec<String> {
    let parents: Vec<String> = fleet
        .processes()
        .iter()
        .map(|process| process.pid.to_string())
        .collect();
    let zombies = || -> Vec<String> {
        let stats = fs::read_dir("/proc").unwrap().flatten();
        let read = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("stat")).ok();
        stats
            .filter_map(read)
            .filter(|stat| {
                let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
                fields[0] == "Z" && parents.iter().any(|parent| parent == fields[1])
            })
            .collect()
    };
    // One that is about to be reaped is none.
    let first = zombies();
    let mut left = first;
    let deadline = Instant::now() + Duration::from_secs(2);
    until("zombies are looked at twice", || {
        let now = zombies();
        left.retain(|zombie| now.contains(zombie));
        (left.is_empty() || Instant::now() > deadline).then_some(())
    });
    left
}

/// Case 15: who fails its liveness does not get the hour it would have for an orderly end.
#[test]
fn an_agent_that_fails_its_liveness_is_killed_long_before_its_stop_grace() {
    let mut fleet = Fleet::new("");
    let (port, alive) = (free_port().to_string(), fleet.place("alive"));
    fs::write(&alive, "").unwrap();
    let keys = format!(
        "graceful_shutdown: {{timeout: 1h}}, restart_policy: {{initial_delay: 50ms}}, health_check: {{liveness: \
         {{http: {{port: {port}, status: 200}}, interval: 100ms, timeout: 1s, threshold: 2}}}}"
    );
    let script = ["block", "TERM", "listen-while", &port, &alive, "forever"];
    fleet.write("", &agent("wedged", &script, &keys));
    fleet.up();
    let main = fleet.await_main("wedged");
    holds_for(Duration::from_secs(1), "it is alive", || main.lives());
    fs::remove_file(&alive).unwrap();
    within(Duration::from_secs(20), "it is killed", || {
        (!main.lives()).then_some(())
    });
    fs::write(&alive, "").unwrap();
    assert_eq!(fleet.await_ends("wedged", 1), [(1, "probe".to_owned())]);
    let fresh = fleet.await_main("wedged");
    fleet.signal(Signal::TERM);
    fleet.await_state("wedged", State::Stopping);
    fleet.signal(Signal::TERM);
    until("a second signal hastens", || (!fresh.lives()).then_some(()));
    fleet.await_end();
}

/// Readiness takes an agent out of work, and does nothing else to it.
#[test]
fn readiness_comes_and_goes_and_never_restarts() {
    let mut fleet = Fleet::new("");
    let (port, ready) = (free_port().to_string(), fleet.place("ready"));
    let keys = format!(
        "health_check: {{readiness: {{http: {{port: {port}, body: '\"ok\"'}}, interval: 50ms, timeout: 1s, threshold: 2}}}}"
    );
    fleet.write(
        "",
        &agent("web", &["listen-while", &port, &ready, "forever"], &keys),
    );
    fleet.up();
    let main = fleet.await_main("web");
    fleet.await_agent("web", "fails readiness", |agent| {
        agent.probes.iter().any(|probe| probe.failures > 3)
    });
    assert!(!fleet.agent("web").ready);
    fs::write(&ready, "").unwrap();
    fleet.await_agent("web", "is ready", |agent| agent.ready);
    fs::remove_file(&ready).unwrap();
    let gone = fleet.await_agent("web", "is not ready", |agent| !agent.ready);
    assert_eq!(
        (gone.state, gone.reason.code.as_str()),
        (State::Running, "not_ready")
    );
    assert_eq!(fleet.await_main("web"), main);
    fleet.down();
}

/// Dependents wait until what they need is ready, and the fleet stops in reverse order.
#[test]
fn dependents_start_after_what_they_need_is_ready_and_stop_before_it() {
    let mut fleet = Fleet::new("");
    let (order, go) = (fleet.place("order"), fleet.place("go"));
    let script = |name: &'static str| {
        let end = format!("{name} ends");
        (name, end)
    };
    let (base, web) = (script("base"), script("web"));
    let startup = "health_check: {startup: {heartbeat: {}, threshold: 60}}";
    fleet.write(
        "",
        &[
            agent(
                base.0,
                &[
                    "await-file",
                    &go,
                    "write",
                    &order,
                    "base is up",
                    "notify",
                    "READY=1",
                    "await-signal",
                    "TERM",
                    "write",
                    &order,
                    &base.1,
                ],
                startup,
            ),
            agent(
                web.0,
                &[
                    "write",
                    &order,
                    "web is up",
                    "await-signal",
                    "TERM",
                    "write",
                    &order,
                    &web.1,
                ],
                "depends_on: {base: {condition: ready}}",
            ),
        ]
        .concat(),
    );
    fleet.up();
    holds_for(Duration::from_millis(500), "web waits", || {
        fleet.lines("order").is_empty()
    });
    assert_eq!(fleet.agent("web").reason.agents, ["base"]);
    fs::write(&go, "").unwrap();
    fleet.await_lines("order", 2);
    fleet.await_main("web");
    fleet.down();
    assert_eq!(
        fleet.lines("order"),
        ["base is up", "web is up", "web ends", "base ends"]
    );
}
