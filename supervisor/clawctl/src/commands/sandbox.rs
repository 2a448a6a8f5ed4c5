//! `clawctl sandbox`

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand};
use clap_complete::engine::ArgValueCompleter;
use claw_daemon::api::{
    Bytes, SandboxCommand as Asked, SandboxFile, SandboxList, SandboxOutcome, routes,
};

use super::exec::Exec;
use crate::args::{Global, Output};
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::render::table;
use crate::{complete, print};

/// What a shell makes of a death by signal, besides the signal's number.
pub(super) const BY_SIGNAL: i32 = 128;

/// What to do with sandboxes: those in which code is run once, and those of agents.
#[derive(Debug, Subcommand)]
pub(crate) enum SandboxCommand {
    /// Run one command in a sandbox, and exit with its exit code
    #[command(after_help = CODES)]
    Run(Run),
    /// The sandboxes of the fleet file, and how they do
    List,
    /// What an agent may read, write, run and reach, and which line of the fleet file says so
    Explain {
        /// Which agent
        #[arg(add = ArgValueCompleter::new(complete::agents))]
        agent: String,
    },
    /// Run a command beside an agent, in the same sandbox, and exit with its exit code
    #[command(after_help = super::exec::CODES)]
    Exec(Exec),
    /// Which system calls of an agent its filter would refuse, as counted with `seccomp: learn`
    Learned {
        /// Which agent
        #[arg(add = ArgValueCompleter::new(complete::agents))]
        agent: String,
    },
    /// What an agent was not allowed to reach lately, and which line would allow it
    WhyBlocked {
        /// Which agent
        #[arg(add = ArgValueCompleter::new(complete::agents))]
        agent: String,
    },
}

const CODES: &str = "\
Exit codes: that of the command, 128 + N when signal N ended it, 124 when its time was over,
125 when it was not run; 1 when it succeeded and a file of `--out` could not be had.";

/// `clawctl sandbox run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// A sandbox of the fleet file, or an image
    #[arg(value_name = "NAME|IMAGE")]
    pub target: String,
    /// How long it may take [default: what the sandbox allows, 30s in an image]
    #[arg(long, value_name = "DURATION", value_parser = complete::duration)]
    pub timeout: Option<Duration>,
    /// A variable for it; may be repeated
    #[arg(short, long = "env", value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Put a file of this machine into its working directory; may be repeated
    #[arg(long = "in", value_name = "SRC[:NAME]")]
    pub files: Vec<String>,
    /// Take a file of its working directory when it has ended; may be repeated
    #[arg(long = "out", value_name = "NAME[:DST]")]
    pub outputs: Vec<String>,
    /// Pass standard input on, up to its end
    #[arg(short, long)]
    pub interactive: bool,
    /// The program and its arguments; no shell is added
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Runs code once, shows where it can be run, or tells of the sandbox of an agent.
///
/// # Errors
///
/// No supervisor answers, it refuses, or the command did not succeed.
pub(crate) async fn run(
    global: &Global,
    client: Result<Client, Failure>,
    command: &SandboxCommand,
) -> Result<(), Failure> {
    let output = global.output;
    match command {
        SandboxCommand::Explain { agent } => super::confine::explain(global, agent),
        SandboxCommand::Learned { agent } => super::confine::learned(&client?, agent, output).await,
        SandboxCommand::WhyBlocked { agent } => {
            super::confine::why_blocked(&client?, agent, output).await
        }
        SandboxCommand::Exec(exec) => super::exec::run(client, exec).await,
        SandboxCommand::List => list(&client?, output).await,
        SandboxCommand::Run(run) => {
            let outcome = match client {
                Ok(client) => ask(&client, run).await,
                Err(failure) => Err(failure),
            };
            // Whatever went wrong, it was not the command's doing.
            let not_run = |failure: Failure| Failure {
                exit: Exit::CommandNotRun,
                ..failure
            };
            let outcome = outcome.map_err(not_run)?;
            let saved = save(run, &outcome);
            show(&outcome, output)?;
            saved
        }
    }
}

async fn ask(client: &Client, run: &Run) -> Result<SandboxOutcome, Failure> {
    let list: SandboxList = client.get(routes::SANDBOXES).await?;
    let named = list.sandboxes.iter().any(|known| known.name == run.target);
    let stdin = if run.interactive { input()? } else { None };
    let asked = Asked {
        image: (!named).then(|| run.target.clone()),
        command: run.command.clone(),
        stdin_base64: stdin.as_ref().and_then(|stdin| stdin.base64.clone()),
        stdin: stdin.and_then(|stdin| stdin.base64.is_none().then_some(stdin.text)),
        env: variables(&run.env)?,
        files: run
            .files
            .iter()
            .map(|pair| load(pair))
            .collect::<Result<_, _>>()?,
        outputs: run.outputs.iter().map(|pair| output(pair).0).collect(),
        timeout: run
            .timeout
            .map(|timeout| format!("{}ms", timeout.as_millis())),
    };
    let body = serde_json::to_string(&asked)
        .map_err(|error| Failure::new(Exit::Bug, error.to_string()))?;
    let path = if named {
        routes::SANDBOX_RUN.replace("{name}", &super::state::encoded(&run.target))
    } else {
        routes::IMAGE_RUN.to_owned()
    };
    client.post(&path, Some(body)).await
}

