//! When an agent that ended is started again.

use std::collections::BTreeSet;
use std::time::Duration;

use claw_daemon::api::{Agent, State};

use crate::fleet::{Fleet, agent, holds_for, until};

/// The time from the end to the next start, as announced, in milliseconds.
fn delay_ms(agent: &Agent) -> i64 {
    let died = agent.last_death.as_ref().expect("it died").at;
    let next = agent.reason.until.expect("it backs off");
    next.as_millisecond() - died.as_millisecond()
}

/// Case 6: the gaps grow to the cap and stay there.
#[test]
fn an_agent_that_always_dies_soon_is_started_ever_more_rarely_up_to_the_cap() {
    let mut fleet = Fleet::new("");
    let starts = fleet.place("starts");
    let policy = "restart_policy: {initial_delay: 100ms, max_delay: 800ms, jitter: 0%, max_retries: unlimited}";
    fleet.write(
        "",
        &agent(
            "short",
            &["mark-time", &starts, "sleep", "50", "exit", "1"],
            policy,
        ),
    );
    fleet.up();
    let times: Vec<i64> = fleet
        .await_lines("starts", 8)
        .iter()
        .map(|line| line.parse().unwrap())
        .collect();
    let gaps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (gap, least) in gaps.iter().zip([150, 250, 450, 850, 850, 850, 850]) {
        // Never earlier than configured, less what clocks are rounded by; later on a busy machine.
        assert!(*gap >= least - 2 && *gap < least + 700, "{gaps:?}");
    }
    fleet.down();
}

/// Case 7: an hour of health (here a second) sets the delay back, also over a crash of ours.
#[test]
fn healthy_operation_sets_the_delay_back_to_the_first_step() {
    let mut fleet = Fleet::new("");
    let (a, b, c) = (fleet.place("a"), fleet.place("b"), fleet.place("c"));
    let (up, go) = (fleet.place("up"), fleet.place("go"));
    let script = [
        "if-first",
        &a,
        "[",
        "exit",
        "1",
        "]",
        "if-first",
        &b,
        "[",
        "exit",
        "1",
        "]",
        "if-first",
        &c,
        "[",
        "mark",
        &up,
        "await-file",
        &go,
        "exit",
        "1",
        "]",
        "forever",
    ];
    let policy =
        "restart_policy: {initial_delay: 300ms, max_delay: 10s, reset_after: 1s, jitter: 0%}";
    fleet.write("", &agent("mending", &script, policy));
    fleet.up();
    fleet.await_lines("up", 1);
    fleet.crash_and_up();
    holds_for(Duration::from_millis(1500), "it is healthy", || {
        fleet.ends("mending").len() == 2
    });
    std::fs::write(&go, "").unwrap();
    let failed = fleet.await_agent("mending", "backs off", |agent| {
        agent.reason.code == "backing_off"
            && agent.instance.is_none()
            && agent.reason.until.is_some()
    });
    assert_eq!(failed.reason.failures, Some(1));
    assert!((298..700).contains(&delay_ms(&failed)), "{failed:#?}");
    fleet.await_main("mending");
    fleet.down();
}

/// Case 9: agents that failed together do not come back together.
#[test]
fn delays_differ_between_agents_also_at_the_cap() {
    let names: Vec<String> = (0..8).map(|number| format!("crasher-{number}")).collect();
    let policy = "restart_policy: {initial_delay: 2s, max_delay: 2s, jitter: 50%}";
    let agents: String = names
        .iter()
        .map(|name| agent(name, &["exit", "1"], policy))
        .collect();
    let mut fleet = Fleet::new(&agents);
    fleet.up();
    let delays: Vec<i64> = names
        .iter()
        .map(|name| delay_ms(&fleet.await_state(name, State::Error)))
        .collect();
    assert!(
        delays.iter().all(|delay| (1998..3200).contains(delay)),
        "{delays:?}"
    );
    let different: BTreeSet<i64> = delays.iter().map(|delay| delay / 10).collect();
    assert!(different.len() > 4, "{delays:?}");
    fleet.down();
}

