//! What a user assumes of agents: `poet:run=30s,calls=5,in=2000,out=500`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use claw_core::AgentName;
use claw_daemon::config::{LlmConfig, Loaded};
use claw_gateway::llm::money::Money;
use claw_gateway::llm::serve::{AgentSettings, Model, Price, UnknownPrice};
use claw_gateway::llm::usage::Usage;
use claw_simulation::{Assumption, Calls, Readiness};

use crate::complete;
use crate::exit::{Exit, Failure};

/// The largest file of assumptions that is read.
const MAX_FILE: u64 = 1 << 20;

/// The longest span that can be assumed of anything: longer than any simulation.
const LONGEST: Duration = Duration::from_secs(3650 * 24 * 3600);

const KEYS: &str = "run, start, life, exit, ready, every, calls, in, out, model and cost";

/// What is assumed of an agent, as far as it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Written {
    run: Option<Duration>,
    start: Option<Duration>,
    life: Option<Duration>,
    exit: Option<u8>,
    readiness: Option<Readiness>,
    every: Option<Duration>,
    calls: Option<u32>,
    input: Option<u64>,
    output: Option<u64>,
    model: Option<String>,
    cost: Option<Money>,
}

impl Written {
    /// Puts what `other` says in the place of what was said before.
    pub(crate) fn merge(&mut self, other: &Self) {
        let Self {
            run,
            start,
            life,
            exit,
            readiness,
            every,
            calls,
            input,
            output,
            model,
            cost,
        } = other.clone();
        self.run = run.or(self.run);
        self.start = start.or(self.start);
        self.life = life.or(self.life);
        self.exit = exit.or(self.exit);
        self.readiness = readiness.or(self.readiness);
        self.every = every.or(self.every);
        self.calls = calls.or(self.calls);
        self.input = input.or(self.input);
        self.output = output.or(self.output);
        self.model = model.or(self.model.take());
        self.cost = cost.or(self.cost);
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "run" => self.run = Some(span(value)?),
            "start" => self.start = Some(span(value)?),
            "life" => self.life = Some(span(value)?),
            "every" => {
                let every = span(value)?;
                if every < Duration::from_secs(1) {
                    return Err("it has to be 1s at least".to_owned());
                }
                self.every = Some(every);
            }
            "exit" => self.exit = Some(number(value)?),
            "calls" => self.calls = Some(number(value)?),
            "in" => self.input = Some(number(value)?),
            "out" => self.output = Some(number(value)?),
            "model" => self.model = Some(value.to_owned()),
            "cost" => {
                let cost = value
                    .parse::<Money>()
                    .map_err(|error| format!("it is {error}"))?;
                if cost.is_negative() {
                    return Err("it is less than nothing".to_owned());
                }
                self.cost = Some(cost);
            }
            "ready" => {
                self.readiness = Some(match value {
                    "yes" => Readiness::Comes,
                    "never" => Readiness::Never,
                    _ => return Err("write `yes` or `never`".to_owned()),
                });
            }
            _ => return Err(format!("there is no such key; there are {KEYS}")),
        }
        Ok(())
    }
}

fn span(text: &str) -> Result<Duration, String> {
    complete::duration(text).map(|span| span.min(LONGEST))
}

fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.parse()
        .map_err(|_unreadable| "write a whole number that is not too large".to_owned())
}

/// Reads what is assumed of one agent.
///
/// # Errors
///
/// Says which part cannot be read.
pub(crate) fn parse(text: &str) -> Result<(String, Written), String> {
    let (agent, settings) = text
        .split_once(':')
        .ok_or("write an agent, a colon and what is assumed, such as `poet:run=30s`")?;
    let mut written = Written::default();
    for setting in settings.split(',') {
        let setting = setting.trim();
        let (key, value) = setting
            .split_once('=')
            .ok_or_else(|| format!("`{setting}` is not of the form KEY=VALUE"))?;
        written
            .set(key.trim(), value.trim())
            .map_err(|why| format!("`{setting}`: {why}"))?;
    }
    Ok((agent.trim().to_owned(), written))
}

/// Reads a file with what is assumed of an agent in each line. Empty lines and what follows a `#` at
/// the beginning of a line are left out.
///
/// # Errors
///
/// It cannot be read, or one of its lines cannot.
pub(crate) fn read(path: &Path) -> Result<BTreeMap<String, Written>, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::new(
            Exit::Failed,
            format!("`{}` cannot be read: {error}", path.display()),
        )
    };
    let mut text = String::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_FILE)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    let mut all: BTreeMap<String, Written> = BTreeMap::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (agent, written) = parse(line).map_err(|why| {
            let place = format!("{}:{}", path.display(), at + 1);
            Failure::new(Exit::Usage, format!("{place}: {why}"))
        })?;
        all.entry(agent).or_default().merge(&written);
    }
    Ok(all)
}

/// What is assumed of the agents of a fleet; of an agent with replicas, of each of them.
///
/// # Errors
///
/// There is no such agent, or its calls have no price.
pub(crate) fn resolve(
    written: &BTreeMap<String, Written>,
    loaded: &Loaded,
) -> Result<BTreeMap<AgentName, Assumption>, Failure> {
    let mut resolved = BTreeMap::new();
    for (agent, written) in written {
        let group = agent.parse::<AgentName>().ok();
        let group = group.and_then(|name| loaded.replicas.members(&name));
        let only = loaded.fleet.agents.get_key_value(agent.as_str());
        let members: Vec<AgentName> = match (group, only) {
            (Some(members), _) => members.to_vec(),
            (None, Some((name, _))) => vec![name.clone()],
            (None, None) => {
                let message =
                    format!("something is assumed of `{agent}`, and there is no such agent");
                return Err(Failure::new(Exit::NoSuchAgent, message)
                    .hint("name an agent of the fleet file"));
            }
        };
        for name in members {
            let assumption = assumption(&name, written, loaded)?;
            resolved.insert(name, assumption);
        }
    }
    Ok(resolved)
}

