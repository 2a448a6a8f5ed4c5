//! What a simulation came to, for people.

use std::collections::BTreeMap;
use std::time::Duration;

use claw_core::action::SlotFate;
use claw_core::spec::Mode;
use claw_simulation::report::{
    Agent, Assumed, Budget, ClockChange, Effect, FaultCounts, Report, Seconds, Spend, Warning,
};
use claw_simulation::{Assumption, RATES};
use owo_colors::OwoColorize;

use crate::render::table;
use crate::render::time::{dash, span};

/// Less than this is not told of in the table.
const WORTH_A_WORD: Duration = Duration::from_millis(100);

/// So many slots around a change of the clock are written out.
const SHOWN: usize = 4;

/// The whole report, a section after another; those with nothing in them are left out.
pub(crate) fn text(report: &Report) -> String {
    let mut sections = vec![head(report), agents(&report.agents)];
    let faults = report.faults.as_ref().map_or_else(Vec::new, faults);
    let budgets: Vec<String> = report.budgets.iter().map(budget).collect();
    let warnings: Vec<String> = report.warnings.iter().map(warning).collect();
    let restarts = counted(&report.agents, |agent| &agent.restarts);
    let failed = counted(&report.agents, |agent| &agent.failed_runs);
    sections.extend(section("faults", &faults));
    sections.extend(section("restarts", &restarts));
    sections.extend(section("failed runs", &failed));
    sections.extend(section("changes of the clock", &changes(&report.agents)));
    sections.extend(section("budgets", &budgets));
    sections.extend(section("warnings", &warnings));
    sections.extend(usual(&report.agents));
    sections.join("\n\n")
}

fn head(report: &Report) -> String {
    let lasts = report.until.duration_since(report.from).as_secs_f64();
    let faults = match report.faults {
        Some(_) => "with faults",
        None => "without faults",
    };
    format!(
        "{}: {} from {:.0} on, {faults}, seed {}, {} steps",
        report.project.bold(),
        span(lasts),
        report.from,
        report.seed,
        report.steps
    )
}

fn section(title: &str, lines: &[String]) -> Option<String> {
    (!lines.is_empty()).then(|| format!("{}\n  {}", title.bold(), lines.join("\n  ")))
}

/// What the columns of the table say. One that may be left out is, where it says nothing of anybody.
const COLUMNS: [(&str, Shown); 14] = [
    ("Agent", Shown::Always),
    ("Runs", Shown::Always),
    ("Ok", Shown::Always),
    ("Failed", Shown::Always),
    ("Cancelled", Shown::IfAny),
    ("Skipped", Shown::Always),
    ("Missed", Shown::Always),
    ("Waited", Shown::IfAny),
    ("Starts", Shown::Always),
    ("Restarts", Shown::Always),
    ("Backoff", Shown::IfAny),
    ("Not ready", Shown::Always),
    ("Spent", Shown::IfAny),
    ("At the end", Shown::Always),
];

/// Those before the first span are numbers.
const NUMBERS: std::ops::Range<usize> = 1..10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Always,
    IfAny,
}

fn agents(agents: &[Agent]) -> String {
    let rows: Vec<[String; 14]> = agents.iter().map(row).collect();
    let says = |column: usize| {
        rows.iter()
            .any(|row| row[column] != "-" && row[column] != "0")
    };
    let (kept, titles): (Vec<usize>, Vec<&str>) = COLUMNS
        .iter()
        .enumerate()
        .filter(|(column, (_, shown))| *shown == Shown::Always || says(*column))
        .map(|(column, (title, _))| (column, *title))
        .unzip();
    let mut grid = table::with_head(&titles);
    let places = kept.iter().enumerate();
    let numbers: Vec<usize> = places
        .filter(|(_, column)| NUMBERS.contains(column))
        .map(|(place, _)| place)
        .collect();
    table::align_right(&mut grid, &numbers);
    for row in &rows {
        grid.add_row(kept.iter().map(|column| &row[*column]));
    }
    table::text(&grid)
}

fn row(agent: &Agent) -> [String; 14] {
    let (runs, slots) = (&agent.runs, &agent.slots);
    let of_runs = |count: u64| match agent.mode {
        Mode::Daemon => dash(),
        Mode::Oneshot | Mode::Worker => count.to_string(),
    };
    let missed = slots.missed_supervisor_away
        + slots.missed_machine_away
        + slots.missed_late
        + slots.held
        + slots.interrupted;
    let seconds = |seconds: Seconds| {
        if seconds.0 < WORTH_A_WORD {
            dash()
        } else {
            span(seconds.0.as_secs_f64())
        }
    };
    [
        agent.name.to_string(),
        of_runs(runs.started),
        of_runs(runs.succeeded),
        of_runs(runs.failed + runs.interrupted),
        of_runs(runs.cancelled),
        of_runs(slots.skipped_overlap),
        of_runs(missed),
        of_runs(u64::from(agent.most_queued)),
        agent.starts.to_string(),
        agent.restarts.values().sum::<u64>().to_string(),
        seconds(agent.longest_backoff_seconds),
        seconds(agent.not_ready_seconds),
        match &agent.spend {
            Spend::NoModels => dash(),
            Spend::NotAssumed => "not assumed".to_owned(),
            Spend::Estimated(spent) => format!("{} USD", spent.usd),
        },
        format!("{} ({})", agent.state, agent.reason),
    ]
}

