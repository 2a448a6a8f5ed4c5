//! Limits hold from the first instruction, and what they cost is charged to the right agent.

use serde_json::Value;

use crate::fleet::{Fleet, agent, until};

/// Case 20: a grandchild dies for memory; its agent is charged, nobody else.
#[test]
fn a_grandchild_killed_for_memory_is_charged_to_its_own_agent_only() {
    let mut fleet = Fleet::new("");
    let hog = ["must", "[", "must", "[", "take", "256", "]", "]", "forever"];
    let keys = "resources: {memory: 48Mi}, restart_policy: {policy: never}";
    fleet.write(
        "",
        &[
            agent("hog", &hog, keys),
            agent("own", &["take", "256"], keys),
            agent("sibling", &["take", "8"], "resources: {memory: 48Mi}"),
        ]
        .concat(),
    );
    if !fleet.enforces(
        "memory",
        "a_grandchild_killed_for_memory_is_charged_to_its_own_agent_only",
    ) {
        return;
    }
    fleet.up();
    let sibling = fleet.await_main("sibling");
    let ends = fleet.await_ends("hog", 1);
    assert_eq!(ends[0].0, 1);
    assert_eq!(fleet.await_ends("own", 1), [(1, "oom".to_owned())]);
    let why: Value = fleet.run(&["why", "hog", "--output", "json"]).json();
    assert_eq!(why["transitions"][0]["exit"]["oom_kills"], 1, "{why:#}");
    assert!(
        fleet
            .run(&["why", "hog"])
            .ok()
            .contains("1 kills for memory")
    );
    assert_eq!(fleet.await_main("sibling"), sibling);
    assert_eq!(fleet.agent("sibling").resources.unwrap().oom_kills, 0);
    fleet.down();
}

/// Case 21: a fork bomb in the first millisecond finds the limit in force, and is cleared away.
#[test]
fn a_fork_bomb_in_the_first_millisecond_stays_inside_its_limit() {
    let mut fleet = Fleet::new("");
    fleet.write(
        "",
        &agent(
            "bomb",
            &["children", "500", "forever"],
            "resources: {pids: 20}, graceful_shutdown: {timeout: 1s}",
        ),
    );
    if !fleet.enforces(
        "pids",
        "a_fork_bomb_in_the_first_millisecond_stays_inside_its_limit",
    ) {
        return;
    }
    fleet.up();
    fleet.await_output("bomb", "started");
    let started: u64 = fleet
        .output("bomb")
        .trim()
        .strip_prefix("started ")
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..20).contains(&started), "{started} children");
    let used = until("its use is measured", || fleet.agent("bomb").resources);
    assert!(used.pids <= 20, "{used:?}");
    fleet.run(&["stop", "bomb"]).ok();
    let left = fleet
        .processes()
        .into_iter()
        .filter(|process| process.command.contains("test-agent"));
    assert_eq!(left.count(), 0);
    fleet.down();
}

/// A processor limit slows its agent, not the supervisor that answers for it.
#[test]
fn an_agent_that_spins_gets_no_more_processor_than_its_limit() {
    let mut fleet = Fleet::new(&agent(
        "spinner",
        &["flood", "100000000"],
        "resources: {cpu: 0.2}, graceful_shutdown: {timeout: 1s}, logging: {max_size: 1Mi, max_files: 2}",
    ));
    if !fleet.enforces(
        "cpu",
        "an_agent_that_spins_gets_no_more_processor_than_its_limit",
    ) {
        return;
    }
    fleet.up();
    fleet.await_main("spinner");
    let began = std::time::Instant::now();
    let used = until("it has spun for a while", || {
        let used = fleet.agent("spinner").resources?.cpu_seconds;
        (used > 0.4).then_some(used)
    });
    let share = used / began.elapsed().as_secs_f64();
    assert!(share < 0.6, "{share} of a processor");
    fleet.down();
}
