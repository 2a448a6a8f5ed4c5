//! Daemons that end, and those that never become ready.

use claw_core::PublicState;
use claw_core::spec::{Check, Condition, Mode, Probe};
use claw_simulation::report::WarningCode;
use claw_simulation::{Assumption, Readiness, simulate};

use crate::fleets::{assume, codes, daemon, every, mins, name, of, only, secs, week};

#[test]
fn a_daemon_that_lives_is_started_once_and_ready_from_then_on() {
    let agent = only(&week([("web", daemon())]));
    assert_eq!((agent.starts, agent.state), (1, PublicState::Running));
    assert!(agent.not_ready_seconds.0 < secs(2), "{agent:?}");
    assert!(agent.restarts.is_empty());
}

#[test]
fn a_crash_loop_is_given_up_at_its_limit() {
    let crashes = Assumption {
        life: Some(secs(2)),
        exit: 1,
        ..Assumption::default()
    };
    let report = simulate(&assume(week([("flaky", daemon())]), "flaky", crashes));
    let agent = of(&report, "flaky");
    // Five failures are answered by another start, the sixth is not: 5, 10, 20, 40, 80 seconds.
    assert_eq!(agent.starts, 6);
    assert_eq!(agent.restarts.get("exit"), Some(&5));
    assert_eq!(agent.longest_backoff_seconds.0, secs(80));
    assert_eq!(agent.given_up.as_ref().unwrap().reason, "gave_up");
    assert_eq!(codes(&report), [WarningCode::GivenUp]);
}

#[test]
fn a_crash_loop_without_a_limit_waits_longer_and_longer() {
    let mut spec = daemon();
    spec.restart.max_retries = None;
    let crashes = Assumption {
        life: Some(secs(2)),
        exit: 1,
        ..Assumption::default()
    };
    let report = simulate(&assume(week([("flaky", spec)]), "flaky", crashes));
    let agent = of(&report, "flaky");
    assert_eq!(agent.longest_backoff_seconds.0, secs(300));
    assert!((1990..2010).contains(&agent.starts), "{}", agent.starts);
    assert_eq!(codes(&report), [WarningCode::RestartsOften]);
}

#[test]
fn runs_that_fail_are_counted_with_their_cause() {
    let fails = Assumption {
        exit: 3,
        ..Assumption::default()
    };
    let agent = only(&assume(week([("tick", every(mins(60)))]), "tick", fails));
    assert_eq!((agent.runs.succeeded, agent.runs.failed), (0, 168));
    assert_eq!(agent.failed_runs.get("exit"), Some(&168));
}

#[test]
fn who_depends_on_an_agent_that_never_becomes_ready_is_told() {
    let mut database = daemon();
    database.probes.readiness = Some(Probe {
        check: Check::Tcp {
            host: "127.0.0.1".to_owned(),
            port: 1,
        },
        interval: secs(15),
        timeout: secs(5),
        threshold: 2,
    });
    let mut web = daemon();
    web.depends_on = [(name("database"), Condition::Ready)].into();
    let setting = week([("database", database), ("web", web)]);
    let ready = simulate(&setting);
    assert_eq!(codes(&ready), []);
    assert_eq!(of(&ready, "web").starts, 1);
    let never = Assumption {
        readiness: Readiness::Never,
        ..Assumption::default()
    };
    let report = simulate(&assume(setting, "database", never));
    assert_eq!(codes(&report), [WarningCode::NeverReady]);
    let advice = &report.warnings[0].advice;
    assert!(advice.contains("its probes"), "{advice}");
    assert_eq!(of(&report, "web").starts, 0);
}

#[test]
fn a_worker_is_one_process_for_all_its_runs() {
    let mut worker = every(mins(5));
    worker.mode = Mode::Worker;
    let agent = only(&week([("worker", worker)]));
    assert_eq!(agent.starts, 1);
    assert_eq!((agent.runs.started, agent.runs.succeeded), (2016, 2016));
}
