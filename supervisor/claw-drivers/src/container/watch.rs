//! Whether the engine can be asked, and what it tells by itself.
//!
//! One task per driver, and only as long as there is a container to watch: it reads the engine's
//! events, which are hints to look at a container and nothing more, and makes sure that the engine
//! still answers. A broken stream says nothing about any container.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt;
use tokio::time::MissedTickBehavior;

use super::driver::Inner;
use super::engine::Client;
use super::fault::EngineError;
use super::instance::Mail;
use super::{name, sweep};

/// Between two questions whether the engine is there.
const INTERVAL: Duration = Duration::from_secs(2);

/// Between two looks for containers of ours that nobody knows: a request of a supervisor that was
/// killed may be carried out after its successor has looked.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// So long an engine may take to say that it is there; it takes a millisecond.
const ANSWER: Duration = Duration::from_secs(3);

/// An engine that is away for less than this is nobody's concern.
const TOLERANCE: Duration = Duration::from_secs(2);

/// The first pause before a new attempt, doubled until [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Events are read from this many seconds before the connection: none may be missed in between,
/// and a hint that comes twice does no harm.
const OVERLAP: i64 = 2;

/// Whether the engine can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sight {
    /// Nobody has tried yet.
    Unknown,
    /// It can; the number rises each time that it can again.
    Clear(u64),
    /// It cannot, and has not for a while; why.
    Lost(String),
}

/// Watches until there is nothing to watch.
pub(super) async fn run(inner: Arc<Inner>) {
    let mut epoch = 0;
    let mut away = None;
    let mut pause = FIRST_PAUSE;
    loop {
        if !inner.is_watching() {
            return;
        }
        let mut begun = Instant::now();
        let error = match inner.engine.client().await {
            Ok(client) => {
                epoch += 1;
                let watched = watch(&inner, &client, epoch).await;
                inner.engine.forget();
                let Err(error) = watched else {
                    return;
                };
                if *inner.sight.borrow() == Sight::Clear(epoch) {
                    // It was there until now, or until it was asked the last time.
                    let silent = matches!(error, EngineError::Silent { .. });
                    let asked = if silent { ANSWER } else { Duration::ZERO };
                    begun = Instant::now().checked_sub(asked).unwrap_or(begun);
                    (away, pause) = (None, FIRST_PAUSE);
                }
                error
            }
            Err(error) => error,
        };
        let since = *away.get_or_insert(begun);
        if since.elapsed() >= TOLERANCE {
            lose(&inner, &error);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Tells that the engine cannot be asked; once, however the reasons change.
fn lose(inner: &Inner, error: &EngineError) {
    inner.sight.send_if_modified(|sight| {
        let news = !matches!(sight, Sight::Lost(_));
        *sight = Sight::Lost(error.to_string());
        news
    });
}

/// Watches one connection; ends without an error when there is nothing left to watch.
async fn watch(inner: &Arc<Inner>, client: &Arc<Client>, epoch: u64) -> Result<(), EngineError> {
    client.within(ANSWER, client.docker.ping()).await?;
    let since = claw_core::Wall::now().as_second() - OVERLAP;
    let options = EventsOptionsBuilder::new()
        .since(&since.to_string())
        .filters(&name::filter(&inner.project))
        .build();
    let mut events = pin!(client.docker.events(Some(options)));
    inner.sight.send_replace(Sight::Clear(epoch));
    let mut sweeps = tokio::time::interval(SWEEP_INTERVAL);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => hint(inner, &event),
                Some(Err(error)) => return Err(client.fault(error)),
                None => {
                    return Err(EngineError::Unreachable {
                        address: client.address.clone(),
                        reason: "it ended the connection".to_owned(),
                    });
                }
            },
            _tick = sweeps.tick() => {
                inner.start_task(sweep::run(Arc::clone(inner), Arc::clone(client)));
            }
            _tick = ticks.tick() => {
                if !inner.is_watching() {
                    return Ok(());
                }
                client.within(ANSWER, client.docker.ping()).await?;
            }
        }
    }
}

/// Passes an event on to the instance that it is about.
fn hint(inner: &Inner, event: &EventMessage) {
    let labels = event
        .actor
        .as_ref()
        .and_then(|actor| actor.attributes.as_ref());
    let Some(instance) = labels.and_then(|labels| name::instance(&inner.project, labels)) else {
        return;
    };
    match event.action.as_deref().unwrap_or_default() {
        "die" | "died" | "pause" | "unpause" | "destroy" | "remove" | "restart" => {
            inner.mail(&instance, Mail::Look)
        }
        "oom" => inner.mail(&instance, Mail::OutOfMemory),
        "rename" => {
            tracing::warn!(%instance, "its container was renamed; it is followed by its id");
        }
        _ => {}
    }
}
