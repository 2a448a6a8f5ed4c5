//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use clap_complete::engine::ArgValueCompleter;
use claw_daemon::llm::Answers;

use crate::commands::{
    AgentCommand, EventsCommand, LlmCommand, SandboxCommand, Simulate, StateCommand,
};
use crate::complete;

const EXAMPLES: &str = "\
Examples:
  clawctl up                              run the fleet of ./openclaw.yaml in this terminal
  clawctl up --detach                     run it in the background
  clawctl status                          how every agent is
  clawctl status web                      one agent, with its reason and last log lines
  clawctl trigger monitor --wait          one run now, and how it ended
  clawctl logs web -f                     follow a log
  clawctl why flaky                       what happened to an agent, and on what evidence

Exit codes: 0 ok, 1 failed, 2 usage, 3 agent not running, 4 no such agent, 5 no supervisor,
6 not permitted, 7 wait timed out, 8 refused, 70 bug, 78 invalid fleet file, 130 interrupted.";

/// The supervisor for AI agents: runs a fleet of programs, keeps them alive and honest.
#[derive(Debug, Parser)]
#[command(name = "clawctl", version, after_help = EXAMPLES, propagate_version = true)]
pub(crate) struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// The fleet file, in short.
    #[command(flatten)]
    pub short: FileInShort,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// `-f FILE`, before the command and behind those that are about the fleet file. It is not an
/// argument of every command, because `logs -f` and `events -f` mean something else everywhere.
#[derive(Debug, Clone, Args)]
pub(crate) struct FileInShort {
    /// The same as --file
    #[arg(short = 'f', value_name = "FILE", id = "file-in-short")]
    pub file: Option<PathBuf>,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// The fleet file [default: ./openclaw.yaml, or that of the nearest folder above]
    #[arg(long, global = true, value_name = "FILE", env = "OPENCLAW_FILE")]
    pub file: Option<PathBuf>,
    /// The supervisor: `http://127.0.0.1:8400` or `unix:/path/control.sock`
    #[arg(long, global = true, value_name = "URL", env = "OPENCLAW_HOST")]
    pub host: Option<String>,
    /// How to print
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "table"
    )]
    pub output: Output,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For programs that like indentation.
    Yaml,
}

impl Cli {
    /// What every command takes, with the fleet file wherever it was named.
    pub(crate) fn global(&self) -> Global {
        let behind = match &self.command {
            Command::Up(up) => up.short.file.as_ref(),
            Command::Simulate(simulate) => simulate.short.file.as_ref(),
            Command::Validate(short)
            | Command::Plan(short)
            | Command::Apply(short)
            | Command::Doctor { short, .. } => short.file.as_ref(),
            Command::Down(_)
            | Command::Status { .. }
            | Command::Start(_)
            | Command::Stop(_)
            | Command::Restart(_)
            | Command::Pause { .. }
            | Command::Resume { .. }
            | Command::Halt(_)
            | Command::ResumeAll { .. }
            | Command::Trigger(_)
            | Command::Logs(_)
            | Command::Runs { .. }
            | Command::Why { .. }
            | Command::Events { .. }
            | Command::State { .. }
            | Command::Agent { .. }
            | Command::Sandbox { .. }
            | Command::Llm { .. }
            | Command::Schema
            | Command::Completion { .. }
            | Command::Upgrade(_)
            | Command::CheckData { .. }
            | Command::Version => None,
        };
        let named = behind
            .or(self.short.file.as_ref())
            .or(self.global.file.as_ref());
        Global {
            file: named.cloned(),
            ..self.global.clone()
        }
    }
}

