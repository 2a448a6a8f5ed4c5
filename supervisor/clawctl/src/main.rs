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

use crate::args::{Cli, Command};
use crate::exit::{Exit, Failure};

fn main() -> ExitCode {
    // The spawner and the shims are this executable too; they must be on their way before
    // anything here makes a thread or opens a file.
    if let Some(code) = claw_drivers::process::reenter() {
        return code;
    }
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
    let mut runtime = match cli.command {
        Command::Up(_) => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = runtime.worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(async {
        match &cli.command {
            Command::Up(up) => commands::up::run(&cli.global, up).await,
            command => client_command(cli, command).await,
        }
    });
    // A blocked read of a terminal or a stuck disk must not keep a finished command.
    runtime.shutdown_background();
    result
}

async fn client_command(cli: &Cli, command: &Command) -> Result<(), Failure> {
    let interrupted = tokio::signal::ctrl_c();
    tokio::select! {
        result = commands::dispatch(&cli.global, command) => result,
        _ = interrupted => Err(Failure::silent(Exit::Interrupted)),
    }
}
