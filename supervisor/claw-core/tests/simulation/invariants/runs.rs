//! A run is never at work twice at once, and each slot of a schedule has one fate and one run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use claw_core::action::{Happened, SlotFate};
use claw_core::memory::Recovered;
use claw_core::order::RunContext;
use claw_core::slots::next_after;
use claw_core::spec::{Mode, Timing};
use claw_core::{
    Action, AgentName, Announcement, Event, Fact, Inheritance, InstanceId, Order, Record, RecordId,
    Run, RunId, RunPhase, Trigger, Wall,
};

use super::{Instances, Seen, Verdict, must};
use crate::journal::Journal;

/// More slots at once than the fleet promises to keep.
const A_FLOOD: usize = 500;

#[derive(Default)]
pub(crate) struct Runs {
    known: BTreeMap<RunId, Known>,
    /// The fates that this supervisor gave for good.
    fates: BTreeMap<(AgentName, Wall), SlotFate>,
    /// Those that the journal has not confirmed yet: they may fail and be given anew.
    proposed: BTreeMap<RecordId, ((AgentName, Wall), SlotFate)>,
    /// Slots that this supervisor has handed to the journal at least once.
    offered: BTreeSet<(AgentName, Wall)>,
    /// Slots that were handed over before the wall clock was set: it may bring them once more, and
    /// the journal is what knows that they have their fate.
    doubtful: BTreeSet<(AgentName, Wall)>,
    /// Slots of which the world was told that they have their fate.
    announced: BTreeSet<(AgentName, Wall)>,
    /// The last slot that was settled, while nothing came in between that may skip one.
    settled: BTreeMap<AgentName, Wall>,
    modes: BTreeMap<AgentName, Mode>,
    /// Those that became of another mode under this supervisor. What runs under the old one may
    /// go on for long, and until it is over the old schedule is in force.
    reshaped: BTreeSet<AgentName>,
}

#[derive(Debug, Default)]
struct Known {
    instance: Option<InstanceId>,
    attempts: u32,
    finished: bool,
}

impl Runs {
    pub(crate) fn learn(&mut self, seen: &Seen<'_>) {
        for (agent, spec) in &seen.spec.agents {
            let before = self.modes.insert(agent.clone(), spec.mode);
            if before.is_some_and(|before| before != spec.mode) {
                self.reshaped.insert(agent.clone());
            }
        }
        match seen.event {
            Some(Event::Command { command, .. }) => {
                self.settled.remove(command.agent());
            }
            Some(Event::Configure { .. }) => self.settled.clear(),
            Some(Event::Fact(Fact::Recorded(id))) => {
                let confirmed = self.proposed.remove(id);
                self.fates.extend(confirmed);
            }
            Some(Event::Tick | Event::Fact(_) | Event::Shutdown(_)) | None => {}
        }
    }

