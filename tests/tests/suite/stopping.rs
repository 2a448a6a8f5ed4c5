//! An agent that is stopped is gone with all it made, and stays stopped.

use std::time::Duration;

use claw_daemon::api::State;

use crate::fleet::{Fleet, agent, holds_for, root, until, within};

/// A grace that a stop has to be shorter than, or just as long as.
const GRACE: Duration = Duration::from_secs(2);

/// Case 1: the leader exits on TERM, a child in its process group does not.
#[test]
fn a_child_that_ignores_term_is_gone_within_the_grace() {
    let mut fleet = Fleet::new("");
    let mark = fleet.place("child");
    let script = [
        "child", "[", "block", "TERM", "mark", &mark, "forever", "]", "forever",
    ];
    fleet.write(
        "",
        &agent("leader", &script, "graceful_shutdown: {timeout: 2s}"),
    );
    fleet.up();
    let child = fleet.await_mark("child");
    let main = fleet.await_main("leader");
    fleet.run(&["stop", "leader"]).ok();
    assert!(
        !main.lives() && !child.lives(),
        "the stop reported too early"
    );
    let agent = fleet.agent("leader");
    assert_eq!(
        (agent.state, agent.reason.code.as_str()),
        (State::Stopped, "asked")
    );
    fleet.down();
}

/// Case 2: a daemon that forked twice and left its session.
#[test]
fn a_double_forked_daemon_in_its_own_session_is_gone_after_a_stop() {
    let mut fleet = Fleet::new("");
    let mark = fleet.place("daemon");
    let script = [
        "daemonise",
        "[",
        "block",
        "TERM",
        "session",
        "mark",
        &mark,
        "forever",
        "]",
        "forever",
    ];
    fleet.write(
        "",
        &agent("leader", &script, "graceful_shutdown: {timeout: 2s}"),
    );
    fleet.up();
    let daemon = fleet.await_mark("daemon");
    let main = fleet.await_main("leader");
    let groups: Vec<_> = daemon
        .groups()
        .into_iter()
        .filter(|(_, group)| group.contains("leader"))
        .collect();
    fleet.run(&["stop", "leader"]).ok();
    assert!(
        !main.lives() && !daemon.lives(),
        "the stop reported too early"
    );
    until("its groups are removed", || {
        let there = |(controllers, group): &(String, String)| {
            std::path::Path::new(&format!("/sys/fs/cgroup/{controllers}{group}")).exists()
        };
        (!groups.iter().any(there)).then_some(())
    });
    fleet.down();
}

/// Never is SIGKILL sent inside the grace, and the whole tree is killed at its end.
#[test]
fn an_agent_that_ignores_term_has_its_whole_grace_and_no_more() {
    let mut fleet = Fleet::new(&agent(
        "stubborn",
        &["block", "TERM", "forever"],
        "graceful_shutdown: {timeout: 2s}",
    ));
    fleet.up();
    let main = fleet.await_main("stubborn");
    let (status, _) = fleet.api().post("/api/agents/stubborn/stop", None);
    assert_eq!(status, 202);
    holds_for(
        GRACE.mul_f32(0.8),
        "it may go on until its grace is over",
        || main.lives(),
    );
    within(GRACE * 5, "killed at the end of its grace", || {
        (!main.lives()).then_some(())
    });
    fleet.await_state("stubborn", State::Stopped);
    fleet.down();
}

/// Case 8: a stop while the agent backs off leaves no timer behind.
#[test]
fn a_stop_during_backoff_is_followed_by_no_ghost_start() {
    let mut fleet = Fleet::new("");
    let marks = fleet.place("starts");
    let policy = "restart_policy: {initial_delay: 1s, max_delay: 1s, jitter: 0%}";
    fleet.write(
        "",
        &agent("crasher", &["mark", &marks, "exit", "1"], policy),
    );
    fleet.up();
    fleet.await_state("crasher", State::Error);
    fleet.run(&["stop", "crasher"]).ok();
    let starts = fleet.lines("starts").len();
    holds_for(Duration::from_secs(2), "no start after the stop", || {
        fleet.lines("starts").len() == starts
    });
    assert_eq!(fleet.agent("crasher").state, State::Stopped);
    fleet.down();
}

