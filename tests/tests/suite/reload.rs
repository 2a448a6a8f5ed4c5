//! Case 23: the fleet file changes under a running fleet.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use claw_daemon::api::{Applied, State};
use rustix::process::Signal;

use crate::fleet::{Fleet, Process, agent, holds_for, until};

/// Three agents; the second has a value of its own in its environment.
fn three(fleet: &Fleet, value: &str) -> String {
    ["a", "b", "c"]
        .map(|name| {
            let marks = fleet.place(&format!("{name}.starts"));
            let value = if name == "b" { value } else { "same" };
            let keys = format!("env: {{VALUE: {value}}}");
            agent(name, &["mark", &marks, "forever"], &keys)
        })
        .concat()
}

fn mains(fleet: &Fleet) -> [Process; 3] {
    ["a", "b", "c"].map(|name| fleet.await_main(name))
}

#[test]
fn a_change_of_one_agent_restarts_that_one_and_leaves_the_others_alone() {
    let mut fleet = Fleet::new("");
    fleet.write("", &three(&fleet, "old"));
    fleet.up();
    let before = mains(&fleet);
    fleet.write("", &three(&fleet, "new"));
    fleet.await_lines("b.starts", 2);
    let after = mains(&fleet);
    assert_eq!((&after[0], &after[2]), (&before[0], &before[2]));
    assert_ne!(after[1], before[1]);
    assert!(!before[1].lives());
    fleet.down();
}

#[test]
fn a_run_under_way_of_an_untouched_agent_goes_on_over_a_reload() {
    let mut fleet = Fleet::new("");
    let (marks, go) = (fleet.place("marks"), fleet.place("go"));
    let worker = agent(
        "worker",
        &["mark", &marks, "await-file", &go],
        "mode: oneshot",
    );
    fleet.write("", &format!("{worker}{}", agent("other", &["forever"], "")));
    fleet.up();
    let work = fleet.await_mark("marks");
    fleet.write(
        "",
        &format!("{worker}{}", agent("another", &["forever"], "")),
    );
    fleet.await_main("another");
    fleet.run(&["status", "other"]).exits(4);
    assert!(work.lives());
    std::fs::write(&go, "").unwrap();
    let runs = until("the run is over", || {
        Some(fleet.runs("worker")).filter(|runs| runs.iter().all(|run| run.state.is_final()))
    });
    assert_eq!(runs.len(), 1);
    fleet.down();
}

#[test]
fn what_a_running_process_can_take_over_needs_no_restart() {
    let mut fleet = Fleet::new("");
    let with = |policy: &str| agent("a", &["forever"], &format!("restart_policy: {{{policy}}}"));
    fleet.write("", &with("max_retries: 1"));
    fleet.up();
    let main = fleet.await_main("a");
    fleet.write("", &with("policy: never"));
    until("the change is in force", || {
        let (_, config) = fleet.api().ask("/api/config")?;
        config.contains("never").then_some(())
    });
    assert_eq!(fleet.await_main("a"), main);
    main.signal(Signal::KILL);
    assert_eq!(
        fleet.await_state("a", State::Stopped).reason.code,
        "not_restarted"
    );
    fleet.down();
}

#[test]
fn a_broken_file_changes_nothing_while_the_fleet_runs_and_is_said_with_its_line() {
    let mut fleet = Fleet::new("");
    fleet.write("", &three(&fleet, "old"));
    fleet.up();
    let before = mains(&fleet);
    for broken in [
        "",
        "agents: [",
        "project: x\nversion: \"1.0\"\nagents:\n  a: {comand: [true]}\n",
        "\0",
    ] {
        fleet.write_raw(broken);
        fleet.run(&["validate"]).exits(78);
        fleet.run(&["plan"]).exits(78);
        fleet.run(&["apply"]).exits(78);
    }
    fleet.signal(Signal::HUP);
    until("it is said", || {
        fleet.said().contains("not applied").then_some(())
    });
    assert!(before.iter().all(Process::lives));
    fleet.write("", &three(&fleet, "new"));
    fleet.await_lines("b.starts", 2);
    fleet.down();
}

#[test]
fn a_file_that_is_broken_at_the_next_start_means_the_last_good_one_and_a_loud_word() {
    let mut fleet = Fleet::new("");
    fleet.write("", &three(&fleet, "old"));
    fleet.up();
    let before = mains(&fleet);
    fleet.kill();
    fleet.write_raw("project: test\nversion: \"1.0\"\nagents: {a: {comand: [x]}}\n");
    fleet.up();
    assert_eq!(mains(&fleet), before, "the old fleet, the same processes");
    let said = fleet.said();
    assert!(
        said.contains("is broken") && said.contains("last good"),
        "{said}"
    );
    fleet.crash_and_up();
    assert_eq!(mains(&fleet), before, "the last good one is kept");
    fleet.write("", &three(&fleet, "new"));
    fleet.await_lines("b.starts", 2);
    fleet.down();
}

#[test]
fn a_broken_file_at_the_very_first_start_stops_it() {
    let fleet = Fleet::new("");
    fleet.write_raw("project: test\nversion: \"1.0\"\nagents:\n  a:\n    comand: [x]\n");
    let ran = fleet.run(&["up"]);
    assert_eq!(ran.code, Some(78), "{ran:#?}");
    assert!(
        ran.err.contains("openclaw.yaml:5") && ran.err.contains("`command`"),
        "{ran:#?}"
    );
}

