//! `clawctl llm`

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCompleter;
use claw_daemon::api::{
    LlmBudgets, LlmCallList, LlmPeriod, LlmPrice, LlmPriceList, LlmReconcile, LlmReconciled,
    LlmScope, LlmUsageList, LlmWindowName, Usd, routes,
};
use claw_gateway::llm::money::Money;
use jiff::Timestamp;
use jiff::civil::Date;

use super::llm_import::Import;
use super::state::encoded;
use super::{llm_import, logs};
use crate::args::{Global, Output};
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::render::llm as tables;
use crate::{complete, print};

/// Calls that are asked for at a time.
const PAGE: u32 = 500;

/// What to do about models and the money they cost.
#[derive(Debug, Subcommand)]
pub(crate) enum LlmCommand {
    /// What is spent of each budget today and this month, and what is left
    Budget {
        /// Only this agent's, and what all spend together
        #[arg(add = ArgValueCompleter::new(complete::agents))]
        agent: Option<String>,
    },
    /// What calls used, summed up
    Usage {
        /// Since when: a time, or so long ago
        #[arg(long, value_name = "TIME", default_value = "7d")]
        since: String,
        /// By what
        #[arg(long, value_name = "WHAT", default_value = "agent")]
        by: By,
    },
    /// Calls to models, newest first
    Calls {
        /// Only those of this agent
        #[arg(add = ArgValueCompleter::new(complete::agents))]
        agent: Option<String>,
        /// At most so many
        #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
        limit: usize,
        /// Only those of this run
        #[arg(long, value_name = "RUN")]
        run: Option<String>,
        /// Not before this: a time, or so long ago, such as `1h`
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Only those that may have cost more than is known
        #[arg(long)]
        uncertain: bool,
    },
    /// What the models of the fleet file cost
    #[command(args_conflicts_with_subcommands = true)]
    Prices {
        /// What to do instead of looking
        #[command(subcommand)]
        command: Option<PricesCommand>,
        /// Models by name, or a part of it; also those that the fleet file does not name
        #[arg(value_name = "MODEL")]
        models: Vec<String>,
    },
    /// Say what a provider has billed for what is uncertain
    Reconcile(Reconcile),
}

/// What to do with prices, beside looking at them.
#[derive(Debug, Subcommand)]
pub(crate) enum PricesCommand {
    /// Put somebody else's table of prices on top of your own file; needs no supervisor
    Import(Import),
}

/// By what usage is summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// By agent.
    Agent,
    /// By model, with the provider's id.
    Model,
    /// By day.
    Day,
    /// By run, the last one first.
    Run,
}

/// `clawctl llm reconcile`.
#[derive(Debug, Args)]
pub(crate) struct Reconcile {
    /// The call, by its id as in `clawctl llm calls`
    #[arg(required_unless_present = "window")]
    pub call: Option<u64>,
    /// All that has ended in a window, instead of one call
    #[arg(long, conflicts_with = "call")]
    pub window: Option<Window>,
    /// A day of the window [default: today, by the time zone of the budgets]
    #[arg(long, value_name = "DATE", requires = "window")]
    pub on: Option<Date>,
    /// The window of one agent [default: that of all together]
    #[arg(long, value_name = "AGENT", requires = "window",
          add = ArgValueCompleter::new(complete::agents))]
    pub agent: Option<String>,
    /// What was billed, in USD
    #[arg(long, value_name = "USD", required_unless_present = "nothing")]
    pub actual: Option<Usd>,
    /// Nothing was billed
    #[arg(long, conflicts_with = "actual")]
    pub nothing: bool,
}

/// How long a window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Window {
    /// A day.
    Day,
    /// A month.
    Month,
}

/// Looks at budgets, calls and prices, and corrects them.
///
/// # Errors
///
/// No supervisor answers, it refuses, or a file cannot be read or written.
pub(crate) async fn run(
    global: &Global,
    client: Result<Client, Failure>,
    command: &LlmCommand,
) -> Result<(), Failure> {
    let output = global.output;
    match command {
        LlmCommand::Budget { agent } => budget(&client?, agent.as_deref(), output).await,
        LlmCommand::Usage { since, by } => usage(&client?, since, *by, output).await,
        LlmCommand::Calls {
            agent,
            limit,
            run,
            since,
            uncertain,
        } => {
            let mut filter = filter(agent.as_deref(), run.as_deref(), since.as_deref())?;
            if *uncertain {
                filter.push_str("&uncertain=true");
            }
            calls(&client?, &filter, *limit, output).await
        }
        LlmCommand::Prices {
            command: Some(PricesCommand::Import(import)),
            ..
        } => llm_import::run(global, import),
        LlmCommand::Prices {
            command: None,
            models,
        } => prices(&client?, models, output).await,
        LlmCommand::Reconcile(asked) => reconcile(&client?, asked, output).await,
    }
}

async fn budget(client: &Client, agent: Option<&str>, output: Output) -> Result<(), Failure> {
    let agent = agent.map(|agent| format!("?agent={}", encoded(agent)));
    let path = format!("{}{}", routes::LLM_BUDGET, agent.unwrap_or_default());
    let budgets: LlmBudgets = client.get(&path).await?;
    if output != Output::Table {
        return print::document(&budgets, output);
    }
    print::line(&tables::windows(&budgets.windows, budgets.at))?;
    let uncertain = |window: &_| tables::uncertain(window) > Money::ZERO;
    if budgets.windows.iter().any(uncertain) {
        print::note(
            "what is uncertain counts until its window ends, or until `clawctl llm reconcile` says \
             what was billed; `clawctl llm calls --uncertain` has the calls",
        );
    }
    Ok(())
}