fn faults(counts: &FaultCounts) -> Vec<String> {
    let happened = format!(
        "deaths of the supervisor: {}, restarts of the machine: {}, outages of providers: {}",
        counts.supervisor_deaths, counts.machine_restarts, counts.provider_outages
    );
    let rates = RATES.map(|(fault, rate)| format!("{fault}: {rate}"));
    let head = [happened, "drawn at these rates:".to_owned()];
    let rates = rates.into_iter().map(|rate| format!("  {rate}"));
    head.into_iter().chain(rates).collect()
}

/// A line for each agent of which there is something to count.
fn counted(agents: &[Agent], of: impl Fn(&Agent) -> &BTreeMap<&'static str, u64>) -> Vec<String> {
    let some = agents.iter().filter(|agent| !of(agent).is_empty());
    let line = |agent: &Agent| {
        let causes = of(agent).iter();
        let causes: Vec<String> = causes
            .map(|(cause, count)| format!("{cause} ({count})"))
            .collect();
        format!("{}: {}", agent.name, causes.join(", "))
    };
    some.map(line).collect()
}

fn changes(agents: &[Agent]) -> Vec<String> {
    let each = agents.iter().flat_map(|agent| {
        let line = |change| format!("{}: {}", agent.name, change_of_clock(change));
        agent.clock_changes.iter().map(line)
    });
    each.collect()
}

fn change_of_clock(change: &ClockChange) -> String {
    let [from, until] = &change.hour;
    let hour = format!("{from} to {until} ({})", change.zone);
    let named = listed(&change.named, change.named_total);
    let due: Vec<String> = change
        .due
        .iter()
        .map(|(at, fate)| format!("{at} ({})", word(*fate)))
        .collect();
    let due = listed(&due, change.due_total);
    let are = if change.named_total == 1 { "is" } else { "are" };
    match change.effect {
        Effect::Moved => format!("the clock leaves out {hour}: {named} {are} due at {due}"),
        Effect::LeftOut => format!("the clock leaves out {hour}: {named} {are} left out"),
        Effect::Once => format!("the clock repeats {hour}: {named} {are} due once, at {due}"),
        Effect::Twice => format!("the clock repeats {hour}: {named} {are} due twice, at {due}"),
    }
}

fn listed(items: &[String], total: u64) -> String {
    if items.is_empty() {
        return "nothing".to_owned();
    }
    let shown = items.len().min(SHOWN);
    let mut text = items[..shown].join(", ");
    let rest = total.saturating_sub(shown as u64);
    if rest > 0 {
        text = format!("{text} and {rest} more");
    }
    text
}

const fn word(fate: SlotFate) -> &'static str {
    match fate {
        SlotFate::Ran => "ran",
        SlotFate::SkippedOverlap => "skipped",
        SlotFate::Missed => "missed",
        SlotFate::CaughtUp => "caught up",
        SlotFate::Interrupted => "interrupted",
        SlotFate::Held => "held",
    }
}

fn budget(budget: &Budget) -> String {
    let Budget {
        scope,
        period,
        limit_usd,
        most_usd,
        times_reached,
    } = budget;
    let reached = match times_reached {
        0 => "never reached".to_owned(),
        1 => format!("stopped calls in 1 {period}"),
        times => format!("stopped calls in {times} {period}s"),
    };
    format!("{scope}: {most_usd} of {limit_usd} USD in the dearest {period}, {reached}")
}

fn warning(warning: &Warning) -> String {
    let Warning { text, advice, .. } = warning;
    format!("{} {text}\n    {} {advice}", "!".yellow(), "hint:".cyan())
}

/// What was taken for granted, so that nobody takes it for knowledge.
fn usual(agents: &[Agent]) -> Option<String> {
    let usual: Vec<&Agent> = agents
        .iter()
        .filter(|agent| agent.assumed == Assumed::Default)
        .collect();
    let first = usual.first()?;
    let Assumption { start, run, .. } = Assumption::default();
    Some(format!(
        "Nothing was said of {} of {} agents: each is taken to be up in {}, its runs to take {} and to \
         succeed, and a daemon to live on.\nSay more, such as: --assume {}",
        usual.len(),
        agents.len(),
        span(start.as_secs_f64()),
        span(run.as_secs_f64()),
        example(first),
    ))
}

fn example(agent: &Agent) -> String {
    match agent.mode {
        Mode::Daemon => format!("{}:start=5s,life=2h,exit=1", agent.name),
        Mode::Oneshot | Mode::Worker => format!("{}:run=2m", agent.name),
    }
}