#[test]
fn reload_hot_leaves_what_needs_a_restart_as_it_was_and_says_so() {
    let mut fleet = Fleet::new("");
    fleet.write("reload: hot", &three(&fleet, "old"));
    fleet.up();
    let before = mains(&fleet);
    fleet.write("reload: hot", &three(&fleet, "new"));
    until("it is said", || {
        fleet.said().contains("left as it was").then_some(())
    });
    holds_for(Duration::from_millis(500), "nobody is restarted", || {
        before.iter().all(Process::lives)
    });
    let applied: Applied = fleet.run(&["apply", "--output", "json"]).json();
    assert_eq!(applied.held_back, ["b"]);
    fleet.down();
}

#[test]
fn reload_restart_restarts_every_changed_agent_also_for_what_could_be_live() {
    let mut fleet = Fleet::new("");
    let (a, b) = (fleet.place("a.starts"), fleet.place("b.starts"));
    let with = |retries: u8| {
        let keys = format!("restart_policy: {{max_retries: {retries}}}");
        [
            agent("a", &["mark", &a, "forever"], &keys),
            agent("b", &["mark", &b, "forever"], ""),
        ]
        .concat()
    };
    fleet.write("reload: restart", &with(1));
    fleet.up();
    let main = fleet.await_main("b");
    fleet.await_main("a");
    fleet.write("reload: restart", &with(2));
    fleet.await_lines("a.starts", 2);
    assert_eq!(fleet.await_main("b"), main);
    fleet.down();
}

#[test]
fn reload_off_waits_for_apply_and_plan_says_what_it_would_do() {
    let mut fleet = Fleet::new("");
    fleet.write("reload: \"off\"", &three(&fleet, "old"));
    fleet.up();
    let before = mains(&fleet);
    fleet.write("reload: \"off\"", &three(&fleet, "new"));
    let plan = fleet.run(&["plan"]).ok();
    assert!(
        plan.contains("b") && plan.contains("VALUE") && plan.contains("restarts b"),
        "{plan}"
    );
    holds_for(Duration::from_secs(1), "nobody is restarted", || {
        before.iter().all(Process::lives)
    });
    let applied = fleet.run(&["apply"]).ok();
    assert!(applied.contains("restarts b"), "{applied}");
    fleet.await_lines("b.starts", 2);
    assert_eq!(fleet.run(&["plan"]).ok(), "nothing would change\n");
    assert_eq!(fleet.run(&["apply"]).ok(), "nothing changed\n");
    fleet.down();
}

#[test]
fn a_change_that_takes_a_new_supervisor_is_refused_whole() {
    let mut fleet = Fleet::with("reload: \"off\"", &agent("a", &["forever"], ""));
    fleet.up();
    fleet.write(
        "reload: \"off\", data_dir: elsewhere",
        &agent("b", &["forever"], ""),
    );
    let socket = format!("unix:{}", fleet.data().join("control.sock").display());
    let ran = fleet.run(&["--host", &socket, "apply"]);
    assert_eq!(ran.code, Some(8), "{ran:#?}");
    assert!(ran.err.contains("supervisor.data_dir"), "{ran:#?}");
    let list = fleet.run(&["--host", &socket, "status", "b"]);
    assert_eq!(list.code, Some(4));
    fleet.write("reload: \"off\"", &agent("a", &["forever"], ""));
    fleet.down();
}

/// Row 31 of the fault matrix: the file is a link that is turned again and again, while several
/// ask for a reload at once. What is in force is one version of the file, and at the end the last.
#[test]
fn versions_that_follow_each_other_while_others_reload_are_never_mixed() {
    const VERSIONS: usize = 40;
    let mut fleet = Fleet::new("");
    let of = |number: usize| {
        let value = format!("env: {{VALUE: \"{number}\"}}");
        ["a", "b", "c"]
            .map(|name| agent(name, &["forever"], &value))
            .concat()
    };
    let turn = |fleet: &Fleet, number: usize| {
        fleet.write("", &of(number));
        let version = fleet.path(&format!("version-{number}"));
        std::fs::rename(fleet.file(), &version).unwrap();
        let link = fleet.path("link");
        std::os::unix::fs::symlink(&version, &link).unwrap();
        std::fs::rename(link, fleet.file()).unwrap();
    };
    turn(&fleet, 0);
    fleet.up();
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let appliers = [(), ()].map(|()| {
            threads.spawn(|| {
                let mut applied = 0;
                while !over.load(Ordering::Relaxed) {
                    // Between two versions there is no file for a moment; that is said, and no harm.
                    applied += usize::from(fleet.run(&["apply"]).code == Some(0));
                    fleet.signal(Signal::HUP);
                }
                applied
            })
        });
        let seen: Vec<_> = (1..=VERSIONS)
            .map(|number| {
                turn(&fleet, number);
                values_in_force(&fleet)
            })
            .collect();
        over.store(true, Ordering::Relaxed);
        for values in seen {
            assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
        }
        let applied: usize = appliers.into_iter().map(|one| one.join().unwrap()).sum();
        assert!(applied > 0, "no reload got through");
    });
    fleet.run(&["apply"]).ok();
    let last = VERSIONS.to_string();
    assert_eq!(values_in_force(&fleet), [(); 3].map(|()| last.clone()));
    for main in mains(&fleet) {
        until("it runs the last version", || {
            let environment = std::fs::read(format!("/proc/{}/environ", main.pid)).ok()?;
            let last = format!("VALUE={VERSIONS}\0");
            String::from_utf8_lossy(&environment)
                .contains(&last)
                .then_some(())
        });
    }
    fleet.down();
}

/// The value in the environment of each of the three, as the configuration in force has it.
fn values_in_force(fleet: &Fleet) -> [serde_json::Value; 3] {
    let config: serde_json::Value = fleet.api().get("/api/config");
    ["a", "b", "c"].map(|name| config["fleet"]["agents"][name]["launch"]["env"]["VALUE"].clone())
}