fn assumption(name: &AgentName, written: &Written, loaded: &Loaded) -> Result<Assumption, Failure> {
    let usual = Assumption::default();
    Ok(Assumption {
        start: written.start.unwrap_or(usual.start),
        run: written.run.unwrap_or(usual.run),
        life: written.life,
        exit: written.exit.unwrap_or(usual.exit),
        readiness: written.readiness.unwrap_or_default(),
        every: written.every,
        calls: calls(name, written, loaded)?,
    })
}

fn calls(name: &AgentName, written: &Written, loaded: &Loaded) -> Result<Option<Calls>, Failure> {
    let about_calls = written.input.is_some()
        || written.output.is_some()
        || written.model.is_some()
        || written.cost.is_some();
    let Some(number) = written.calls else {
        if about_calls {
            let message = format!("it is not said how many calls {name} makes");
            return Err(Failure::new(Exit::Usage, message)
                .hint(format!("add `calls=N` to `--assume {name}:…`")));
        }
        return Ok(None);
    };
    let access = loaded.llm.as_deref().and_then(|llm| {
        let identity = loaded.replicas.identity(name);
        let agent = llm.settings.agents.get(identity.as_str())?;
        Some((llm, agent))
    });
    let Some((llm, agent)) = access else {
        let message = format!("{name} has no access to models, so it makes no calls");
        return Err(Failure::new(Exit::Usage, message)
            .hint("leave `calls` out, or give it access with `llm` in the fleet file"));
    };
    let (model_name, model) = model(name, written.model.as_deref(), (llm, agent))?;
    let usage = Usage {
        input: written.input.unwrap_or(0),
        output: written.output.unwrap_or(0),
        ..Usage::default()
    };
    let cost = match written.cost {
        Some(cost) => cost,
        None if written.input.is_none() && written.output.is_none() => {
            let message = format!("it is not said how many tokens a call of {name} has");
            return Err(Failure::new(Exit::Usage, message)
                .hint("add `in=TOKENS,out=TOKENS`, or `cost=USD` for each call"));
        }
        None => price(model, agent, &usage).ok_or_else(|| {
            let message = format!("the price of the model {model_name} is not known");
            Failure::new(Exit::Usage, message)
                .hint("add `cost=USD` for each call, or a price to `llm.prices`")
        })?,
    };
    Ok(Some(Calls {
        number,
        cost,
        provider: model.provider.to_string(),
    }))
}

/// The model that an agent is assumed to call: the one named, or its primary one.
fn model<'a>(
    name: &AgentName,
    wanted: Option<&'a str>,
    (llm, agent): (&'a LlmConfig, &'a Arc<AgentSettings>),
) -> Result<(&'a str, &'a Model), Failure> {
    let primary = agent.models.first().map(|model| &**model);
    let wanted = wanted.or(primary).unwrap_or_default();
    let allowed = agent.models.iter().any(|model| **model == *wanted);
    match llm.settings.models.get(wanted) {
        Some(model) if allowed => Ok((wanted, model.as_ref())),
        Some(_) | None => {
            let message = format!("{name} may not call a model `{wanted}`");
            let models: Vec<&str> = agent.models.iter().map(|model| &**model).collect();
            let hint = format!("its models are {}", models.join(", "));
            Err(Failure::new(Exit::Usage, message).hint(hint))
        }
    }
}

fn price(model: &Model, agent: &AgentSettings, usage: &Usage) -> Option<Money> {
    match (&model.price, &agent.unknown_price) {
        (Price::Known(rates), _) | (Price::Unknown, UnknownPrice::Assume(rates)) => {
            Some(rates.cost(usage, None))
        }
        (Price::Free, _) => Some(Money::ZERO),
        (Price::Unknown, UnknownPrice::Reject) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assumptions_are_read_as_they_are_written() {
        let (agent, written) = parse("poet: run=30s, calls=5,in=2000,out=500,ready=never").unwrap();
        assert_eq!(agent, "poet");
        assert_eq!(written.run, Some(Duration::from_secs(30)));
        assert_eq!(
            (written.calls, written.input, written.output),
            (Some(5), Some(2000), Some(500))
        );
        assert_eq!(written.readiness, Some(Readiness::Never));
        assert_eq!(written.life, None);
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_part() {
        for (text, part) in [
            ("poet", "a colon"),
            ("poet:", "KEY=VALUE"),
            ("poet:run", "`run`"),
            ("poet:run=fast", "`run=fast`"),
            ("poet:walk=1", "there are run, start"),
            ("poet:exit=256", "whole number"),
            ("poet:calls=-1", "whole number"),
            ("poet:every=1ms", "1s at least"),
            ("poet:cost=-1", "less than nothing"),
            ("poet:cost=much", "not an amount"),
            ("poet:ready=maybe", "`yes` or `never`"),
        ] {
            let why = parse(text).unwrap_err();
            assert!(why.contains(part), "{text}: {why}");
        }
    }

    #[test]
    fn the_later_word_counts() {
        let (_, mut file) = parse("poet:run=30s,exit=1").unwrap();
        let (_, line) = parse("poet:run=5s,model=small").unwrap();
        file.merge(&line);
        assert_eq!(file.run, Some(Duration::from_secs(5)));
        assert_eq!((file.exit, file.model.as_deref()), (Some(1), Some("small")));
    }
}
