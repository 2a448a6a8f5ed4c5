//! What is given to workers: when, to whom, and how often.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use claw_core::order::RunContext;
use claw_core::spec::{AgentSpec, Check, Mode, Overlap};
use claw_core::{
    Action, AgentName, Event, Fact, Inheritance, InstanceId, Order, Record, Run, RunId, RunPhase,
};

use super::{Instances, Seen, Verdict, must};

/// How long an adopted worker has to say what it works on, but for clocks read a little apart.
const ADOPT_GRACE: Duration = Duration::from_millis(29_998);

/// What a worker keeps of its grace for after its work, at the most.
const TEARDOWN: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(crate) struct Deliveries {
    /// What is in the hands of workers, as far as the supervisor was told.
    live: BTreeMap<RunId, Delivery>,
    /// How many at once were in order when a delivery was decided and handed to the journal: the
    /// configuration may change before that answers.
    decided: BTreeMap<RunId, usize>,
    /// Drains that were ordered, and when.
    drains: BTreeMap<InstanceId, Duration>,
}

#[derive(Debug)]
struct Delivery {
    instance: InstanceId,
    attempt: u32,
    /// When a later supervisor took over, which does not know whether it goes on.
    inherited: Option<Duration>,
    /// It was told to drop it.
    cancelled: bool,
    /// Why it may be over.
    over: Option<&'static str>,
}

impl Deliveries {
    pub(crate) fn learn(&mut self, seen: &Seen<'_>) {
        let Some(Event::Fact(fact)) = seen.event else {
            return;
        };
        match fact {
            Fact::RunFinished {
                instance,
                run,
                attempt,
                ..
            } => {
                if let Some(delivery) = self.live.get_mut(run)
                    && (&delivery.instance, delivery.attempt) == (instance, *attempt)
                {
                    delivery.over = Some("finished");
                }
            }
            Fact::Resumed { instance, running } => {
                let own = |delivery: &&mut Delivery| delivery.instance == *instance;
                for (run, delivery) in self.live.iter_mut().map(|(run, d)| (*run, d)) {
                    if !own(&&mut *delivery) || delivery.inherited.take().is_none() {
                        continue;
                    }
                    if !running.contains(&(run, delivery.attempt)) {
                        delivery.over = Some("not resumed");
                    }
                }
            }
            Fact::Gone { instance, .. }
            | Fact::Lost { instance }
            | Fact::SpawnFailed { instance, .. } => {
                for delivery in self.live.values_mut() {
                    if delivery.instance == *instance {
                        delivery.over = Some("instance gone");
                    }
                }
            }
            _ => {}
        }
    }

    pub(crate) fn check(
        &mut self,
        seen: &Seen<'_>,
        action: &Action,
        instances: &Instances,
    ) -> Verdict {
        match action {
            Action::Order(Order::Deliver { instance, run, .. }) => {
                self.delivers(seen, instance, run, instances)
            }
            Action::Order(Order::CancelRun { instance, run }) => {
                if let Some(delivery) = self.live.get_mut(run) {
                    delivery.cancelled = true;
                }
                must(instances.live.contains(instance), "delivery", || {
                    format!("{instance} is told to drop {run} and is not alive")
                })
            }
            Action::Order(Order::Drain { instance, .. }) => {
                let again = self.drains.insert(instance.clone(), seen.time);
                must(again.is_none(), "drain", || {
                    format!("{instance} is drained twice")
                })
            }
            Action::Order(Order::Signal { instance, .. }) => {
                self.signals(seen, instance, instances)
            }
            Action::Record {
                record: Record::Run(run),
                ..
            } => {
                if matches!(run.phase, RunPhase::Running { .. }) {
                    self.decided.insert(run.id, most_of(seen, &run.agent));
                }
                self.written(seen, run, instances)
            }
            _ => Ok(()),
        }
    }