/// `SRC[:NAME]`: a file of this machine, and its name in the sandbox.
fn load(pair: &str) -> Result<SandboxFile, Failure> {
    let (source, name) = match pair.rsplit_once(':') {
        Some((source, name)) => (source, name.to_owned()),
        None => (pair, last_part(pair)),
    };
    let bytes = std::fs::read(source)
        .map_err(|error| Failure::new(Exit::Usage, format!("{source} cannot be read: {error}")))?;
    Ok(SandboxFile::of(name, bytes))
}

/// `NAME[:DST]`: a file of the sandbox, and where it goes.
fn output(pair: &str) -> (String, String) {
    match pair.split_once(':') {
        Some((name, destination)) => (name.to_owned(), destination.to_owned()),
        None => (pair.to_owned(), last_part(pair)),
    }
}

fn last_part(path: &str) -> String {
    let name = Path::new(path).file_name();
    name.map_or_else(
        || path.to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// Writes the files that came out; the first that could not be had is the failure, after all.
fn save(run: &Run, outcome: &SandboxOutcome) -> Result<(), Failure> {
    let mut first = Ok(());
    for (name, destination) in run.outputs.iter().map(|pair| output(pair)) {
        let file = outcome.files.iter().find(|file| file.name == name);
        let read = match file {
            Some(file) => file.clone().read().map(|(_, bytes)| bytes),
            None => Err(format!("the file `{name}` did not come out")),
        };
        let saved = read.and_then(|bytes| {
            std::fs::write(&destination, bytes)
                .map_err(|error| format!("{destination} cannot be written: {error}"))
        });
        if let Err(why) = saved {
            print::note(&format!("clawctl: {why}"));
            first = first.and(Err(Failure::silent(Exit::Failed)));
        }
    }
    first
}

fn input() -> Result<Option<Bytes>, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    Ok(Some(Bytes::of(bytes)))
}

fn variables(given: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err(Failure::new(
            Exit::Usage,
            format!("`--env {text}` is not NAME=VALUE"),
        )),
    };
    given.iter().map(pair).collect()
}

/// Passes on what the command wrote, and ends as it has ended.
fn show(outcome: &SandboxOutcome, output: Output) -> Result<(), Failure> {
    match output {
        Output::Table => {
            pass_on(
                std::io::stdout(),
                (&outcome.stdout, outcome.stdout_base64.as_deref()),
            )?;
            pass_on(
                std::io::stderr(),
                (&outcome.stderr, outcome.stderr_base64.as_deref()),
            )?;
        }
        Output::Json | Output::Yaml => print::document(outcome, output)?,
    }
    if outcome.truncated {
        print::note("clawctl: the command wrote more than the sandbox keeps; the rest is cut off");
    }
    if outcome.oom {
        print::note("clawctl: something in the sandbox was killed for memory");
    }
    if outcome.timed_out {
        print::note("clawctl: the command's time was over; the sandbox was killed");
        return Err(Failure::silent(Exit::CommandTimedOut));
    }
    end_as(outcome.exit_code, outcome.signal)
}

/// Ends as a command did, of which one of the two is known.
pub(super) fn end_as(exit_code: Option<u8>, signal: Option<i32>) -> Result<(), Failure> {
    let code = match (exit_code, signal) {
        (Some(code), _) => code,
        (None, Some(signal)) => u8::try_from(BY_SIGNAL + signal).unwrap_or(u8::MAX),
        (None, None) => u8::MAX,
    };
    match code {
        0 => Ok(()),
        code => Err(Failure::silent(Exit::Command(code))),
    }
}

fn pass_on(mut stream: impl Write, (text, base64): (&str, Option<&str>)) -> Result<(), Failure> {
    let bytes = Bytes::decode(text, base64).ok_or_else(|| {
        Failure::new(
            Exit::Failed,
            "the answer cannot be understood: its output is not base64",
        )
    })?;
    match stream.write_all(&bytes).and_then(|()| stream.flush()) {
        // Nobody reads it, as behind `head`; the command has ended all the same.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

async fn list(client: &Client, output: Output) -> Result<(), Failure> {
    let list: SandboxList = client.get(routes::SANDBOXES).await?;
    if output != Output::Table {
        return print::document(&list.sandboxes, output);
    }
    if list.sandboxes.is_empty() {
        return print::line("the fleet file has no `sandboxes`");
    }
    let mut rows = table::with_head(&[
        "Name", "Image", "Ready", "Running", "Waiting", "Runs", "Cold", "Timeouts", "Oom",
        "Refused", "Note",
    ]);
    for sandbox in &list.sandboxes {
        let idle = sandbox.idle.then(|| "idle".to_owned());
        rows.add_row([
            sandbox.name.clone(),
            sandbox.image.clone(),
            format!("{}/{}", sandbox.ready, sandbox.wanted),
            format!("{}/{}", sandbox.running, sandbox.max_running),
            sandbox.waiting.to_string(),
            sandbox.runs.to_string(),
            sandbox.cold.to_string(),
            sandbox.timeouts.to_string(),
            sandbox.oom.to_string(),
            sandbox.refused.to_string(),
            sandbox
                .note
                .clone()
                .or(idle)
                .unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    print::line(&table::text(&rows))
}