impl Command {
    /// Whether it has its own idea of what Ctrl-C means.
    pub(crate) const fn takes_interrupts(&self) -> bool {
        matches!(
            self,
            Self::Up(_)
                | Self::Sandbox {
                    command: SandboxCommand::Exec(_)
                }
        )
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the supervisor on the fleet file
    Up(Up),
    /// Stop every agent, and the supervisor
    Down(Down),
    /// Give the place of the running supervisor to another executable; agents go on
    Upgrade(Upgrade),
    /// Which databases of a data directory this executable understands, as JSON
    #[command(hide = true)]
    CheckData {
        /// The data directory
        data_dir: PathBuf,
    },
    /// How the agents are, or one of them in full
    Status {
        /// One agent
        #[arg(add = ArgValueCompleter::new(complete::agents))]
        agent: Option<String>,
    },
    /// Start agents; also those given up or backing off
    Start(Agents),
    /// Stop agents, and keep them stopped
    Stop(Agents),
    /// Stop and start agents
    Restart(Agents),
    /// Hold back new work
    Pause {
        /// Which
        #[command(flatten)]
        agents: Agents,
        /// Freeze their running processes too
        #[arg(long)]
        freeze: bool,
    },
    /// Let work flow again
    Resume {
        /// Which
        #[command(flatten)]
        agents: Agents,
        /// Lift their halt, after a review of what it has held back
        #[arg(long)]
        halt: bool,
        /// Do not ask
        #[arg(short, long, requires = "halt")]
        yes: bool,
    },
    /// The kill switch: agents do no more than a level allows, whoever asks, until it is lifted
    Halt(Halt),
    /// Lift every halt, after a review of what they have held back
    ResumeAll {
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Ask an agent for one run now
    Trigger(Trigger),
    /// What agents wrote
    Logs(Logs),
    /// The runs of an agent, newest first
    Runs {
        /// Whose
        #[arg(add = ArgValueCompleter::new(complete::agents))]
        agent: String,
        /// How many
        #[arg(short = 'n', long, default_value_t = 20)]
        limit: u32,
    },
    /// What happened to an agent, and on what evidence
    Why {
        /// Who
        #[arg(add = ArgValueCompleter::new(complete::agents))]
        agent: String,
        /// How many transitions
        #[arg(short = 'n', long, default_value_t = 15)]
        limit: u32,
    },
    /// What an agent keeps: its keys, their values and their history
    State {
        /// What to do
        #[command(subcommand)]
        command: StateCommand,
    },
    /// Speak for the agent in which this runs
    Agent {
        /// What to do
        #[command(subcommand)]
        command: AgentCommand,
    },
    /// Sandboxes: what an agent may do in its own, and containers in which code is run once
    Sandbox {
        /// What to do
        #[command(subcommand)]
        command: SandboxCommand,
    },
    /// Models: what they cost, what was spent on them, and what may be
    Llm {
        /// What to do
        #[command(subcommand)]
        command: LlmCommand,
    },
    /// What happens in the fleet, and what agents tell each other
    #[command(args_conflicts_with_subcommands = true)]
    Events {
        /// What to do instead of looking
        #[command(subcommand)]
        command: Option<EventsCommand>,
        /// Go on as more happens
        #[arg(short, long)]
        follow: bool,
        /// Of one agent only
        #[arg(long, add = ArgValueCompleter::new(complete::agents))]
        agent: Option<String>,
        /// What is published on the bus, by name or a filter such as `orders.>`; `>` is all
        #[arg(long, value_name = "FILTER")]
        topic: Option<String>,
        /// Look so many published events back [default: 100, with --follow 0]
        #[arg(long, value_name = "N", requires = "topic")]
        tail: Option<u64>,
    },
    /// Check the fleet file, and say all that is wrong with it
    Validate(FileInShort),
    /// What applying the fleet file would change, field by field
    Plan(FileInShort),
    /// Put the fleet file in force; only what changed restarts
    Apply(FileInShort),
    /// Let a week of the fleet pass in a second, and say what happens in it
    Simulate(Simulate),
    /// Print the JSON Schema of the fleet file, for editors
    Schema,
    /// What this machine can do for agents, and what it cannot; what is wrong with the data directory
    Doctor {
        /// The fleet file, in short.
        #[command(flatten)]
        short: FileInShort,
        /// Mend what is wrong with the data directory; what is replaced is kept
        #[arg(long)]
        fix: bool,
    },
    /// Print the set-up for completion in a shell
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Print the version
    Version,
}

/// `clawctl up`.
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// The fleet file, in short.
    #[command(flatten)]
    pub short: FileInShort,
    /// Go to the background once the fleet is loaded
    #[arg(short, long)]
    pub detach: bool,
    /// Where the answers of language models come from: `real` (providers), `fake` (made up),
    /// `cassette` (what `llm.record` kept) or `cassette=FOLDER`
    #[arg(long, value_name = "SOURCE", default_value_t)]
    pub llm: Answers,
    /// What the supervisor logs of itself, such as `info` or `claw_daemon=debug`
    #[arg(long, value_name = "FILTER", env = "OPENCLAW_LOG_LEVEL")]
    pub log_level: Option<String>,
    /// Who watches the process: nobody where `--detach` has sent it to the background
    #[arg(long, hide = true, value_name = "WHO", default_value = "starter")]
    pub watched_by: WatchedBy,
    /// How it logs
    #[arg(
        long,
        value_name = "FORMAT",
        env = "OPENCLAW_LOG_FORMAT",
        default_value = "text"
    )]
    pub log_format: LogFormat,
}