    fn delivers(
        &mut self,
        seen: &Seen<'_>,
        id: &InstanceId,
        run: &RunContext,
        instances: &Instances,
    ) -> Verdict {
        let known = instances.known.get(id);
        let fit = known.is_some_and(|known| {
            let ending = known.signalled.is_some() || known.killed || known.main_exited.is_some();
            let alive = instances.live.contains(id) && known.started.is_some() && !known.ended;
            let unchecked = seen.spec.agents.get(&id.agent).is_none_or(is_unchecked)
                // A replica goes on under the configuration it was started with until its turn.
                || known.spec.as_ref().is_some_and(is_unchecked);
            let proved = unchecked || known.readiness_passed;
            alive && !ending && !known.frozen && known.said_ready && proved
        });
        must(fit, "delivery", || {
            format!("run {} is given to {id}, which is {known:?}", run.run)
        })?;
        let written = seen.journal.contents.runs.get(&run.run);
        let as_it_is = written.is_some_and(|written| {
            let running = matches!(written.phase, RunPhase::Running { .. });
            let same = (written.attempts, written.generation);
            running && same == (run.attempt, Some(id.generation))
        });
        must(as_it_is, "durable", || {
            format!(
                "attempt {} of run {} is delivered, the journal has {written:?}",
                run.attempt, run.run
            )
        })?;
        let before = self.live.get(&run.run);
        must(before.is_none(), "delivery", || {
            format!("run {} is given to {id} beside {before:?}", run.run)
        })?;
        let others = self.live.values();
        let others = others.filter(|other| other.instance.agent == id.agent);
        let others: Vec<&Delivery> = others.collect();
        let decided = self.decided.remove(&run.run).unwrap_or(0);
        let most = most_of(seen, &id.agent).max(decided);
        must(others.len() < most, "overlap", || {
            format!("run {} is given to {id} beside {others:?}", run.run)
        })?;
        self.live.insert(
            run.run,
            Delivery {
                instance: id.clone(),
                attempt: run.attempt,
                inherited: None,
                cancelled: false,
                over: None,
            },
        );
        Ok(())
    }

    /// A delivery ends when the agent said so, or is gone, or did not claim it in time.
    fn written(&mut self, seen: &Seen<'_>, run: &Run, instances: &Instances) -> Verdict {
        let Some(delivery) = self.live.get(&run.id) else {
            return Ok(());
        };
        if matches!(run.phase, RunPhase::Running { .. }) && run.attempts == delivery.attempt {
            return Ok(());
        }
        let unclaimed = delivery
            .inherited
            .is_some_and(|since| seen.time >= since + ADOPT_GRACE);
        let gone = !instances.live.contains(&delivery.instance);
        // A new supervisor finds its agent gone, or of another kind, and its instance in the way.
        let agent = seen.spec.agents.get(&run.agent);
        let homeless = seen.event.is_none() && agent.is_none_or(|agent| agent.mode != Mode::Worker);
        must(
            delivery.over.is_some() || unclaimed || gone || homeless,
            "delivery",
            || {
                format!(
                    "run {} is {:?} and still at work: {delivery:?}",
                    run.id, run.phase
                )
            },
        )?;
        self.live.remove(&run.id);
        Ok(())
    }

    /// Whoever drains has its time for what it works on.
    fn signals(&self, seen: &Seen<'_>, id: &InstanceId, instances: &Instances) -> Verdict {
        let (Some(drained), Some(known)) = (self.drains.get(id), instances.known.get(id)) else {
            return Ok(());
        };
        let busy = self.live.values().find(|delivery| {
            delivery.instance == *id && !delivery.cancelled && delivery.over.is_none()
        });
        let grace = known.grace.map_or(Duration::ZERO, |(shortest, _)| shortest);
        let work = grace - (grace / 5).min(TEARDOWN);
        let early = seen.time + Duration::from_millis(2) < *drained + work;
        must(busy.is_none() || !early, "drain", || {
            format!("{id} drains since {drained:?} and is signalled beside {busy:?}")
        })
    }

    /// What lives on may go on; the rest is interrupted.
    pub(crate) fn inherit(
        &mut self,
        inheritance: &Inheritance,
        instances: &Instances,
        at: Duration,
    ) {
        self.drains.clear();
        self.decided.clear();
        self.live.retain(|run, delivery| {
            let open = inheritance.runs.iter().any(|open| open.id == *run);
            open && instances.live.contains(&delivery.instance)
        });
        for delivery in self.live.values_mut() {
            delivery.inherited = Some(at);
            delivery.over = None;
        }
    }
}

/// Whether no check but its own word tells that it is ready.
fn is_unchecked(spec: &Arc<AgentSpec>) -> bool {
    let readiness = spec.probes.readiness.as_ref();
    readiness.is_none_or(|probe| probe.check == Check::Heartbeat)
}

fn most_of(seen: &Seen<'_>, agent: &AgentName) -> usize {
    seen.spec.agents.get(agent).map_or(1, |spec| most(spec))
}

fn most(spec: &AgentSpec) -> usize {
    let schedule = spec.schedule.as_ref();
    match schedule.map_or(Overlap::Allow, |schedule| schedule.overlap) {
        Overlap::Allow if spec.mode == Mode::Worker => {
            usize::try_from(spec.concurrency.get()).unwrap_or(usize::MAX)
        }
        Overlap::Allow | Overlap::Skip | Overlap::Queue | Overlap::Replace => 1,
    }
}
