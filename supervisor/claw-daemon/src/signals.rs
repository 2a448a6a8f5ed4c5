//! What signals ask of the supervisor.

use claw_core::event::ShutdownMode;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::http::ports::ReloadFailure;
use crate::reload::{Applied, ConfigSource, Reloader};
use crate::supervise::Handle;

/// Listens for SIGTERM and SIGINT (end; a second one ends at once) and SIGHUP (reload).
///
/// # Errors
///
/// The handlers cannot be installed.
pub(crate) fn listen(
    handle: Handle,
    reloader: Reloader,
    first: ShutdownMode,
) -> std::io::Result<()> {
    let terminate = signal(SignalKind::terminate())?;
    let interrupt = signal(SignalKind::interrupt())?;
    let hangup = signal(SignalKind::hangup())?;
    tokio::spawn(end_on(terminate, interrupt, handle, first));
    tokio::spawn(reload_on(hangup, reloader));
    Ok(())
}

async fn end_on(mut terminate: Signal, mut interrupt: Signal, handle: Handle, first: ShutdownMode) {
    let mut mode = first;
    loop {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        match mode {
            ShutdownMode::Stop => tracing::info!("{name}: stopping every agent; again to hasten"),
            ShutdownMode::Keep => tracing::info!("{name}: ending; agents go on running"),
            ShutdownMode::Hasten => tracing::warn!("{name} again: killing what is left"),
        }
        handle.shutdown(mode).await;
        mode = ShutdownMode::Hasten;
    }
}

async fn reload_on(mut hangup: Signal, reloader: Reloader) {
    while hangup.recv().await.is_some() {
        report(reloader.apply(ConfigSource::File).await);
    }
}

/// Logs what a reload that nobody waits for came to.
pub(crate) fn report(result: Result<Applied, ReloadFailure>) {
    match result {
        Ok(applied) if applied.changes.is_empty() => tracing::info!("fleet file: nothing changed"),
        Ok(applied) => {
            for change in &applied.changes {
                tracing::info!("fleet file: {change}");
            }
            for agent in &applied.held_back {
                tracing::warn!(
                    agent = agent.as_str(),
                    "left as it was: `reload: hot` restarts nobody"
                );
            }
        }
        Err(ReloadFailure::Invalid(errors)) => {
            tracing::error!("fleet file not applied, the old one stays in force");
            for error in errors {
                let (file, line) = (
                    error.file.unwrap_or_default(),
                    error.line.unwrap_or_default(),
                );
                tracing::error!("{file}:{line}: {}", error.message);
            }
        }
        Err(error) => tracing::error!("fleet file not applied: {error}"),
    }
}
