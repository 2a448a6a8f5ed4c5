//! `clawctl`: `clawctl up` is the supervisor, everything else is a client of it.

mod args;
mod client;
mod commands;
mod complete;
mod exit;
mod locate;
mod print;
mod render;
mod wait;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use clap_complete::CompleteEnv;
use claw_daemon::BLOCKING_KEPT;
use claw_failpoint::Step;

use crate::args::{Cli, Command};
use crate::exit::{Exit, Failure};

fn main() -> ExitCode {
    // The spawner and the shims are this executable too; they must be on their way before
    // anything here makes a thread or opens a file.
    if let Some(code) = claw_drivers::process::reenter() {
        return ExitCode::from(code);
    }
    claw_failpoint::before(Step::Start);
    CompleteEnv::with_factory(Cli::command).complete();
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => Exit::Ok.into(),
        Err(failure) => {
            print::failure(&failure);
            failure.exit.into()
        }
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    let supervisor = matches!(cli.command, Command::Up(_));
    let mut runtime = if supervisor {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    if supervisor {
        runtime.thread_keep_alive(BLOCKING_KEPT);
    }
    let runtime = runtime.enable_all().build()?;
    let result = runtime.block_on(async {
        let global = cli.global();
        let command = commands::dispatch(&global, &cli.command);
        // The supervisor has its own idea of what Ctrl-C means, and so has a command that is run.
        if supervisor || cli.command.takes_interrupts() {
            command.await
        } else {
            interruptible(command).await
        }
    });
    // A blocked read of a terminal or a stuck disk must not keep a finished command.
    runtime.shutdown_background();
    result
}

async fn interruptible(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::select! {
        result = command => result,
        _ = tokio::signal::ctrl_c() => Err(Failure::silent(Exit::Interrupted)),
    }
}