/// What an agent spent today, as a line of its status; nothing where there are no numbers.
pub(super) async fn spent_today(client: &Client, agent: &str) -> Option<String> {
    let path = format!("{}?agent={}", routes::LLM_BUDGET, encoded(agent));
    // A fleet without models answers with a problem, and an older supervisor does not know them.
    let budgets: LlmBudgets = client.get(&path).await.ok()?;
    let of_agent = budgets.windows.into_iter().find(|window| {
        window.name.scope == LlmScope::Agent && window.name.window == LlmPeriod::Day
    });
    Some(tables::today(&of_agent?))
}

async fn usage(client: &Client, since: &str, by: By, output: Output) -> Result<(), Failure> {
    let since = logs::time(since, Timestamp::now())?;
    let by = match by {
        By::Agent => "agent",
        By::Model => "model",
        By::Day => "day",
        By::Run => "run",
    };
    let path = format!("{}?since={since}&by={by}", routes::LLM_USAGE);
    let list: LlmUsageList = client.get(&path).await?;
    match output {
        Output::Table if list.usage.is_empty() => {
            print::line(&format!("no call has ended since {since:.0}"))
        }
        Output::Table => print::line(&tables::usage(&list)),
        Output::Json | Output::Yaml => print::document(&list.usage, output),
    }
}

/// The query for calls, behind its limit.
fn filter(agent: Option<&str>, run: Option<&str>, since: Option<&str>) -> Result<String, Failure> {
    let since = since.map(|since| logs::time(since, Timestamp::now()));
    let since = since.transpose()?.map(|since| since.to_string());
    let parts = [
        ("agent", agent.map(encoded)),
        ("run", run.map(encoded)),
        ("since", since),
    ];
    let parts = parts.into_iter().filter_map(|(name, value)| {
        let value = value?;
        Some(format!("&{name}={value}"))
    });
    Ok(parts.collect())
}

async fn calls(client: &Client, filter: &str, limit: usize, output: Output) -> Result<(), Failure> {
    let mut calls = Vec::new();
    let mut before = String::new();
    while calls.len() < limit {
        let left = u32::try_from(limit - calls.len()).unwrap_or(PAGE).min(PAGE);
        let path = format!("{}?limit={left}{filter}{before}", routes::LLM_CALLS);
        let page: LlmCallList = client.get(&path).await?;
        calls.extend(page.calls);
        match page.next {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    match output {
        Output::Table if calls.is_empty() => print::line("there are no such calls"),
        Output::Table => print::line(&tables::calls(&calls)),
        Output::Json | Output::Yaml => print::document(&calls, output),
    }
}

async fn prices(client: &Client, models: &[String], output: Output) -> Result<(), Failure> {
    let all = if models.is_empty() { "" } else { "?all=true" };
    let mut list: LlmPriceList = client.get(&format!("{}{all}", routes::LLM_PRICES)).await?;
    for model in models {
        if !list.prices.iter().any(|price| is_about(price, model)) {
            let message = format!("no model is called `{model}`, and no price of one is known");
            let hint = "`clawctl llm prices` lists the models of the fleet file";
            return Err(Failure::new(Exit::Failed, message).hint(hint));
        }
    }
    if !models.is_empty() {
        let wanted = |price: &LlmPrice| models.iter().any(|model| is_about(price, model));
        list.prices.retain(wanted);
    }
    if output != Output::Table {
        return print::document(&list.prices, output);
    }
    if list.prices.is_empty() {
        return print::line("the fleet file names no models");
    }
    print::line(&tables::prices(&list))?;
    for remark in tables::price_remarks(&list) {
        print::note(&remark);
    }
    Ok(())
}

fn is_about(price: &LlmPrice, model: &str) -> bool {
    let name = price.name.as_deref().unwrap_or_default();
    name.contains(model) || price.model.contains(model)
}

async fn reconcile(client: &Client, asked: &Reconcile, output: Output) -> Result<(), Failure> {
    let window = asked.window.map(|window| LlmWindowName {
        scope: if asked.agent.is_some() {
            LlmScope::Agent
        } else {
            LlmScope::Global
        },
        agent: asked.agent.clone(),
        window: match window {
            Window::Day => LlmPeriod::Day,
            Window::Month => LlmPeriod::Month,
        },
        starts_on: asked.on,
    });
    let correction = LlmReconcile {
        call: asked.call,
        window,
        actual_usd: asked.actual.unwrap_or_default(),
    };
    let body = serde_json::to_string(&correction)
        .map_err(|error| Failure::new(Exit::Bug, error.to_string()))?;
    let done: LlmReconciled = client.post(routes::LLM_RECONCILE, Some(body)).await?;
    if output != Output::Table {
        return print::document(&done, output);
    }
    if let Some(call) = done.call {
        print::line(&tables::calls(&[call]))?;
    }
    print::line(&tables::windows(&done.windows, Timestamp::now()))
}
