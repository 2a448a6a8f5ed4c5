//! When each order may be given.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use claw_core::event::ShutdownMode;
use claw_core::memory::{AgentMemory, Goal, Hold};
use claw_core::spec::{AgentSpec, Check, Mode, Overlap};
use claw_core::{
    Action, AgentName, Command, Event, Fact, HaltLevel, Hook, InstanceId, Order, ProbeKind, Record,
};

use super::halts::Halts;
use super::instances::{Known, Signalled};
use super::{Instances, Seen, Verdict, must};

/// Clocks are read a little apart.
const A_BIT: Duration = Duration::from_millis(2);

/// The most grace an agent gets that is not healthy, and one that nobody configures any more.
const SHORT_GRACE: Duration = Duration::from_secs(10);
const ORPHAN_GRACE: Duration = Duration::from_secs(30);

/// A kill comes this long after its time at the latest.
const KILL_SLACK: Duration = Duration::from_secs(3);

/// A driver that says nothing about a spawn for this long may be told to kill.
const SPAWN_PATIENCE: Duration = Duration::from_secs(30);

impl Instances {
    pub(crate) fn check(
        &mut self,
        seen: &Seen<'_>,
        action: &Action,
        (memories, halts): (&BTreeMap<AgentName, AgentMemory>, &Halts),
    ) -> Verdict {
        match action {
            Action::Record {
                record: Record::Intent { instance, .. },
                ..
            } => {
                self.wanted(instance, seen, memories)?;
                self.intends(seen, instance)
            }
            Action::Record {
                record: Record::Outcome { instance, .. },
                ..
            } => self.concludes(instance),
            Action::Order(order) => self.orders(seen, order, (memories, halts)),
            Action::AllStopped => self.all_stopped(),
            Action::Record { .. } | Action::Reply { .. } | Action::Announce(_) => Ok(()),
        }
    }

    fn intends(&mut self, seen: &Seen<'_>, id: &InstanceId) -> Verdict {
        must(self.shutdown.is_none(), "shutdown", || {
            format!("{id} is begun during the shutdown")
        })?;
        let newest = self.newest.entry(id.agent.clone()).or_default();
        let fresh = id.generation > *newest && !seen.journal.contents.intents.contains_key(id);
        must(fresh, "generation", || {
            format!("{id} was used before; the newest was {newest}")
        })?;
        *newest = id.generation;
        let known = self.known.entry(id.clone()).or_default();
        known.places = seen.spec.max_concurrent_starts.get();
        Ok(())
    }

    fn concludes(&self, id: &InstanceId) -> Verdict {
        let spawned = |known: &&Known| known.spawned.is_some();
        let alive = self
            .known
            .get(id)
            .filter(spawned)
            .is_some_and(|known| !known.ended);
        must(!alive, "outcome", || {
            format!("{id} has an outcome and was not reported gone")
        })
    }

    fn orders(
        &mut self,
        seen: &Seen<'_>,
        order: &Order,
        (memories, halts): (&BTreeMap<AgentName, AgentMemory>, &Halts),
    ) -> Verdict {
        must(self.shutdown != Some(ShutdownMode::Keep), "keep", || {
            format!("{order:?} after everything was to be kept")
        })?;
        let id = order.instance();
        match order {
            Order::Spawn { spec, .. } => {
                self.may_spawn(seen, id, spec)?;
                let goal = memories.get(&id.agent).map(|memory| memory.goal);
                must(goal != Some(Goal::Down), "goal", || {
                    format!("{id} is started while its goal is down")
                })?;
                self.spawned(seen, id, spec)
            }
            Order::Signal { .. } => self.signals(seen, id),
            Order::Kill { .. } => self.kills(seen, id, (memories, halts)),
            Order::Freeze { .. } => {
                self.known.entry(id.clone()).or_default().frozen = true;
                Ok(())
            }
            Order::Thaw { .. } => {
                self.known.entry(id.clone()).or_default().frozen = false;
                Ok(())
            }
            Order::Probe {
                probe,
                spec,
                sequence,
                ..
            } => self.probes(seen, (id, *probe, *sequence), spec),
            Order::RunHook { hook, spec, .. } => self.runs_hook(seen, id, *hook, spec),
            // A worker's grace begins with its drain.
            Order::Drain { .. } => self.signals(seen, id),
            Order::Deliver { .. } | Order::CancelRun { .. } => Ok(()),
            Order::Release { .. } => must(
                seen.journal.contents.outcomes.contains_key(id),
                "durable",
                || format!("{id} is released before its outcome is written down"),
            ),
        }
    }

