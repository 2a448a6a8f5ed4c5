//! `clawctl up`: the supervisor itself.

use std::fs::DirBuilder;
use std::io::IsTerminal;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use claw_daemon::api::{Health, routes};
use claw_daemon::config::{Environment, ProviderKeys, Style};
use claw_daemon::error::StartError;
use claw_daemon::host::{Daemon, Options};
use claw_daemon::llm::Answers;
use claw_daemon::telemetry::logging::{self, Format};
use claw_daemon::upgrade::Watched;
use claw_drivers::process::close_on_exec;

use crate::args::{Global, LogFormat, Output, Up, WatchedBy};
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::locate::{self, Target};
use crate::render::live::Live;
use crate::{print, wait};

/// How long a supervisor in the background may take to answer.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Runs the supervisor in this terminal until it is told to end, or sends it to the background.
///
/// # Errors
///
/// It cannot start; nothing was started then.
pub(crate) async fn run(global: &Global, up: &Up) -> Result<(), Failure> {
    let file = locate::fleet_file(global)?;
    if up.detach {
        return detach(&file, up).await;
    }
    let live = std::io::stderr().is_terminal() && global.output == Output::Table;
    let format = match up.log_format {
        LogFormat::Json => Format::Json,
        LogFormat::Text => Format::Text,
    };
    // The live view says what a warning would, and a line between its frames would break it.
    let default = if live { "error" } else { "info" };
    logging::start(up.log_level.as_deref().unwrap_or(default), format);
    let options = Options {
        file,
        environment: Environment {
            provider_keys: match up.llm {
                Answers::Real => ProviderKeys::Needed,
                Answers::Cassette(_) | Answers::Fake => ProviderKeys::Unneeded,
            },
            ..Environment::of_process()
        },
        answers: up.llm.clone(),
        watched: match up.watched_by {
            WatchedBy::Nobody => Watched::Nobody,
            WatchedBy::Starter => Watched::ByStarter,
        },
    };
    let daemon = Daemon::start(options)
        .await
        .map_err(|error| refused(error, global.output))?;
    let warnings = &daemon.loaded().warnings;
    if !warnings.is_empty() {
        print::note(warnings.render(Style::Colored).trim_end());
    }
    for note in daemon.notes() {
        print::note(&format!("note: {note}"));
    }
    let display = live.then(|| Live::start(daemon.handle().clone(), daemon.feed()));
    if display.is_none() {
        greet(&daemon);
    }
    daemon.ended().await;
    drop(display);
    Ok(())
}

fn greet(daemon: &Daemon) {
    let loaded = daemon.loaded();
    let listen = loaded
        .supervisor
        .listen
        .map_or_else(String::new, |at| format!(" and http://{at}"));
    print::note(&format!(
        "clawctl {} runs {} ({} agents), answers on {}{listen}",
        env!("CARGO_PKG_VERSION"),
        loaded.fleet.project,
        loaded.fleet.agents.len(),
        daemon.data_dir().control_socket().display(),
    ));
}

fn refused(error: StartError, output: Output) -> Failure {
    if let StartError::Config(diagnostics) = &error {
        return super::validate::report(diagnostics, output);
    }
    Failure::new(Exit::Failed, format!("{:#}", anyhow::Error::from(error)))
}

/// Starts this program again in a session of its own, and waits until it answers.
async fn detach(file: &Path, up: &Up) -> Result<(), Failure> {
    let file = std::fs::canonicalize(file)?;
    let socket = locate::socket_of(&file);
    let folder = socket.parent().map(Path::to_owned).unwrap_or_default();
    // As the supervisor would make it: what lies in it is nobody else's to read.
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)?;
    let log_path = folder.join("supervisor.log");
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log_path)?;
    let begins = log.metadata()?.len();
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--file").arg(&file).arg("up");
    command.args(["--watched-by", "nobody"]);
    command.process_group(0);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    command.args(["--llm", &up.llm.to_string()]);
    if let Some(level) = &up.log_level {
        command.args(["--log-level", level]);
    }
    close_on_exec();
    let mut child = command.spawn()?;
    let pid = child.id();
    let client = Client::new(Target::Socket(socket.clone()));
    let mut ended = None;
    wait::until(START_LIMIT, async || {
        ended = child.try_wait().ok().flatten();
        let health = client.get::<Health>(routes::HEALTH).await;
        ended.is_some() || health.is_ok_and(|health| health.pid == pid)
    })
    .await;
    if let Some(status) = ended {
        print::note(&since(&log_path, begins));
        let exit = if status.code() == Some(78) {
            Exit::InvalidConfig
        } else {
            Exit::Failed
        };
        return Err(Failure::new(exit, "the supervisor did not start"));
    }
    print::line(&format!(
        "the supervisor runs in the background as process {pid}"
    ))?;
    print::note(&format!(
        "its own log is {}; `clawctl status` shows the fleet",
        log_path.display()
    ));
    Ok(())
}

fn since(log: &Path, begins: u64) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let from = usize::try_from(begins)
        .unwrap_or(usize::MAX)
        .min(text.len());
    String::from_utf8_lossy(&text[from..]).trim_end().to_owned()
}
