//! Health: probes, heartbeats, silence, and our own pauses.

use crate::death::{Cause, ExitStatus};
use crate::event::{Command, Event, Fact, Freeze};
use crate::notification::{Notification, WatchdogSignal};
use crate::order::{ProbeKind, ProbeOutcome, SelfCheck};
use crate::spec::{AgentSpec, Check, Overlap, Progress};
use crate::status::PublicState::{Error, Initializing, Paused, Running, Stopping};
use crate::status::Reason;

use super::world::{
    World, daemon, deliveries, name, orders, outcomes, probe, secs, stale, tcp, trigger, worker,
};

fn failure() -> ProbeOutcome {
    ProbeOutcome::Failure("connection refused".to_owned())
}

fn with_liveness(check: Check) -> AgentSpec {
    let mut spec = daemon();
    spec.probes.liveness = Some(probe(check, 30, 3));
    spec
}

fn beat(signal: WatchdogSignal) -> Notification {
    Notification {
        watchdog: Some(signal),
        ..Notification::default()
    }
}

#[test]
fn a_program_that_says_why_it_fails_is_quoted_and_says_nothing_any_more() {
    let says = |text: &str, errno: Option<u16>| Notification {
        status: Some(text.to_owned()),
        errno,
        ..Notification::default()
    };
    let unexplained = Cause::exit(75);
    let explained = Cause::Exit {
        code: 75,
        said: Some("no network".to_owned()),
    };
    for (notes, code, cause) in [
        (vec![says("no network", Some(11))], 75, &explained),
        (vec![says("no network", Some(11))], 0, &Cause::exit(0)),
        (vec![says("half done", None)], 75, &unexplained),
        (vec![says("fine", Some(0))], 75, &unexplained),
        (
            vec![says("no network", Some(11)), says("", None)],
            75,
            &unexplained,
        ),
    ] {
        let mut world = World::new(vec![("a", daemon())]);
        world.started("a");
        let last = notes.last().and_then(|note| note.status.clone());
        for note in notes {
            world.notify("a", note);
        }
        let shown = last.filter(|text| !text.is_empty());
        assert_eq!(world.status("a").status_text, shown);
        let (instance, status) = (world.newest("a"), ExitStatus::Code(code));
        world.fact(Fact::MainExited { instance, status });
        assert_eq!(world.status("a").status_text, None);
        world.exits("a", code);
        let last_death = world.status("a").last_death;
        assert_eq!(last_death.map(|(cause, _)| cause).as_ref(), Some(cause));
    }
}

#[test]
fn a_startup_probe_holds_back_the_others_until_it_passes() {
    let mut spec = with_liveness(tcp());
    spec.probes.startup = Some(probe(tcp(), 1, 60));
    let mut world = World::new(vec![("a", spec)]);
    world.started("a");
    assert_eq!(world.face("a"), (Initializing, "starting_up"));
    assert_eq!(orders(&world.pass(secs(1))), ["probe startup a#1"]);
    world.probed("a", ProbeKind::Startup, failure());
    assert_eq!(orders(&world.pass(secs(1))), ["probe startup a#1"]);
    world.probed("a", ProbeKind::Startup, ProbeOutcome::Success);
    assert_eq!(world.face("a"), (Running, "up"));
    assert_eq!(orders(&world.pass(secs(30))), ["probe liveness a#1"]);
}

#[test]
fn as_many_startup_failures_as_the_threshold_end_the_start() {
    let mut spec = daemon();
    spec.probes.startup = Some(probe(tcp(), 1, 3));
    let mut world = World::new(vec![("a", spec)]);
    world.started("a");
    for _ in 0..3 {
        world.pass(secs(1));
        world.probed("a", ProbeKind::Startup, failure());
    }
    assert_eq!(world.face("a"), (Stopping, "ending"));
    let actions = world.gone("a", ExitStatus::Signal(15));
    assert_eq!(outcomes(&actions), [(1, "start_timeout", true)]);
    assert_eq!(world.face("a"), (Error, "backing_off"));
}

