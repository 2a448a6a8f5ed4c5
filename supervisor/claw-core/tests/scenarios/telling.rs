//! Actions as sentences.

use claw_core::action::Happened;
use claw_core::{
    Action, AgentStatus, Announcement, Answer, GateStage, HaltChange, Order, Reason, RunId,
    RunPhase, Trigger, Wall,
};

/// Runs have long ids; a story numbers them.
#[derive(Default)]
pub(crate) struct Teller {
    runs: Vec<RunId>,
}

impl Teller {
    /// `None` for what nobody outside would notice.
    pub(crate) fn tell(&mut self, action: &Action) -> Option<String> {
        match action {
            Action::Record { .. } => None,
            Action::Order(order) => self.order(order),
            Action::Reply { result, .. } => Some(match result {
                Ok(Answer::Status(status)) => format!("answer: {}", state(status)),
                Ok(Answer::Run(run)) => {
                    let number = self.number(run.id);
                    format!("answer: run {number} is {}", phase(&run.phase))
                }
                Ok(Answer::Configured {
                    added,
                    changed,
                    removed,
                }) => format!("answer: added {added:?}, changed {changed:?}, removed {removed:?}"),
                Err(refusal) => format!("refused: {refusal}"),
            }),
            Action::Announce(announcement) => self.announcement(announcement),
            Action::AllStopped => Some("all stopped".to_owned()),
        }
    }

    fn order(&mut self, order: &Order) -> Option<String> {
        let id = order.instance();
        Some(match order {
            Order::Spawn { run: None, .. } => format!("spawn {id}"),
            Order::Spawn { run: Some(run), .. } => {
                let number = self.number(run.run);
                format!("spawn {id} for run {number}, attempt {}", run.attempt)
            }
            Order::Signal { signal, .. } => format!("signal {signal} to {id}"),
            Order::Kill { .. } => format!("kill {id}"),
            Order::Freeze { .. } => format!("freeze {id}"),
            Order::Thaw { .. } => format!("thaw {id}"),
            Order::Probe { probe, .. } => format!("probe {probe} of {id}"),
            Order::RunHook { hook, .. } => format!("run {hook} of {id}"),
            Order::Deliver { run, .. } => {
                let number = self.number(run.run);
                format!("deliver run {number}, attempt {}, to {id}", run.attempt)
            }
            Order::CancelRun { run, .. } => format!("cancel run {} of {id}", self.number(*run)),
            Order::Drain { until, .. } => format!("drain {id} until {}", clock(*until)),
            Order::Release { .. } => return None,
        })
    }

    fn announcement(&mut self, announcement: &Announcement) -> Option<String> {
        let Announcement {
            at,
            agent,
            happened,
        } = announcement;
        let what = match happened {
            Happened::StateChanged {
                state,
                ready,
                reason,
            } => {
                let ready = if *ready { ", ready" } else { "" };
                format!("{agent} is {state}{ready}: {}", because(reason))
            }
            Happened::Started { .. } | Happened::RunChanged { .. } | Happened::Adopted { .. } => {
                return self.of_lives(announcement);
            }
            Happened::Ended {
                instance,
                cause,
                failed,
            } => {
                let failed = if *failed { ", a failure" } else { "" };
                format!("{instance} {cause}{failed}")
            }
            Happened::ProbeFailed {
                probe, consecutive, ..
            } => format!("{probe} of {agent} failed, {consecutive} in a row"),
            Happened::SlotSettled { slot, fate, run } => {
                let fate = serde_json::to_value(fate).unwrap();
                let fate = fate.as_str().unwrap_or_default().replace('_', " ");
                let run = run.map(|run| format!(", run {}", self.number(run)));
                format!(
                    "slot {} of {agent}: {fate}{}",
                    clock(*slot),
                    run.unwrap_or_default()
                )
            }
            Happened::SwitchTurned { change } => match &**change {
                HaltChange::Halted(halt) => format!("{agent} is halted: {}", halt.level),
                HaltChange::Lifted { .. } => format!("{agent} is let go"),
            },
            Happened::StaleFact { detail } => format!("ignored: {detail}"),
        };
        Some(format!("{} {what}", clock(*at)))
    }