    fn may_spawn(&self, seen: &Seen<'_>, id: &InstanceId, spec: &AgentSpec) -> Verdict {
        must(
            seen.journal.contents.intents.contains_key(id),
            "intent",
            || format!("{id} is started before the intent is written down"),
        )?;
        let known = self.known.get(id);
        must(
            known.is_none_or(|known| known.spawned.is_none()),
            "generation",
            || format!("{id} is started twice"),
        )?;
        let passed = known.is_some_and(|known| known.pre_start_passed);
        must(passed || spec.hooks.pre_start.is_none(), "hook", || {
            format!("{id} is started without its pre_start hook")
        })?;
        let schedule = spec.schedule.as_ref();
        let several = spec.mode == Mode::Oneshot
            && schedule.is_none_or(|schedule| schedule.overlap == Overlap::Allow);
        let others = self.alive_of(&id.agent, seen);
        must(several || others.is_empty(), "one live instance", || {
            format!("{id} is started beside {others:?}")
        })?;
        let truly_alive =
            seen.host.processes.iter().find(|(other, process)| {
                other.agent == id.agent && *other != id && process.lives()
            });
        must(
            several || truly_alive.is_none(),
            "one live instance",
            || format!("{id} is started beside {truly_alive:?}, which lives"),
        )
    }

    /// Nobody begins to start what is stopped, paused or given up. A start under way goes on
    /// when it is paused.
    fn wanted(
        &self,
        id: &InstanceId,
        seen: &Seen<'_>,
        memories: &BTreeMap<AgentName, AgentMemory>,
    ) -> Verdict {
        let Some(memory) = memories.get(&id.agent) else {
            return Ok(());
        };
        must(memory.goal == Goal::Up, "goal", || {
            format!("{id} is begun while its goal is down")
        })?;
        must(memory.hold == Hold::None, "goal", || {
            format!("{id} is begun while it is paused")
        })?;
        let spec = seen.spec.agents.get(&id.agent);
        let daemon = spec.is_some_and(|spec| spec.mode != Mode::Oneshot);
        must(!daemon || memory.latch.is_none(), "goal", || {
            format!("{id} is begun in spite of {:?}", memory.latch)
        })
    }

    fn spawned(&mut self, seen: &Seen<'_>, id: &InstanceId, spec: &Arc<AgentSpec>) -> Verdict {
        if spec.mode != Mode::Oneshot {
            let starting = self.starting();
            // It keeps the place that it was given when there were more.
            let given = self.known.get(id).map_or(0, |known| known.places);
            let most = given.max(seen.spec.max_concurrent_starts.get());
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            must(starting.len() < most, "starts", || {
                format!("{id} is started while of {most} {starting:?} are starting")
            })?;
        }
        let known = self.known.entry(id.clone()).or_default();
        known.spawned = Some(seen.time);
        known.spec = Some(Arc::clone(spec));
        known.note_grace(spec);
        // Runs do not come up, they run.
        known.up = spec.mode == Mode::Oneshot;
        self.live.insert(id.clone());
        Ok(())
    }

    fn signals(&mut self, seen: &Seen<'_>, id: &InstanceId) -> Verdict {
        let Some(known) = self.known.get_mut(id) else {
            return must(false, "stale", || format!("{id} is signalled and unknown"));
        };
        must(!known.frozen, "frozen", || {
            format!("{id} is signalled while it is frozen and cannot hear it")
        })?;
        signalled_on_record(seen, id)?;
        let grace = graces(seen, id, known);
        known.signalled.get_or_insert(Signalled {
            at: seen.time,
            grace,
            paused: seen.paused,
        });
        Ok(())
    }

    fn kills(
        &mut self,
        seen: &Seen<'_>,
        id: &InstanceId,
        (memories, halts): (&BTreeMap<AgentName, AgentMemory>, &Halts),
    ) -> Verdict {
        let halt = memories.get(&id.agent).map(|memory| &memory.switch.halt);
        let halt = halt.and_then(Option::as_ref);
        let halted =
            halt.is_some_and(|halt| halt.level >= HaltLevel::Freeze) || halts.is_lifting(&id.agent);
        let hastened = self.shutdown == Some(ShutdownMode::Hasten);
        let Some(known) = self.known.get_mut(id) else {
            return must(false, "stale", || format!("{id} is killed and unknown"));
        };
        let again = std::mem::replace(&mut known.killed, true);
        if hastened || halted || again || known.hook {
            return Ok(());
        }
        let shortest = graces(seen, id, known).0;
        let allowed = match (known.signalled, known.main_exited, known.spawned) {
            (Some(signalled), _, _) => signalled.at + signalled.grace.0.min(shortest),
            (None, Some(exited), _) => exited + shortest,
            (None, None, Some(spawned)) if known.started.is_none() => spawned + SPAWN_PATIENCE,
            (None, None, _) => Duration::MAX,
        };
        must(seen.time + A_BIT >= allowed, "grace", || {
            format!("{id} is killed inside its grace: {known:?}")
        })
    }

