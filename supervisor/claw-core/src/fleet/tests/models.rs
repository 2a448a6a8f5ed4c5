//! Calls to models and outages of their providers, as they reach the agents of a fleet.

use crate::action::Action;
use crate::death::Cause;
use crate::event::{Command, Fact, Freeze};
use crate::models::{CallFailure, CallId, GateStage, ModelCall, ProviderName, RequestHash};
use crate::spec::{AgentSpec, Overlap};
use crate::status::PublicState::{Initializing, Paused, Running, Stopping};
use crate::status::Reason;

use super::world::{World, daemon, name, oneshot, orders, secs, stale, worker};

fn openai() -> ProviderName {
    "openai".to_owned()
}

impl World {
    fn calls(&mut self, agent: &str, call: ModelCall) {
        let instance = self.newest(agent);
        self.fact(Fact::ModelCall { instance, call });
    }

    fn goes_down(&mut self) {
        let (provider, until) = (openai(), self.now.wall);
        self.fact(Fact::ProviderDown { provider, until });
    }

    /// It meets the outage and dies of it.
    fn dies_of_outage(&mut self, agent: &str) {
        let provider = openai();
        self.calls(agent, ModelCall::ProviderOut { provider });
        self.exits(agent, 1);
    }

    fn is_refused(&mut self, agent: &str, times: u32) {
        for _ in 0..times {
            let detail = "no such model".to_owned();
            let failure = CallFailure::Refused { detail };
            let request = RequestHash([1; 32]);
            self.calls(agent, ModelCall::Failed { request, failure });
        }
    }

    fn stage(&self, agent: &str) -> Option<GateStage> {
        if let Reason::ProviderDown { stage, .. } = self.status(agent).reason {
            Some(stage)
        } else {
            None
        }
    }
}

fn spawned(actions: &[Action]) -> Vec<String> {
    let mut spawned = orders(actions);
    spawned.retain(|order| order.starts_with("spawn"));
    spawned
}

/// Two agents that died of an outage, of which `a` tries first and has come up.
fn tried_by_a(spec: &AgentSpec) -> World {
    let mut world = World::new(vec![("a", spec.clone()), ("b", spec.clone())]);
    world.started("a");
    world.started("b");
    world.goes_down();
    world.dies_of_outage("a");
    world.dies_of_outage("b");
    world.pass(secs(5));
    world.started("a");
    let by = name("a");
    assert_eq!(world.stage("b"), Some(GateStage::Tried { by }));
    world
}

#[test]
fn the_runs_of_a_oneshot_and_the_lives_of_a_worker_wait_for_the_one_that_tries() {
    let mut once = oneshot();
    once.restart.policy = crate::spec::RestartPolicy::OnFailure;
    for spec in [daemon(), once, worker(Overlap::Queue)] {
        let world = tried_by_a(&spec);
        assert_eq!(world.status("b").state, Initializing);
    }
}

#[test]
fn whoever_tried_first_and_is_stopped_leaves_that_to_the_next_one() {
    let mut world = tried_by_a(&daemon());
    world.ask_later(super::world::stop("a"));
    assert_eq!(world.face("a"), (Stopping, "ending"));
    assert_eq!(world.stage("b"), Some(GateStage::Tried { by: name("a") }));
    let actions = world.exits("a", 0);
    assert_eq!(spawned(&actions), ["spawn b#2"]);
}

#[test]
fn only_the_answer_to_the_life_that_tries_opens_the_gate() {
    let mut world = tried_by_a(&daemon());
    let mut before = world.newest("a");
    before.generation.0 -= 1;
    let call = ModelCall::Answered { provider: openai() };
    let instance = before;
    world.fact(Fact::ModelCall {
        instance,
        call: call.clone(),
    });
    assert_eq!(world.stage("b"), Some(GateStage::Tried { by: name("a") }));
    world.calls("a", call);
    assert_eq!(world.stage("b"), Some(GateStage::Opening));
    assert_eq!(spawned(&world.pass(secs(4))), ["spawn b#2"]);
}

#[test]
fn an_agent_that_is_paused_or_removed_at_the_gate_is_not_let_through_it() {
    let mut world = tried_by_a(&daemon());
    let agent = name("b");
    let freeze = Freeze::No;
    world.ask(Command::Pause { agent, freeze });
    assert_eq!(world.face("b"), (Paused, "paused"));
    world.fact(Fact::ProviderUp { provider: openai() });
    assert!(spawned(&world.pass(secs(900))).is_empty());
    world.configure(vec![("a", daemon())]);
    assert!(spawned(&world.pass(secs(900))).is_empty());
    assert_eq!(world.face("a"), (Running, "up"));
}

#[test]
fn an_agent_that_dies_before_anybody_says_so_is_held_when_it_is_said_in_time() {
    let mut world = World::new(vec![("a", daemon()), ("b", daemon())]);
    for agent in ["a", "b"] {
        world.started(agent);
        world.dies_of_outage(agent);
    }
    world.goes_down();
    assert_eq!(spawned(&world.pass(secs(5))), ["spawn a#2"]);
    assert_eq!(world.stage("b"), Some(GateStage::Tried { by: name("a") }));
}

#[test]
fn another_breaker_holds_for_what_runs() {
    let mut world = World::new(vec![("a", daemon())]);
    world.started("a");
    world.is_refused("a", 3);
    let mut strict = daemon();
    strict.probes.breaker.calls = std::num::NonZeroU16::MIN.saturating_add(3);
    world.configure(vec![("a", strict)]);
    assert_eq!(world.face("a"), (Running, "up"));
    world.is_refused("a", 1);
    let Reason::Ending { cause } = world.status("a").reason else {
        panic!("it goes on: {:?}", world.status("a"));
    };
    let Cause::NoProgress(evidence) = cause else {
        panic!("it ends for {cause}");
    };
    assert_eq!(evidence.calls, 4);
}

#[test]
fn a_worker_without_progress_is_not_asked_to_finish_its_work() {
    let mut world = World::new(vec![("a", worker(Overlap::Queue))]);
    world.started("a");
    world.ready("a");
    world.is_refused("a", 19);
    assert_eq!(world.face("a"), (Running, "waiting"));
    let before = world.done.len();
    world.is_refused("a", 1);
    assert_eq!(orders(&world.done[before..]), ["signal 15 a#1"]);
    assert_eq!(world.face("a"), (Stopping, "ending"));
}

#[test]
fn a_call_may_outlive_its_agent_and_nobody_wonders() {
    let mut world = World::new(vec![("a", daemon())]);
    world.started("a");
    let instance = world.newest("a");
    world.exits("a", 1);
    let call = ModelCall::Ended { call: CallId(1) };
    let of_the_dead = world.fact(Fact::ModelCall { instance, call });
    assert_eq!(stale(&of_the_dead), 0);
}
