//! `clawctl llm prices import`

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use claw_gateway::llm::prices::{
    self, Change, Diff, Entry, Import as Read, LARGE_CHANGE, LargeChanges, NotATable, PriceTable,
};
use jiff::civil::Date;
use serde::Serialize;

use crate::args::{Global, Output};
use crate::exit::{Exit, Failure};
use crate::{locate, print};

/// The name of the operator's own prices, beside the fleet file.
const OWN: &str = "prices.json";

/// `clawctl llm prices import`.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Whose table it is
    pub format: Format,
    /// The table, downloaded before
    pub from: PathBuf,
    /// Your own prices [default: prices.json beside the fleet file]
    #[arg(long, value_name = "FILE")]
    pub into: Option<PathBuf>,
    /// The day on which the table was current [default: today]
    #[arg(long, value_name = "DATE")]
    pub checked_on: Option<Date>,
    /// Take prices too that differ by more than ten times
    #[arg(long)]
    pub force: bool,
}

/// Whose table it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// `model_prices_and_context_window.json` of LiteLLM
    #[value(name = "litellm")]
    LiteLlm,
    /// <https://models.dev/api.json>
    #[value(name = "models.dev")]
    ModelsDev,
}

/// What an import has changed, for programs.
#[derive(Debug, Serialize)]
struct Imported {
    into: PathBuf,
    added: Vec<String>,
    changed: Vec<String>,
    refused: Vec<String>,
    unchanged: usize,
    skipped: BTreeMap<String, usize>,
}

/// Puts a table of prices on top of the operator's own, which stand on top of those that are
/// shipped. Nothing is deleted, and the file before is kept beside it.
///
/// # Errors
///
/// A file cannot be read or written, or prices were refused because they differ too much.
pub(super) fn run(global: &Global, import: &Import) -> Result<(), Failure> {
    let into = match &import.into {
        Some(into) => into.clone(),
        None => beside_the_fleet_file(global),
    };
    let today = || jiff::Zoned::now().date();
    let on = import.checked_on.unwrap_or_else(today);
    let text =
        fs::read_to_string(&import.from).map_err(|error| cannot("read", &import.from, &error))?;
    let read = match import.format {
        Format::LiteLlm => prices::read_litellm(&text, on),
        Format::ModelsDev => prices::read_models_dev(&text, on),
    };
    let read = read.map_err(|error| unreadable(&import.from, &error))?;
    let before = own(&into)?;
    let large = if import.force {
        LargeChanges::Take
    } else {
        LargeChanges::Refuse
    };
    let (after, diff) = merged(&before, &read, large);
    if after != before {
        replace(&into, &after.to_json()).map_err(|error| cannot("write", &into, &error))?;
    }
    tell(global.output, &into, (&read, &diff))?;
    if diff.refused.is_empty() {
        return Ok(());
    }
    let message = format!(
        "prices that differ by more than {LARGE_CHANGE} times from those that hold were not taken: {}",
        diff.refused.len()
    );
    Err(Failure::new(Exit::Refused, message).hint("look at them above; `--force` takes them, too"))
}

fn beside_the_fleet_file(global: &Global) -> PathBuf {
    let file = locate::fleet_file(global).ok();
    let folder = file.as_deref().and_then(Path::parent);
    folder.map_or_else(|| PathBuf::from(OWN), |folder| folder.join(OWN))
}