#[test]
fn a_heartbeat_start_needs_ready_in_time() {
    let mut spec = daemon();
    spec.probes.startup = Some(probe(Check::Heartbeat, 10, 3));
    let mut world = World::new(vec![("a", spec.clone())]);
    world.started("a");
    world.pass(secs(29));
    world.ready("a");
    assert_eq!(world.face("a"), (Running, "up"));

    let mut world = World::new(vec![("a", spec)]);
    world.started("a");
    assert_eq!(orders(&world.pass(secs(30))), ["signal 15 a#1"]);
}

#[test]
fn liveness_restarts_after_its_threshold_with_its_own_short_grace() {
    let mut spec = with_liveness(tcp());
    spec.shutdown.timeout = secs(3600);
    let mut world = World::new(vec![("a", spec)]);
    world.started("a");
    for _ in 0..3 {
        assert_eq!(orders(&world.pass(secs(30))), ["probe liveness a#1"]);
        world.probed("a", ProbeKind::Liveness, failure());
    }
    assert_eq!(world.face("a"), (Stopping, "ending"));
    assert_eq!(orders(&world.pass(secs(10))), ["kill a#1"]);
    let actions = world.gone("a", ExitStatus::Signal(9));
    assert_eq!(outcomes(&actions), [(1, "probe", true)]);
}

#[test]
fn an_unknown_outcome_takes_no_action_and_breaks_no_row() {
    let mut world = World::new(vec![("a", with_liveness(tcp()))]);
    world.started("a");
    for outcome in [failure(), ProbeOutcome::Unknown("x".to_owned()), failure()] {
        world.pass(secs(30));
        world.probed("a", ProbeKind::Liveness, outcome);
    }
    assert_eq!(world.face("a"), (Running, "up"));
    assert_eq!(world.status("a").probes, [(ProbeKind::Liveness, 2)]);
}

#[test]
fn a_lost_answer_counts_as_unknown_and_the_next_probe_is_made() {
    let mut world = World::new(vec![("a", with_liveness(tcp()))]);
    world.started("a");
    world.pass(secs(30));
    assert!(orders(&world.pass(secs(39))).is_empty());
    assert_eq!(orders(&world.pass(secs(1))), ["probe liveness a#1"]);
    assert_eq!(world.status("a").probes, [(ProbeKind::Liveness, 0)]);
}

#[test]
fn an_answer_that_nobody_asked_for_is_stale() {
    let mut world = World::new(vec![("a", with_liveness(tcp()))]);
    world.started("a");
    let instance = world.newest("a");
    let actions = world.fact(Fact::Probed {
        instance,
        probe: ProbeKind::Liveness,
        sequence: 7,
        outcome: failure(),
    });
    assert_eq!(stale(&actions), 1);
}

#[test]
fn readiness_never_restarts() {
    let mut spec = daemon();
    spec.probes.readiness = Some(probe(tcp(), 15, 2));
    let mut world = World::new(vec![("a", spec)]);
    world.started("a");
    assert_eq!(world.face("a"), (Running, "not_ready"));
    world.probed("a", ProbeKind::Readiness, ProbeOutcome::Success);
    assert_eq!(world.face("a"), (Running, "up"));
    for _ in 0..20 {
        world.pass(secs(15));
        world.probed("a", ProbeKind::Readiness, failure());
    }
    assert_eq!(world.face("a"), (Running, "not_ready"));
    assert_eq!(orders(&world.done).len(), 22);
}

/// A worker whose file has its own code asked whether it is ready.
fn self_checking() -> World {
    let mut spec = worker(Overlap::Queue);
    spec.probes.readiness = Some(probe(Check::Heartbeat, 15, 2));
    let mut world = World::new(vec![("a", spec)]);
    world.started("a");
    world
}