/// Case 8: a start after the agent was given up clears the latch and the count.
#[test]
fn a_start_after_giving_up_begins_to_count_anew() {
    let mut fleet = Fleet::new("");
    let marks = fleet.place("starts");
    let policy = "restart_policy: {initial_delay: 50ms, max_delay: 50ms, max_retries: 2}";
    fleet.write(
        "",
        &agent("crasher", &["mark", &marks, "exit", "1"], policy),
    );
    fleet.up();
    let given_up = fleet.await_state("crasher", State::Stopped);
    assert_eq!(given_up.reason.code, "gave_up");
    assert_eq!(fleet.lines("starts").len(), 3);
    fleet.run(&["start", "crasher"]).ok();
    fleet.await_lines("starts", 6);
    let again = fleet.await_state("crasher", State::Stopped);
    assert_eq!(again.reason.code, "gave_up");
    assert_eq!(fleet.lines("starts").len(), 6);
    fleet.down();
}

/// Case 8: what is removed from the fleet while it backs off does not come back.
#[test]
fn an_agent_deleted_during_backoff_is_not_started_again() {
    let mut fleet = Fleet::new("");
    let marks = fleet.place("starts");
    let policy = "restart_policy: {initial_delay: 1s, max_delay: 1s, jitter: 0%}";
    let other = agent("other", &["forever"], "");
    let crasher = agent("crasher", &["mark", &marks, "exit", "1"], policy);
    fleet.write("reload: \"off\"", &format!("{other}{crasher}"));
    fleet.up();
    fleet.await_state("crasher", State::Error);
    fleet.write("reload: \"off\"", &other);
    fleet.run(&["apply"]).ok();
    let starts = fleet.lines("starts").len();
    holds_for(Duration::from_secs(2), "no start after the removal", || {
        fleet.lines("starts").len() == starts
    });
    fleet.run(&["status", "crasher"]).exits(4);
    fleet.down();
}

/// A stop is a wish about the future, not about this supervisor.
#[test]
fn a_stopped_agent_stays_stopped_over_a_crash_and_a_restart_of_the_supervisor() {
    let mut fleet = Fleet::new("");
    let marks = fleet.place("starts");
    fleet.write("", &agent("idle", &["mark", &marks, "forever"], ""));
    fleet.up();
    fleet.await_main("idle");
    fleet.run(&["stop", "idle"]).ok();
    fleet.crash_and_up();
    assert_eq!(fleet.agent("idle").state, State::Stopped);
    fleet.down();
    fleet.up();
    assert_eq!(fleet.agent("idle").reason.code, "asked");
    assert_eq!(fleet.lines("starts").len(), 1);
    fleet.run(&["start", "idle"]).ok();
    fleet.await_lines("starts", 2);
    fleet.down();
}

/// Behind a shell that does not pass the signal on.
#[test]
fn an_agent_behind_a_wrapper_hears_of_its_stop_over_its_socket() {
    let program = "from openclaw import Agent\n\nclass Wrapped(Agent):\n    \
        async def teardown(self):\n        open('torn-down', 'w').close()\n";
    let sdk = root().join("agent-sdk/python");
    let mut fleet = Fleet::new(&format!(
        "  wrapped:\n    command: [sh, -c, 'trap : TERM; python3 -m openclaw run wrapped.py & \
         wait; wait']\n    mode: worker\n    env: {{PYTHONPATH: {}}}\n",
        sdk.display()
    ));
    std::fs::write(fleet.path("wrapped.py"), program).unwrap();
    fleet.up();
    fleet.await_agent("wrapped", "is ready", |agent| agent.ready);
    fleet.run(&["stop", "wrapped"]).ok();
    assert!(fleet.path("torn-down").exists(), "{}", fleet.said());
    assert_eq!(fleet.ends("wrapped")[0].1, "asked");
    fleet.down();
}
