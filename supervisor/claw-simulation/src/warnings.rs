//! What its user wants to know before a fleet is left alone for weeks.

use std::collections::{BTreeMap, BTreeSet};

use claw_core::AgentName;
use claw_core::spec::{AgentSpec, Mode, Overlap};

use crate::report::{Agent, Assumed, Report, Spend, Warning, WarningCode};
use crate::tally::Tally;
use crate::{Faults, Setting};

/// From this share of its slots on, in percent, an agent's runs overlap constantly.
const CONSTANTLY: u64 = 10;

/// So many runs that wait at once are a queue that grows.
const LONG_QUEUE: u32 = 10;

/// So many restarts a day are many.
const OFTEN_A_DAY: u64 = 10;

/// From so many starts in the same minutes on two agents are said to start together.
const TOGETHER: usize = 2;

/// An agent is heavy when a run of it takes so long, in seconds, or when it may use as much of the
/// machine as the next two say.
const HEAVY_RUN: u64 = 60;
const HEAVY_CPU_MILLIS: u32 = 1000;
const HEAVY_MEMORY: u64 = 1 << 30;

/// All that is worth a look, by kind.
pub(crate) fn of(
    report: &Report,
    setting: &Setting,
    tallies: &BTreeMap<AgentName, Tally>,
) -> Vec<Warning> {
    let days = (setting.span.as_secs() / 86_400).max(1);
    let mut warnings = Vec::new();
    for agent in &report.agents {
        let Some(spec) = setting.fleet.agents.get(&agent.name) else {
            continue;
        };
        warnings.extend(given_up(agent));
        warnings.extend(never_ready(agent, report));
        warnings.extend(overlaps(agent, spec, setting.faults));
        warnings.extend(queue_grows(agent));
        warnings.extend(never_due(agent, spec));
        warnings.extend(over_budget(agent));
        warnings.extend(restarts_often(agent, days));
        if setting.scheduled_by_program.contains(&agent.name) {
            warnings.push(schedule_unknown(agent));
        }
    }
    warnings.extend(same_minute(setting, tallies));
    warnings.sort_by(|one, other| (one.code, &one.agents).cmp(&(other.code, &other.agents)));
    warnings
}

fn warning(code: WarningCode, agent: &Agent, text: String, advice: &str) -> Warning {
    Warning {
        code,
        agents: vec![agent.name.clone()],
        text,
        advice: advice.to_owned(),
    }
}

fn given_up(agent: &Agent) -> Option<Warning> {
    let given_up = agent.given_up.as_ref()?;
    let name = &agent.name;
    let text = format!(
        "{name} is not started any more from {:.0} on ({}): {}",
        given_up.at, given_up.reason, given_up.detail
    );
    let advice = "raise `max_retries` of its `restart_policy`, or mend what ends it";
    Some(warning(WarningCode::GivenUp, agent, text, advice))
}

fn never_ready(agent: &Agent, report: &Report) -> Option<Warning> {
    let waited = agent.waited_seconds.0;
    if agent.waits_for.is_empty() || agent.starts > 0 {
        return None;
    }
    let names: Vec<&str> = agent.waits_for.iter().map(AgentName::as_str).collect();
    let text = format!(
        "{} was never started: it waited {} for {}",
        agent.name,
        whole(waited.as_secs()),
        names.join(", ")
    );
    let never_runs = |other: &Agent| {
        agent.waits_for.contains(&other.name)
            && other.mode == Mode::Oneshot
            && other.runs.started == 0
            && other.slots.due == 0
    };
    let advice = if report.agents.iter().any(never_runs) {
        "look at what it depends on: a oneshot is `completed` when a run of it has succeeded"
    } else {
        "look at what it depends on, and at its probes"
    };
    Some(warning(WarningCode::NeverReady, agent, text, advice))
}

fn overlaps(agent: &Agent, spec: &AgentSpec, faults: Faults) -> Option<Warning> {
    let schedule = spec.schedule.as_ref()?;
    let due = agent.slots.due;
    let (dropped, what) = match schedule.overlap {
        Overlap::Skip | Overlap::Queue => (agent.slots.skipped_overlap, "were dropped"),
        Overlap::Replace => (agent.runs.cancelled, "ended the run before"),
        Overlap::Allow if agent.most_at_once > LONG_QUEUE => {
            let text = format!(
                "up to {} runs of {} went on at once",
                agent.most_at_once, agent.name
            );
            let advice = "give it a longer distance, or `overlap: skip`";
            return Some(warning(WarningCode::Overlaps, agent, text, advice));
        }
        Overlap::Allow => return None,
    };
    if dropped < 3 || dropped * 100 < due * CONSTANTLY {
        return None;
    }
    let text = format!(
        "{dropped} of {due} slots of {} {what}, because a run was still under way",
        agent.name
    );
    let advice = match (agent.assumed, faults, schedule.timeout) {
        (_, Faults::Drawn, None) => {
            "give its schedule a `timeout`, without which nothing ends a run that hangs, or a longer distance"
        }
        (Assumed::Default, Faults::None, _) => {
            "say how long its runs take with `--assume`; nothing is known of them here"
        }
        (Assumed::Default | Assumed::Given, _, _) => {
            "give its schedule a longer distance, or make its runs shorter"
        }
    };
    Some(warning(WarningCode::Overlaps, agent, text, advice))
}