/// The operator's own prices; none yet where there is no file.
fn own(file: &Path) -> Result<PriceTable, Failure> {
    match fs::read_to_string(file) {
        Ok(text) => PriceTable::from_json(&text).map_err(|error| unreadable(file, &error)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(PriceTable::default()),
        Err(error) => Err(cannot("read", file, &error)),
    }
}

/// The operator's own prices with the import on top, and what that changes in the prices that hold:
/// a mistake of the unit shows against the shipped ones, too.
fn merged(own: &PriceTable, read: &Read, large: LargeChanges) -> (PriceTable, Diff) {
    let mut hold = PriceTable::shipped();
    hold.merge(own.entries().cloned(), LargeChanges::Take);
    let diff = hold.merge(read.entries.iter().cloned(), large);
    let refused = diff.refused.iter();
    let refused: BTreeSet<_> = refused
        .map(|change| (&*change.provider, &*change.model))
        .collect();
    let is_taken = |entry: &&Entry| !refused.contains(&(&*entry.provider, &*entry.model));
    let taken = read.entries.iter().filter(is_taken).cloned();
    let mut after = own.clone();
    after.merge(taken, LargeChanges::Take);
    (after, diff)
}

/// Writes the file anew, and keeps the one before as `….old`. A reader finds one of them, whole.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let with = |ending: &str| {
        let mut name = file.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let (new, old) = (with(".new"), with(".old"));
    let mut written = File::create(&new)?;
    written.write_all(text.as_bytes())?;
    written.sync_all()?;
    match fs::copy(file, &old) {
        Ok(_bytes) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    fs::rename(&new, file)
}

fn tell(output: Output, into: &Path, (read, diff): (&Read, &Diff)) -> Result<(), Failure> {
    let mut skipped = BTreeMap::new();
    for row in &read.skipped {
        *skipped.entry(row.because.to_string()).or_default() += 1;
    }
    if output != Output::Table {
        let names = |changes: &[Change]| changes.iter().map(name).collect();
        let imported = Imported {
            into: into.to_owned(),
            added: names(&diff.added),
            changed: names(&diff.changed),
            refused: names(&diff.refused),
            unchanged: diff.unchanged,
            skipped,
        };
        return print::document(&imported, output);
    }
    print::line(&diff.to_string())?;
    for (because, rows) in &skipped {
        print::note(&format!("left out because {because}: {rows}"));
    }
    let into = into.display();
    print::note(&format!(
        "{into} has the prices; they hold once the fleet file names it: \
         `llm: {{prices: {{file: {into}}}}}`"
    ));
    Ok(())
}

fn name(change: &Change) -> String {
    format!("{}/{}", change.provider, change.model)
}

fn cannot(act: &str, file: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Exit::Failed,
        format!("cannot {act} {}: {error}", file.display()),
    )
}

fn unreadable(file: &Path, error: &NotATable) -> Failure {
    let why = std::error::Error::source(error);
    let why = why.map_or_else(String::new, |why| format!(" ({why})"));
    Failure::new(Exit::Failed, format!("{}: {error}{why}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[(&str, f64)]) -> PriceTable {
        let rows = rows.iter().map(|(model, input)| {
            serde_json::json!({
                "provider": "house",
                "model": model,
                "rates": {"tokens": [{"input": input, "output": 8}]},
                "checked_on": "2026-11-01",
            })
        });
        PriceTable::from_json(&serde_json::Value::from_iter(rows).to_string()).unwrap()
    }

    fn import(rows: &[(&str, f64)]) -> Read {
        Read {
            entries: table(rows).entries().cloned().collect(),
            skipped: Vec::new(),
        }
    }

    #[test]
    fn an_import_never_deletes_and_leaves_out_what_differs_too_much() {
        let own = table(&[("kept", 1.0), ("slips", 1.0), ("moves", 1.0)]);
        let read = import(&[("slips", 1000.0), ("moves", 2.0), ("new", 3.0)]);
        let (after, diff) = merged(&own, &read, LargeChanges::Refuse);
        let names = |changes: &[Change]| changes.iter().map(name).collect::<Vec<_>>();
        assert_eq!(names(&diff.added), ["house/new"]);
        assert_eq!(names(&diff.changed), ["house/moves"]);
        assert_eq!(names(&diff.refused), ["house/slips"]);
        let expected = table(&[("kept", 1.0), ("slips", 1.0), ("moves", 2.0), ("new", 3.0)]);
        assert_eq!(after, expected);
        let (after, diff) = merged(&own, &read, LargeChanges::Take);
        assert!(diff.refused.is_empty());
        let slipped = after.lookup("house", "slips").unwrap();
        assert_eq!(
            slipped.rates,
            read.entries
                .iter()
                .find(|entry| entry.model == "slips")
                .unwrap()
                .rates
        );
    }

    #[test]
    fn a_mistake_of_the_unit_is_seen_against_the_shipped_prices() {
        let shipped = PriceTable::shipped();
        let mut entry = shipped
            .entries()
            .find(|entry| entry.rates.standard.base().input.pico() > 0)
            .unwrap()
            .clone();
        let base = entry.rates.standard.base();
        entry.rates = claw_gateway::llm::rates::Rates::flat(
            base.input.times(1_000),
            base.output.times(1_000),
        );
        let read = Read {
            entries: vec![entry],
            skipped: Vec::new(),
        };
        let own = PriceTable::default();
        let (after, diff) = merged(&own, &read, LargeChanges::Refuse);
        assert_eq!(diff.refused.len(), 1);
        assert_eq!(after, own);
    }

    #[test]
    fn the_file_before_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prices.json");
        replace(&file, "first").unwrap();
        replace(&file, "second").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "second");
        let old = folder.path().join("prices.json.old");
        assert_eq!(fs::read_to_string(old).unwrap(), "first");
        assert!(!folder.path().join("prices.json.new").exists());
    }
}
