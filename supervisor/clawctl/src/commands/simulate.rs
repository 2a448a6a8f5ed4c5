//! `clawctl simulate`

mod assume;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use claw_core::spec::{FleetSpec, Mode};
use claw_core::{AgentName, Wall};
use claw_daemon::config::{self, DeclaredTiming, Environment, Loaded, Scheduled};
use claw_simulation::{Assumption, Faults, Setting};
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::validate;
use crate::args::{FileInShort, Global, Output};
use crate::exit::{Exit, Failure};
use crate::render::simulation;
use crate::{complete, locate, print};
use assume::Written;

/// The longest time that is simulated; schedules have shown all they have by then.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// `clawctl simulate`.
#[derive(Debug, Args)]
pub(crate) struct Simulate {
    /// The fleet file, in short.
    #[command(flatten)]
    pub short: FileInShort,
    /// How much time passes, 366d at most
    #[arg(long = "for", value_name = "DURATION", default_value = "7d", value_parser = span)]
    pub span: Duration,
    /// When the supervisor starts: a time, or a date at midnight UTC [default: today]
    #[arg(long, value_name = "TIME", value_parser = begin)]
    pub from: Option<Wall>,
    /// What jitter and faults are drawn from
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Let things go wrong: crashes, hangs, slow starts, outages, deaths of the supervisor and the
    /// machine, at the rates that are printed
    #[arg(long)]
    pub faults: bool,
    /// How an agent behaves, such as `poet:run=30s,calls=5,in=2000,out=500`
    #[arg(long, value_name = "AGENT:KEY=VALUE,…", value_parser = assume::parse)]
    pub assume: Vec<(String, Written)>,
    /// A file of the same, an agent in each line; `--assume` goes before it
    #[arg(long, value_name = "FILE")]
    pub assumptions: Option<PathBuf>,
}

/// Lets the time of a fleet pass, and prints what happened.
///
/// # Errors
///
/// The fleet file has errors, or what is assumed makes no sense.
pub(crate) async fn run(global: &Global, simulate: &Simulate) -> Result<(), Failure> {
    let file = locate::fleet_file(global)?;
    let loaded = config::load(&file, &Environment::of_process())
        .map_err(|diagnostics| validate::report(&diagnostics, global.output))?;
    let setting = setting(&loaded, simulate)?;
    // Ctrl-C ends it at once, however long it has to go.
    let report = tokio::task::spawn_blocking(move || claw_simulation::simulate(&setting));
    let report = report.await.map_err(|bug| {
        let message = format!("the simulation broke off: {bug}");
        Failure::new(Exit::Bug, message)
    })?;
    match global.output {
        Output::Table => print::line(&simulation::text(&report)),
        Output::Json | Output::Yaml => print::document(&report, global.output),
    }
}

fn setting(loaded: &Loaded, simulate: &Simulate) -> Result<Setting, Failure> {
    let from = simulate.from.map_or_else(today, Ok)?;
    if from.checked_add(simulate.span).is_err() {
        let message = format!("`--for` leads from {from} beyond the end of time");
        return Err(Failure::new(Exit::Usage, message));
    }
    let mut written = match &simulate.assumptions {
        Some(file) => assume::read(file)?,
        None => BTreeMap::new(),
    };
    for (agent, more) in &simulate.assume {
        written.entry(agent.clone()).or_default().merge(more);
    }
    let assumptions = assume::resolve(&written, loaded)?;
    let identity = |agent: &AgentName| loaded.replicas.identity(agent);
    let accounts = loaded.fleet.agents.keys().filter_map(|agent| {
        let llm = loaded.llm.as_ref()?;
        let (account, _) = llm
            .settings
            .agents
            .get_key_value(identity(agent).as_str())?;
        Some((agent.clone(), Arc::clone(account)))
    });
    let (fleet, scheduled_by_program) = scheduled(loaded, &assumptions)?;
    Ok(Setting {
        accounts: accounts.collect(),
        budgets: loaded
            .llm
            .as_ref()
            .map_or_else(Default::default, |llm| llm.budgets.clone()),
        fleet: Arc::new(fleet),
        assumptions,
        scheduled_by_program,
        from,
        span: simulate.span,
        seed: simulate.seed,
        faults: if simulate.faults {
            Faults::Drawn
        } else {
            Faults::None
        },
    })
}

/// The fleet with the schedules that are assumed of programs which have schedules of their own, and
/// who has one that nobody knows.
fn scheduled(
    loaded: &Loaded,
    assumptions: &BTreeMap<AgentName, Assumption>,
) -> Result<(FleetSpec, BTreeSet<AgentName>), Failure> {
    let mut fleet = loaded.fleet.clone();
    let mut unknown = BTreeSet::new();
    for (name, spec) in &mut fleet.agents {
        let by_program = loaded.workers.get(name).is_some_and(|worker| {
            worker.scheduled == Scheduled::ByProgram && spec.schedule.is_none()
        });
        if !by_program || spec.mode != Mode::Worker {
            continue;
        }
        let every = assumptions
            .get(name)
            .and_then(|assumption| assumption.every);
        match every {
            Some(every) => {
                let every = DeclaredTiming::Every(every);
                let declared = config::declared_schedule(every, None, None);
                let declared = declared.map_err(|why| Failure::new(Exit::Usage, why))?;
                Arc::make_mut(spec).schedule = Some(declared);
            }
            None => {
                unknown.insert(name.clone());
            }
        }
    }
    Ok((fleet, unknown))
}

fn span(text: &str) -> Result<Duration, String> {
    let span = complete::duration(text)?;
    if span.is_zero() || span > LONGEST {
        return Err("it has to be more than nothing and 366d at most".to_owned());
    }
    Ok(span)
}

fn begin(text: &str) -> Result<Wall, String> {
    if let Ok(time) = text.parse::<Wall>() {
        return Ok(time);
    }
    let date: Result<Date, _> = text.parse();
    date.and_then(midnight).map_err(|_unreadable| {
        "write a time such as `2026-03-27T00:00:00Z`, or a date such as `2026-03-27`".to_owned()
    })
}

fn midnight(date: Date) -> Result<Wall, jiff::Error> {
    Ok(date.to_zoned(TimeZone::UTC)?.timestamp())
}

fn today() -> Result<Wall, Failure> {
    let today = TimeZone::UTC.to_datetime(Wall::now()).date();
    midnight(today).map_err(|error| Failure::new(Exit::Failed, error.to_string()))
}