    /// Who was asked to end and does not is killed in time.
    pub(crate) fn check_kills(&self, seen: &Seen<'_>) -> Verdict {
        for id in &self.live {
            let known = &self.known[id];
            let Some(signalled) = known.signalled else {
                continue;
            };
            let away = seen.paused.saturating_sub(signalled.paused);
            let due = signalled.at + signalled.grace.1 + away + KILL_SLACK;
            must(known.killed || seen.time <= due, "kill", || {
                format!("{id} was to be killed by {due:?}: {known:?}")
            })?;
        }
        Ok(())
    }

    fn probes(
        &mut self,
        seen: &Seen<'_>,
        (id, kind, sequence): (&InstanceId, ProbeKind, u64),
        spec: &AgentSpec,
    ) -> Verdict {
        let probes = &spec.probes;
        let probe = match kind {
            ProbeKind::Startup => probes.startup.as_ref(),
            ProbeKind::Liveness => probes.liveness.as_ref(),
            ProbeKind::Readiness => probes.readiness.as_ref(),
            ProbeKind::Progress => None,
        };
        let runnable = probe.filter(|probe| probe.check != Check::Heartbeat);
        let Some(probe) = runnable else {
            return must(false, "probe", || {
                format!("{kind} of {id} is nobody's to run")
            });
        };
        let known = self.known.entry(id.clone()).or_default();
        let lives = known.started.is_some() && !known.ended && known.signalled.is_none();
        must(lives && !known.frozen && !known.killed, "probe", || {
            format!("{kind} of {id} is probed: {known:?}")
        })?;
        must(known.up || kind == ProbeKind::Startup, "probe", || {
            format!("{kind} of {id} is probed before it is up")
        })?;
        let answer_due = |at: Duration| at + probe.timeout + Duration::from_secs(1);
        let stacked = known
            .probes
            .get(&kind)
            .is_some_and(|(_, at)| seen.time < answer_due(*at));
        must(!stacked, "probe", || {
            format!("two {kind} probes of {id} at once")
        })?;
        known.probes.insert(kind, (sequence, seen.time));
        Ok(())
    }

    fn runs_hook(
        &mut self,
        seen: &Seen<'_>,
        id: &InstanceId,
        hook: Hook,
        spec: &Arc<AgentSpec>,
    ) -> Verdict {
        let known = self.known.entry(id.clone()).or_default();
        known.spec.get_or_insert_with(|| Arc::clone(spec));
        let alive = known.spawned.is_some() && !known.ended;
        must(!alive, "hook", || {
            format!("{hook} of {id} is run beside its process")
        })?;
        known.hook = true;
        let intended = seen.journal.contents.intents.contains_key(id);
        must(intended || hook == Hook::PostStop, "intent", || {
            format!("{hook} of {id} is run before the intent is written down")
        })
    }

    fn all_stopped(&self) -> Verdict {
        let kept = self.shutdown == Some(ShutdownMode::Keep);
        let spawned = |id: &&InstanceId| self.known[*id].spawned.is_some();
        let rest: Vec<&InstanceId> = self.live.iter().filter(spawned).collect();
        must(self.shutdown.is_some(), "shutdown", || {
            "nobody asked for the end".to_owned()
        })?;
        must(kept || rest.is_empty(), "shutdown", || {
            format!("all are stopped beside {rest:?}")
        })
    }
}

/// A stop is told to an agent when the goal is on record: the supervisor may die in between.
fn signalled_on_record(seen: &Seen<'_>, id: &InstanceId) -> Verdict {
    let Some(Event::Command { command, .. }) = seen.event else {
        return Ok(());
    };
    let stopped = matches!(command, Command::Stop { agent } if *agent == id.agent);
    let memory = seen.journal.contents.agents.get(&id.agent);
    let on_record = memory.is_some_and(|memory| memory.goal == Goal::Down);
    must(!stopped || on_record, "durable", || {
        format!("{id} is signalled before the stop is written down")
    })
}

/// The shortest and the longest grace that can be meant, whatever spec is in force.
fn graces(seen: &Seen<'_>, id: &InstanceId, known: &Known) -> (Duration, Duration) {
    // One that a new supervisor finds and has no place for gets the grace of the fleet file.
    let orphan = seen.event.is_none() || !seen.spec.agents.contains_key(&id.agent);
    let (shortest, longest) = known.grace.unwrap_or((ORPHAN_GRACE, ORPHAN_GRACE));
    let longest = if orphan {
        longest.max(ORPHAN_GRACE)
    } else {
        longest
    };
    let judged = matches!(
        seen.event,
        Some(
            Event::Tick
                | Event::Fact(Fact::Probed { .. } | Fact::Notified { .. } | Fact::ModelCall { .. })
        )
    );
    if judged {
        (shortest.min(SHORT_GRACE), longest)
    } else {
        (shortest, longest)
    }
}
