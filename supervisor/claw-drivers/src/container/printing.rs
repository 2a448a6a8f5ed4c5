//! The task that takes a container's output over, as long as it runs and a moment longer.

use std::sync::Arc;
use std::time::Duration;

use claw_core::InstanceId;
use claw_core::death::LogRange;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::driver::Inner;
use super::instance::Mail;
use super::output::{Left, Output};

/// Between a stream that ended and the next attempt, doubled until [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long an engine that is away is waited for, for the last words of a container that has
/// ended. Then its end is told without them.
const LAST_WORDS: Duration = Duration::from_secs(20);

/// A running take-over; dropping it ends it.
#[derive(Debug)]
pub(super) struct Printing {
    stop: watch::Sender<bool>,
    task: JoinSet<Option<LogRange>>,
}

impl Printing {
    pub(super) fn start(
        inner: Arc<Inner>,
        instance: InstanceId,
        container: String,
        output: Output,
    ) -> Self {
        let (stop, asked) = watch::channel(false);
        let mut task = JoinSet::new();
        task.spawn(run(inner, instance, container, output, asked));
        Self { stop, task }
    }

    /// Takes the rest over and closes the log; where the output lies in it.
    pub(super) async fn finish(mut self) -> Option<LogRange> {
        self.stop.send_replace(true);
        self.task.join_next().await?.ok()?
    }
}

async fn run(
    inner: Arc<Inner>,
    instance: InstanceId,
    container: String,
    mut output: Output,
    mut asked: watch::Receiver<bool>,
) -> Option<LogRange> {
    let mut pause = FIRST_PAUSE;
    while !*asked.borrow() {
        let begun = Instant::now();
        if let Ok(client) = inner.engine.client().await {
            match output.follow(&client, &container, &mut asked).await {
                Left::Asked => break,
                Left::Ended => {}
                Left::Broken(error) => {
                    tracing::debug!(%instance, %error, "the stream of its output broke");
                }
            }
            // The container has ended, or the engine has.
            inner.mail(&instance, Mail::Look);
        }
        if begun.elapsed() >= LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        tokio::select! {
            _asked = asked.wait_for(|asked| *asked) => break,
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
        }
    }
    last_words(&inner, &instance, &container, &mut output).await;
    output.finish().await
}

async fn last_words(inner: &Inner, instance: &InstanceId, container: &str, output: &mut Output) {
    let deadline = Instant::now() + LAST_WORDS;
    let mut pause = FIRST_PAUSE;
    loop {
        let attempt = async {
            let client = inner.engine.client().await?;
            output.catch_up(&client, container).await
        };
        // Each part of it has a limit of its own; the whole has as much to take as there is.
        let error = match attempt.await {
            Ok(()) => return,
            Err(error) if error.is_away() && Instant::now() + pause < deadline => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                continue;
            }
            // It was removed, by hand, with its output.
            Err(error) if error.status() == 404 || error.status() == 409 => return,
            Err(error) => error,
        };
        tracing::warn!(%instance, %error, "the end of its output is lost");
        output
            .marker(format!("the end of the output is lost: {error}"))
            .await;
        return;
    }
}