    pub(crate) fn check(
        &mut self,
        seen: &Seen<'_>,
        action: &Action,
        instances: &Instances,
    ) -> Verdict {
        match action {
            Action::Order(Order::Spawn {
                instance,
                spec,
                run,
            }) => {
                let of_its_kind = run.is_some() == (spec.mode == Mode::Oneshot);
                must(of_its_kind, "run", || format!("{instance} with {run:?}"))?;
                run.as_ref().map_or(Ok(()), |run| {
                    let known = self.known.get(&run.run);
                    let before = known.and_then(|known| known.instance.as_ref());
                    let beside = before.filter(|other| instances.live.contains(*other));
                    must(beside.is_none(), "run", || {
                        format!("run {} is given to {instance} beside {beside:?}", run.run)
                    })?;
                    self.delivered(seen, instance, run)
                })
            }
            Action::Order(Order::Deliver { instance, run, .. }) => {
                self.delivered(seen, instance, run)
            }
            Action::Record {
                record: Record::Run(run),
                ..
            } => self.written(run),
            Action::Record {
                record:
                    Record::Slot {
                        agent,
                        planned,
                        fate,
                        run,
                    },
                id,
            } => {
                // Its run could not be written down, so nothing comes of it after all.
                let refused = matches!(
                    seen.event,
                    Some(Event::Fact(Fact::RecordFailed { .. }) | Event::Tick)
                );
                if refused && *fate == SlotFate::Missed {
                    self.fates.remove(&(agent.clone(), *planned));
                }
                self.gives_fate(&(agent.clone(), *planned), (*fate, *run), *id)?;
                // What the journal did not take is offered again, later and out of order.
                if self.offered.insert((agent.clone(), *planned)) {
                    self.settles(seen, agent, *planned)
                } else {
                    if let Some(last) = self.settled.get_mut(agent) {
                        *last = (*last).max(*planned);
                    }
                    Ok(())
                }
            }
            Action::Announce(Announcement {
                agent,
                happened: Happened::SlotSettled { slot, .. },
                ..
            }) => {
                self.announced.insert((agent.clone(), *slot));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn delivered(&mut self, seen: &Seen<'_>, id: &InstanceId, run: &RunContext) -> Verdict {
        let written = seen.journal.contents.runs.get(&run.run);
        must(written.is_some(), "durable", || {
            format!("run {} is started before it is written down", run.run)
        })?;
        if let Trigger::Schedule { slot } = run.trigger {
            let key = (id.agent.clone(), slot);
            let owner = seen.journal.contents.slots.get(&key);
            must(owner == Some(&Some(run.run)), "slot", || {
                format!(
                    "run {} for slot {slot} of {}, which has {owner:?}",
                    run.run, id.agent
                )
            })?;
        }
        let known = self.known.entry(run.run).or_default();
        must(!known.finished, "run", || {
            format!("run {} had ended", run.run)
        })?;
        must(run.attempt > known.attempts, "run", || {
            format!(
                "attempt {} of run {} for the second time",
                run.attempt, run.run
            )
        })?;
        known.attempts = run.attempt;
        known.instance = Some(id.clone());
        Ok(())
    }

    fn written(&mut self, run: &Run) -> Verdict {
        let known = self.known.entry(run.id).or_default();
        let finished = matches!(run.phase, RunPhase::Finished { .. });
        must(finished || !known.finished, "run", || {
            format!("run {} had ended and is {:?}", run.id, run.phase)
        })?;
        known.finished = finished;
        Ok(())
    }

    fn gives_fate(
        &mut self,
        slot: &(AgentName, Wall),
        (fate, run): (SlotFate, Option<RunId>),
        id: Option<RecordId>,
    ) -> Verdict {
        if self.doubtful.contains(slot) {
            return Ok(());
        }
        let before = self.fates.get(slot);
        must(before.is_none_or(|before| *before == fate), "slot", || {
            format!("{slot:?} is {fate:?} and was {before:?}")
        })?;
        match id {
            Some(id) => self.proposed.insert(id, (slot.clone(), fate)).map(|_| fate),
            None => self.fates.insert(slot.clone(), fate),
        };
        let runs = matches!(fate, SlotFate::Ran | SlotFate::CaughtUp);
        must(!runs || run.is_some(), "slot", || {
            format!("{slot:?} ran without a run")
        })
    }

    fn settles(&mut self, seen: &Seen<'_>, agent: &AgentName, planned: Wall) -> Verdict {
        let spec = seen.spec.agents.get(agent);
        let schedule = spec.and_then(|spec| spec.schedule.as_ref());
        let known = !self.reshaped.contains(agent);
        let Some(schedule) =
            schedule.filter(|schedule| known && !matches!(schedule.timing, Timing::Every(_)))
        else {
            return Ok(());
        };
        let last = self.settled.insert(agent.clone(), planned);
        let just_before = planned - jiff::SignedDuration::from_secs(1);
        let expected = next_after(schedule, planned, just_before);
        must(expected == Some(planned), "slot", || {
            format!("{agent} has no slot at {planned}")
        })?;
        let Some(last) = last.filter(|last| *last < planned) else {
            return Ok(());
        };
        // After a clock that was set to and fro, the slots of the time that comes again have their
        // fate already.
        let on_record = |slot: &Wall| {
            let key = (agent.clone(), *slot);
            seen.journal.contents.slots.contains_key(&key)
        };
        let slots = std::iter::successors(Some(last), |slot| next_after(schedule, *slot, *slot));
        let following = slots
            .skip(1)
            .find(|slot| *slot >= planned || !on_record(slot));
        must(following == Some(planned), "slot", || {
            format!("slot {following:?} of {agent} was skipped between {last} and {planned}")
        })
    }

    pub(crate) fn wall_clock_was_set(&mut self) {
        self.doubtful.extend(self.offered.iter().cloned());
        self.fates.clear();
        self.proposed.clear();
        self.settled.clear();
    }

    pub(crate) fn inherit(&mut self, inheritance: &Inheritance) {
        self.fates.clear();
        self.proposed.clear();
        self.offered.clear();
        self.doubtful.clear();
        self.announced.clear();
        self.reshaped.clear();
        // The clock was set back, and the memory of that was lost: the time in between is nobody's.
        // An open run of a slot that lies ahead says the same: no slot up to it is planned again.
        self.settled.retain(|agent, settled| {
            let mut runs = inheritance.runs.iter().filter(|run| run.agent == *agent);
            let is_ahead =
                |run: &Arc<Run>| matches!(run.trigger, Trigger::Schedule { slot } if slot > *settled);
            let memory = inheritance.agents.get(agent);
            let settled = Some(*settled);
            !runs.any(is_ahead)
                && memory.is_none_or(|memory| {
                    memory.last_slot <= settled && memory.armed_since <= settled
                })
        });
        for known in self.known.values_mut() {
            known.finished = true;
        }
        for run in &inheritance.runs {
            let known = self.known.entry(run.id).or_default();
            known.finished = false;
        }
        for run in &inheritance.runs {
            let known = self.known.entry(run.id).or_default();
            let under_way = inheritance.instances.iter().any(|(id, _, found)| {
                known.instance.as_ref() == Some(id) && *found != Recovered::NeverStarted
            });
            if !under_way {
                known.attempts = run.attempts;
                known.instance = None;
            }
        }
    }

    pub(crate) fn check_end(&self, journal: &Journal) -> Verdict {
        let slots = &journal.contents.slots;
        let mut unwritten = self
            .announced
            .iter()
            .find(|slot| !slots.contains_key(*slot));
        // After a clock set forward by years, slots may be too many to be kept for a bad journal.
        if self.announced.len() > A_FLOOD {
            unwritten = None;
        }
        must(unwritten.is_none(), "slot", || {
            format!("the fate of {unwritten:?} was told and never written down")
        })?;
        let mut runs = journal.contents.runs.values();
        let running = runs.find(|run| matches!(run.phase, RunPhase::Running { .. }));
        must(running.is_none(), "run", || {
            format!("still said to run at the end: {running:?}")
        })
    }
}
