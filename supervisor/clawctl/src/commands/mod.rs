//! The commands, one file each.

mod agent;
mod apply;
mod confine;
mod dead;
mod doctor;
mod down;
mod events;
mod exec;
mod goals;
mod halt;
mod llm;
mod llm_import;
mod logs;
mod payload;
mod plan;
mod repair;
mod runs;
mod sandbox;
mod schema;
mod simulate;
mod state;
mod status;
mod trigger;
pub(crate) mod up;
mod upgrade;
mod validate;
mod why;

pub(crate) use agent::AgentCommand;
pub(crate) use dead::EventsCommand;
use goals::Goal;
pub(crate) use llm::LlmCommand;
pub(crate) use sandbox::SandboxCommand;
pub(crate) use simulate::Simulate;
pub(crate) use state::{SHARED, StateCommand};

use crate::args::{Agents, Cli, Command, Global};
use crate::client::Client;
use crate::exit::Failure;
use crate::{locate, print};

/// Runs a command that is a client, or needs no supervisor at all.
///
/// # Errors
///
/// Why it did not succeed.
pub(crate) async fn dispatch(global: &Global, command: &Command) -> Result<(), Failure> {
    let client = || locate::supervisor(global).map(Client::new);
    match command {
        Command::Up(up) => up::run(global, up).await,
        Command::Down(down) => down::run(&client()?, down).await,
        Command::Upgrade(upgrade) => upgrade::run(&client()?, upgrade, global.output).await,
        Command::CheckData { data_dir } => upgrade::check(data_dir),
        Command::Status { agent: None } => status::all(&client()?, global.output).await,
        Command::Status { agent: Some(agent) } => {
            status::one(&client()?, agent, global.output).await
        }
        Command::Start(agents) => goals::run(&client()?, Goal::Start, agents).await,
        Command::Stop(agents) => goals::run(&client()?, Goal::Stop, agents).await,
        Command::Restart(agents) => goals::run(&client()?, Goal::Restart, agents).await,
        Command::Pause { agents, freeze } => {
            let goal = if *freeze { Goal::Freeze } else { Goal::Pause };
            goals::run(&client()?, goal, agents).await
        }
        Command::Resume { agents, halt, yes } => {
            if *halt {
                halt::lift(&client()?, agents, (*yes).into()).await
            } else {
                goals::run(&client()?, Goal::Resume, agents).await
            }
        }
        Command::Halt(halt) => halt::halt(&client()?, halt, global.output).await,
        Command::ResumeAll { yes } => halt::lift(&client()?, &Agents::all(), (*yes).into()).await,
        Command::Trigger(trigger) => trigger::run(&client()?, trigger, global.output).await,
        Command::Logs(logs) => logs::run(&client()?, logs, global.output).await,
        Command::Runs { agent, limit } => runs::run(&client()?, agent, *limit, global.output).await,
        Command::Why { agent, limit } => why::run(&client()?, agent, *limit, global.output).await,
        Command::State { command } => state::run(&client()?, command, global.output).await,
        Command::Agent { command } => agent::run(command).await,
        Command::Sandbox { command } => sandbox::run(global, client(), command).await,
        Command::Llm { command } => llm::run(global, client(), command).await,
        Command::Events {
            command: Some(command),
            ..
        } => dead::run(&client()?, command, global.output).await,
        Command::Events {
            follow,
            agent,
            topic,
            tail,
            command: None,
        } => {
            let mode = if *follow {
                events::Mode::Follow
            } else {
                events::Mode::Recent
            };
            let agent = agent.as_deref();
            match topic {
                None => events::run(&client()?, mode, agent, global.output).await,
                Some(topic) => {
                    let wanted = (topic.as_str(), *tail);
                    events::published(&client()?, mode, agent, wanted, global.output).await
                }
            }
        }
        Command::Validate(_) => validate::run(global),
        Command::Plan(_) => plan::run(global, &client()?).await,
        Command::Apply(_) => apply::run(global, &client()?).await,
        Command::Schema => schema::run(),
        Command::Simulate(simulate) => simulate::run(global, simulate).await,
        Command::Doctor { fix, .. } => doctor::run(global, client().ok(), (*fix).into()).await,
        Command::Completion { shell } => completion(*shell),
        Command::Version => print::line(&format!("clawctl {}", env!("CARGO_PKG_VERSION"))),
    }
}

/// Prints what makes a shell ask this program for completions, so that agent names complete too.
fn completion(shell: clap_complete::Shell) -> Result<(), Failure> {
    let text = match shell {
        clap_complete::Shell::Bash => "source <(COMPLETE=bash clawctl)",
        clap_complete::Shell::Zsh => "source <(COMPLETE=zsh clawctl)",
        clap_complete::Shell::Fish => "COMPLETE=fish clawctl | source",
        clap_complete::Shell::Elvish => "eval (E:COMPLETE=elvish clawctl | slurp)",
        clap_complete::Shell::PowerShell => {
            "$env:COMPLETE = \"powershell\"; clawctl | Out-String | Invoke-Expression"
        }
        other => {
            use clap::CommandFactory;
            clap_complete::generate(
                other,
                &mut Cli::command(),
                "clawctl",
                &mut std::io::stdout(),
            );
            return Ok(());
        }
    };
    print::line(text)
}