    fn of_lives(&mut self, announcement: &Announcement) -> Option<String> {
        let at = clock(announcement.at);
        match &announcement.happened {
            Happened::Adopted { instance, .. } => Some(format!("{at} {instance} is adopted")),
            Happened::RunChanged { run } => {
                let number = self.number(run.id);
                let cause = match &run.trigger {
                    Trigger::Schedule { slot } => format!("slot {}", clock(*slot)),
                    Trigger::Manual | Trigger::Start => run.trigger.to_string(),
                };
                let phase = phase(&run.phase);
                Some(format!(
                    "{at} run {number} of {} ({cause}) is {phase}",
                    run.agent
                ))
            }
            Happened::Started { .. }
            | Happened::StateChanged { .. }
            | Happened::Ended { .. }
            | Happened::ProbeFailed { .. }
            | Happened::SlotSettled { .. }
            | Happened::SwitchTurned { .. }
            | Happened::StaleFact { .. } => None,
        }
    }

    fn number(&mut self, run: RunId) -> usize {
        let known = self.runs.iter().position(|known| *known == run);
        known.unwrap_or_else(|| {
            self.runs.push(run);
            self.runs.len() - 1
        }) + 1
    }
}

/// The time of day; stories are short.
pub(crate) fn clock(at: Wall) -> String {
    at.to_zoned(jiff::tz::TimeZone::UTC)
        .strftime("%H:%M:%S")
        .to_string()
}

fn phase(phase: &RunPhase) -> String {
    match phase {
        RunPhase::Queued => "queued".to_owned(),
        RunPhase::Running { .. } => "running".to_owned(),
        RunPhase::Retrying { next, cause } => format!("retried at {}: it {cause}", clock(*next)),
        RunPhase::Finished { outcome, .. } => outcome.code().to_owned(),
    }
}

fn because(reason: &Reason) -> String {
    let code = reason.code().replace('_', " ");
    match reason {
        Reason::BackingOff {
            cause,
            until,
            failures,
        } => format!(
            "{code} until {}, {failures} failures, it {cause}",
            clock(*until)
        ),
        Reason::WaitingFor { agents } if !agents.is_empty() => format!("{code} {agents:?}"),
        Reason::GaveUp { cause, failures } => {
            format!("{code} after {failures} failures, it {cause}")
        }
        Reason::Halted(halt) => format!("{code}, {}", halt.level),
        Reason::NotRestarted { cause } | Reason::Ending { cause } => format!("{code}, it {cause}"),
        Reason::ProviderDown {
            provider,
            since,
            stage,
        } => {
            let stage = match stage {
                GateStage::Shut => "nobody tries".to_owned(),
                GateStage::Tried { by } => format!("{by} tries first"),
                GateStage::Opening => "one after another".to_owned(),
            };
            format!("{code}, {provider} since {}, {stage}", clock(*since))
        }
        Reason::WaitingFor { .. }
        | Reason::Queued
        | Reason::PreStart
        | Reason::Spawning
        | Reason::Preparing { .. }
        | Reason::Unobserved { .. }
        | Reason::NeedsRestart { .. }
        | Reason::StartingUp
        | Reason::Up
        | Reason::Waiting
        | Reason::Working { .. }
        | Reason::NotReady { .. }
        | Reason::Paused
        | Reason::Frozen
        | Reason::Asked
        | Reason::Completed
        | Reason::Refused { .. } => code,
    }
}

fn state(status: &AgentStatus) -> String {
    let ready = if status.ready { ", ready" } else { "" };
    format!(
        "{} is {}{ready}: {}",
        status.name,
        status.state,
        because(&status.reason)
    )
}

/// One line per agent.
pub(crate) fn line(status: &AgentStatus) -> String {
    let instance = status
        .instance
        .as_ref()
        .map(|live| format!(" as #{}", live.generation));
    let next = status
        .runs
        .next
        .map(|next| format!(", next slot {}", clock(next)));
    let mut runs = String::new();
    let (queued, active) = (status.runs.queued, status.runs.active);
    if queued + active > 0 {
        runs = format!(", {active} runs at work, {queued} waiting");
    }
    format!(
        "{}{}, {} restarts{runs}{}",
        state(status),
        instance.unwrap_or_default(),
        status.restarts,
        next.unwrap_or_default()
    )
}