fn queue_grows(agent: &Agent) -> Option<Warning> {
    (agent.most_queued >= LONG_QUEUE).then(|| {
        let text = format!("up to {} runs of {} waited", agent.most_queued, agent.name);
        let advice = "give its schedule a longer distance, or a higher `concurrency`";
        warning(WarningCode::QueueGrows, agent, text, advice)
    })
}

fn never_due(agent: &Agent, spec: &AgentSpec) -> Option<Warning> {
    if spec.schedule.is_none() || agent.slots.due > 0 || !agent.waits_for.is_empty() {
        return None;
    }
    let next = agent.next_slot;
    let next = next.map_or_else(String::new, |next| {
        format!("; the next one is at {next:.0}")
    });
    let text = format!("no slot of {} was due in all that time{next}", agent.name);
    let advice = "look at its schedule, or simulate a longer time with `--for`";
    Some(warning(WarningCode::NeverDue, agent, text, advice))
}

fn over_budget(agent: &Agent) -> Option<Warning> {
    let Spend::Estimated(spent) = &agent.spend else {
        return None;
    };
    let refusal = spent.first_refusal.as_ref()?;
    let text = format!(
        "{} has no money left from {:.0} on: the budget of {} for the {} is {} USD; {} calls were refused",
        agent.name,
        refusal.at,
        refusal.scope,
        refusal.period,
        refusal.limit_usd,
        spent.refused_calls
    );
    let advice = "raise the budget, take a cheaper model, or run it less often";
    Some(warning(WarningCode::OverBudget, agent, text, advice))
}

fn restarts_often(agent: &Agent, days: u64) -> Option<Warning> {
    let restarts: u64 = agent.restarts.values().sum();
    if restarts < OFTEN_A_DAY * days || agent.given_up.is_some() {
        return None;
    }
    let causes: Vec<&str> = agent.restarts.keys().copied().collect();
    let (name, causes) = (&agent.name, causes.join(", "));
    let (text, advice) = match agent.mode {
        Mode::Daemon => (
            format!("{name} was started again {restarts} times ({causes})"),
            "set `max_retries`, so that somebody is told, or mend what ends it",
        ),
        Mode::Oneshot | Mode::Worker => (
            format!("runs of {name} were tried again {restarts} times ({causes})"),
            "mend what ends them, or set a lower `max_retries`",
        ),
    };
    Some(warning(WarningCode::RestartsOften, agent, text, advice))
}

fn schedule_unknown(agent: &Agent) -> Warning {
    let text = format!(
        "the program of {} may say itself when it runs, which is not known here",
        agent.name
    );
    let advice = format!("say so with `--assume {}:every=5m`", agent.name);
    warning(WarningCode::ScheduleUnknown, agent, text, &advice)
}

/// Heavy agents of which one never starts without another.
fn same_minute(setting: &Setting, tallies: &BTreeMap<AgentName, Tally>) -> Vec<Warning> {
    let heavy: Vec<(&AgentName, &BTreeSet<u64>)> = tallies
        .iter()
        .filter(|(name, tally)| tally.minutes.len() >= TOGETHER && is_heavy(setting, name))
        .map(|(name, tally)| (name, &tally.minutes))
        .collect();
    let mut told: BTreeSet<AgentName> = BTreeSet::new();
    let mut warnings = Vec::new();
    for (at, (name, minutes)) in heavy.iter().enumerate() {
        if told.contains(*name) {
            continue;
        }
        let with = heavy[at + 1..].iter().filter(|(_, others)| {
            let (few, many) = if minutes.len() <= others.len() {
                (minutes, others)
            } else {
                (others, minutes)
            };
            few.iter().all(|minute| many.contains(minute))
        });
        let mut together = vec![(*name).clone()];
        together.extend(with.map(|(other, _)| (*other).clone()));
        if together.len() < TOGETHER {
            continue;
        }
        told.extend(together.iter().cloned());
        let names: Vec<&str> = together.iter().map(AgentName::as_str).collect();
        let text = format!(
            "{} are heavy and start in the same minutes",
            names.join(", ")
        );
        warnings.push(Warning {
            code: WarningCode::SameMinute,
            agents: together,
            text,
            advice: "move one of them, or give them `jitter`".to_owned(),
        });
    }
    warnings
}

fn is_heavy(setting: &Setting, name: &AgentName) -> bool {
    let assumption = setting.assumptions.get(name);
    let runs_long = assumption.is_some_and(|assumption| assumption.run.as_secs() >= HEAVY_RUN);
    let resources = setting.fleet.agents.get(name).map(|spec| &spec.resources);
    let takes_much = resources.is_some_and(|resources| {
        resources
            .cpu_millis
            .is_some_and(|cpu| cpu >= HEAVY_CPU_MILLIS)
            || resources
                .memory
                .is_some_and(|memory| memory >= HEAVY_MEMORY)
    });
    runs_long || takes_much
}

/// A span in its largest unit, rounded down.
fn whole(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