fn self_checked(world: &mut World, check: SelfCheck) -> usize {
    let instance = world.newest("a");
    let actions = world.fact(Fact::SelfChecked { instance, check });
    deliveries(&actions).count()
}

#[test]
fn a_worker_whose_own_check_is_awaited_gets_no_run_before_it_passes() {
    let mut world = self_checking();
    self_checked(&mut world, SelfCheck::Awaited);
    world.ready("a");
    assert_eq!(world.face("a"), (Running, "not_ready"));
    world.ask(trigger("a"));
    assert_eq!(deliveries(&world.done).count(), 0);
    assert_eq!(
        self_checked(&mut world, SelfCheck::Made(ProbeOutcome::Success)),
        1
    );
    assert!(world.status("a").ready);
}

#[test]
fn as_many_failures_of_its_own_check_as_the_threshold_make_a_worker_not_ready() {
    let mut world = self_checking();
    world.ready("a");
    assert_eq!(world.face("a"), (Running, "waiting"), "it has no check");
    self_checked(&mut world, SelfCheck::Made(failure()));
    assert!(world.status("a").ready, "one failure is not two");
    self_checked(&mut world, SelfCheck::Made(failure()));
    let status = world.status("a");
    let reason = Reason::NotReady {
        detail: "connection refused".to_owned(),
    };
    assert_eq!((status.ready, status.reason), (false, reason));
    assert!(status.probes.contains(&(ProbeKind::Readiness, 2)));
    self_checked(
        &mut world,
        SelfCheck::Made(ProbeOutcome::Unknown("no session".to_owned())),
    );
    assert!(!world.status("a").ready, "who says nothing changes nothing");
    self_checked(&mut world, SelfCheck::Made(ProbeOutcome::Success));
    assert_eq!(world.face("a"), (Running, "waiting"));
}

#[test]
fn an_own_check_is_forgotten_when_the_file_asks_something_else() {
    let mut world = self_checking();
    self_checked(&mut world, SelfCheck::Awaited);
    world.ready("a");
    let mut spec = worker(Overlap::Queue);
    spec.probes.readiness = Some(probe(tcp(), 15, 2));
    world.configure(vec![("a", spec.clone())]);
    world.pass(secs(15));
    world.probed("a", ProbeKind::Readiness, failure());
    world.pass(secs(15));
    world.probed("a", ProbeKind::Readiness, failure());
    assert_eq!(world.face("a"), (Running, "not_ready"));
    self_checked(&mut world, SelfCheck::Made(ProbeOutcome::Success));
    assert_eq!(world.face("a"), (Running, "not_ready"));
    spec.probes.readiness = Some(probe(Check::Heartbeat, 15, 2));
    world.configure(vec![("a", spec)]);
    assert_eq!(world.face("a"), (Running, "waiting"));
}

#[test]
fn who_was_not_told_that_it_must_say_so_is_ready_when_it_has_come_up() {
    let mut spec = daemon();
    let mut world = World::new(vec![("a", spec.clone())]);
    assert!(orders(&world.done).contains(&"spawn a#1".to_owned()));
    spec.probes.readiness = Some(probe(Check::Heartbeat, 15, 2));
    world.configure(vec![("a", spec)]);
    world.started("a");
    assert_eq!(world.face("a"), (Running, "up"));
}

#[test]
fn a_missing_heartbeat_and_a_trigger_end_it() {
    let mut world = World::new(vec![("a", with_liveness(Check::Heartbeat))]);
    world.started("a");
    world.pass(secs(80));
    world.notify("a", beat(WatchdogSignal::Alive));
    assert!(orders(&world.pass(secs(89))).is_empty());
    assert_eq!(orders(&world.pass(secs(1))), ["signal 15 a#1"]);
    let actions = world.gone("a", ExitStatus::Signal(15));
    assert_eq!(outcomes(&actions), [(1, "watchdog", true)]);
    world.pass(secs(5));
    world.started("a");
    let actions = world.notify("a", beat(WatchdogSignal::Trigger));
    assert_eq!(orders(&actions), ["signal 15 a#2"]);
}