/// A backoff is a promise about a point in time, whoever keeps it.
#[test]
fn a_backoff_goes_on_to_the_same_moment_over_a_crash_of_the_supervisor() {
    let mut fleet = Fleet::new("");
    let starts = fleet.place("starts");
    let policy = "restart_policy: {initial_delay: 3s, max_delay: 3s, jitter: 0%}";
    fleet.write(
        "",
        &agent("crasher", &["mark-time", &starts, "exit", "1"], policy),
    );
    fleet.up();
    let before = fleet.await_state("crasher", State::Error);
    fleet.crash_and_up();
    let after = fleet.agent("crasher");
    assert_eq!(after.state, State::Error, "{after:#?}");
    let moved = delay_ms(&after) - delay_ms(&before);
    assert!(moved.abs() < 100, "{before:#?} {after:#?}");
    let times: Vec<i64> = fleet
        .await_lines("starts", 2)
        .iter()
        .map(|line| line.parse().unwrap())
        .collect();
    assert!(times[1] - times[0] >= 2990, "{times:?}");
    fleet.down();
}

/// Exit codes say what no policy can know.
#[test]
fn exit_codes_decide_whether_another_try_is_worth_it() {
    let once = |name: &str, code: &str, policy: &str| agent(name, &["exit", code], policy);
    let mut fleet = Fleet::new("");
    let again = fleet.place("again");
    let quick = "restart_policy: {initial_delay: 20ms, max_retries: 2}";
    let oneshot = "mode: oneshot, restart_policy: {initial_delay: 20ms, max_retries: 2}";
    fleet.write(
        "",
        &[
            once("fatal", "78", quick),
            once("hopeless", "7", quick),
            once("never", "7", "restart_policy: {policy: never}"),
            once("content", "0", "restart_policy: {policy: on-failure}"),
            once("temporary", "75", oneshot),
            once("permanent", "7", oneshot),
            agent(
                "eager",
                &["if-first", &again, "[", "exit", "9", "]", "forever"],
                "restart_policy: {initial_delay: 1h, max_delay: 1h, exit_codes: {again: [9]}}",
            ),
        ]
        .concat(),
    );
    fleet.up();
    let reason = |name: &str| fleet.await_state(name, State::Stopped).reason.code;
    assert_eq!(reason("fatal"), "gave_up");
    assert_eq!(reason("hopeless"), "gave_up");
    assert_eq!(reason("never"), "not_restarted");
    assert_eq!(reason("content"), "completed");
    assert_eq!(fleet.ends("fatal").len(), 1);
    assert_eq!(fleet.ends("hopeless").len(), 3);
    let attempts = |name: &str| {
        until("the run is over", || {
            fleet
                .runs(name)
                .into_iter()
                .find(|run| run.state.is_final())
                .map(|run| run.attempts)
        })
    };
    assert_eq!((attempts("temporary"), attempts("permanent")), (3, 1));
    fleet.await_main("eager");
    assert_eq!(fleet.agent("eager").instance.unwrap().generation, 2);
    fleet.down();
}

/// A daemon that ends well comes back with growing delays, and is never given up for it.
#[test]
fn a_daemon_that_exits_with_zero_is_started_again_and_never_given_up() {
    let mut fleet = Fleet::new("");
    let starts = fleet.place("starts");
    let policy = "restart_policy: {initial_delay: 20ms, max_delay: 40ms, max_retries: 1}";
    fleet.write("", &agent("calm", &["mark", &starts, "exit", "0"], policy));
    fleet.up();
    fleet.await_lines("starts", 6);
    assert_ne!(fleet.agent("calm").state, State::Stopped);
    fleet.down();
}

/// Nobody of us sent the signal, so it is a failure, SIGTERM too.
#[test]
fn a_signal_from_outside_is_a_failure_and_named() {
    let mut fleet = Fleet::new(&agent(
        "shot",
        &["forever"],
        "restart_policy: {initial_delay: 1h, max_delay: 1h}",
    ));
    fleet.up();
    fleet
        .await_main("shot")
        .signal(rustix::process::Signal::TERM);
    let failed = fleet.await_agent("shot", "backs off", |agent| {
        agent.reason.code == "backing_off"
    });
    assert_eq!(failed.reason.cause.unwrap().signal, Some(15));
    fleet.run(&["start", "shot"]).ok();
    fleet.await_main("shot");
    fleet.down();
}