/// Who watches the process of a supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WatchedBy {
    /// Whoever has started it.
    Starter,
    /// Nobody.
    Nobody,
}

/// How the supervisor logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `clawctl down`.
#[derive(Debug, Args)]
pub(crate) struct Down {
    /// End the supervisor and leave the agents running
    #[arg(long)]
    pub keep: bool,
}

/// `clawctl upgrade`.
#[derive(Debug, Args)]
pub(crate) struct Upgrade {
    /// The executable, newer or older
    #[arg(long, value_name = "PATH")]
    pub binary: PathBuf,
    /// How long it may take until it is ready; then the old one is started again
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = complete::duration)]
    pub timeout: Duration,
}

/// Which agents.
#[derive(Debug, Clone, Args)]
pub(crate) struct Agents {
    /// By name
    #[arg(value_name = "AGENT", required_unless_present_any = ["all", "matching"],
          add = ArgValueCompleter::new(complete::agents))]
    pub names: Vec<String>,
    /// All of them
    #[arg(long, conflicts_with_all = ["names", "matching"])]
    pub all: bool,
    /// Those whose name matches, such as `worker-*`
    #[arg(
        short = 'l',
        long = "matching",
        value_name = "GLOB",
        conflicts_with = "names"
    )]
    pub matching: Option<String>,
}

impl Agents {
    /// All of them.
    pub(crate) const fn all() -> Self {
        Self {
            names: Vec::new(),
            all: true,
            matching: None,
        }
    }
}

/// `clawctl halt`.
#[derive(Debug, Args)]
pub(crate) struct Halt {
    /// Whom
    #[command(flatten)]
    pub agents: Agents,
    /// How much is taken away; each level takes what the one before it does
    #[arg(long, value_name = "LEVEL")]
    pub level: HaltLevel,
    /// Why, for those who find them halted
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// How much a halt takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum HaltLevel {
    /// Nothing new begins; what runs goes on to its end.
    Runs,
    /// Nothing of theirs gets out: no calls of models, no connections, no events.
    Egress,
    /// Their processes stand still.
    Freeze,
    /// Their processes are killed at once, and stay down.
    Kill,
}

impl From<HaltLevel> for claw_daemon::api::HaltLevel {
    fn from(level: HaltLevel) -> Self {
        match level {
            HaltLevel::Runs => Self::Runs,
            HaltLevel::Egress => Self::Egress,
            HaltLevel::Freeze => Self::Freeze,
            HaltLevel::Kill => Self::Kill,
        }
    }
}

/// `clawctl trigger`.
#[derive(Debug, Args)]
pub(crate) struct Trigger {
    /// Whom
    #[arg(add = ArgValueCompleter::new(complete::agents))]
    pub agent: String,
    /// JSON for the run's standard input, or `@FILE`, or `@-` for standard input
    #[arg(short, long, value_name = "JSON")]
    pub data: Option<String>,
    /// Wait for the outcome, and exit with 1 if it is not success
    #[arg(short, long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "10m",
          value_parser = complete::duration)]
    pub wait: Option<Duration>,
}

/// `clawctl logs`.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a flag of the command line is a bool"
)]
pub(crate) struct Logs {
    /// Whose
    #[arg(value_name = "AGENT", required = true, add = ArgValueCompleter::new(complete::agents))]
    pub agents: Vec<String>,
    /// Go on as more is written
    #[arg(short, long)]
    pub follow: bool,
    /// The last lines
    #[arg(short = 'n', long = "tail", value_name = "LINES")]
    pub tail: Option<u32>,
    /// Not before this: a time, or so long ago, such as `1h`
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Not after this
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// What one run wrote
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
    /// One stream only
    #[arg(long)]
    pub stream: Option<Stream>,
    /// Print the time and stream of each line
    #[arg(short, long)]
    pub timestamps: bool,
}

/// A stream of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}