#[test]
fn silence_restarts_and_signs_of_work_prevent_it() {
    let mut spec = daemon();
    spec.probes.progress = Some(Progress {
        max_silence: secs(720),
    });
    let mut world = World::new(vec![("a", spec)]);
    world.started("a");
    world.pass(secs(719));
    let instance = world.newest("a");
    world.fact(Fact::Progressed { instance });
    assert!(orders(&world.pass(secs(719))).is_empty());
    assert_eq!(orders(&world.pass(secs(1))), ["signal 15 a#1"]);
}

#[test]
fn more_time_is_given_to_those_who_ask_for_it() {
    let mut spec = daemon();
    spec.probes.startup = Some(probe(Check::Heartbeat, 10, 3));
    let mut world = World::new(vec![("a", spec)]);
    world.started("a");
    world.pass(secs(20));
    let more = Notification {
        extend_timeout: Some(secs(60)),
        ..Notification::default()
    };
    world.notify("a", more.clone());
    assert!(orders(&world.pass(secs(59))).is_empty());
    assert_eq!(orders(&world.pass(secs(1))), ["signal 15 a#1"]);
    world.notify("a", more);
    assert!(orders(&world.pass(secs(59))).is_empty());
    assert_eq!(orders(&world.pass(secs(1))), ["kill a#1"]);
}

#[test]
fn our_own_pause_kills_nobody() {
    let mut spec = with_liveness(Check::Heartbeat);
    spec.probes.progress = Some(Progress {
        max_silence: secs(60),
    });
    let mut world = World::new(vec![("a", spec)]);
    world.started("a");
    world.pass(secs(10));
    world.sleep(secs(3600));
    let actions = world.event(Event::Tick);
    assert!(orders(&actions).is_empty());
    assert!(orders(&world.pass(secs(49))).is_empty());
    assert_eq!(orders(&world.pass(secs(11))), ["signal 15 a#1"]);
}

#[test]
fn a_probe_that_failed_while_we_were_away_does_not_count() {
    let mut world = World::new(vec![("a", with_liveness(tcp()))]);
    world.started("a");
    world.pass(secs(30));
    world.sleep(secs(600));
    world.event(Event::Tick);
    world.probed("a", ProbeKind::Liveness, failure());
    assert_eq!(world.status("a").probes, [(ProbeKind::Liveness, 0)]);
}

#[test]
fn after_our_pause_the_end_of_a_grace_is_looked_at_again_before_the_kill() {
    let mut world = World::new(vec![("a", daemon())]);
    world.started("a");
    world.ask_later(super::world::stop("a"));
    world.pass(secs(10));
    world.sleep(secs(100));
    assert!(orders(&world.event(Event::Tick)).is_empty());
    assert_eq!(orders(&world.pass(secs(1))), ["kill a#1"]);
}

#[test]
fn a_frozen_tree_is_not_probed_and_gets_its_time_back() {
    let mut world = World::new(vec![("a", with_liveness(Check::Heartbeat))]);
    world.started("a");
    world.pass(secs(80));
    let agent = name("a");
    let freeze = Freeze::Yes;
    let before = world.done.len();
    assert!(matches!(
        world.ask(Command::Pause { agent, freeze }),
        Some(Ok(_))
    ));
    assert_eq!(orders(&world.done[before..]), ["freeze a#1"]);
    assert_eq!(world.face("a"), (Paused, "frozen"));
    assert!(orders(&world.pass(secs(10_000))).is_empty());
    let agent = name("a");
    assert!(matches!(world.ask(Command::Resume { agent }), Some(Ok(_))));
    assert_eq!(world.face("a"), (Running, "up"));
    assert!(orders(&world.pass(secs(9))).is_empty());
    assert_eq!(orders(&world.pass(secs(1))), ["signal 15 a#1"]);
}
