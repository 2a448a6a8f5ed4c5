//! Keeps sandboxes ready: one task for each kind.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::container::{NotReady, Sandbox};
use super::housing::Which;
use super::ready::{CHECK, Pool, Stock, Task};

/// Between two attempts to make a sandbox; doubled up to a minute.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Does what there is to do until it is aborted.
pub(super) async fn keep(pool: Arc<Pool>) {
    let mut pause = FIRST_PAUSE;
    loop {
        match pool.tend(Instant::now()) {
            Task::Start => {
                let made = Sandbox::ready(&pool.housing, &pool.name, &pool.spec).await;
                pause = take(&pool, made, pause).await;
            }
            Task::Rest(until) => rest(&pool, until).await,
        }
    }
}

/// Takes what was made, or waits before the next attempt; how long the one after that waits.
async fn take(pool: &Pool, made: Result<Sandbox, NotReady>, pause: Duration) -> Duration {
    match made {
        Ok(sandbox) => pool.put(sandbox),
        Err(NotReady::CannotWait) => {
            tracing::warn!(
                sandbox = pool.name,
                image = pool.spec.container.image,
                "the image has no `sleep`, so nothing is kept ready; each command has a container made for it"
            );
            pool.note(Stock::CannotWait);
        }
        Err(NotReady::Failed(error)) => {
            tracing::warn!(sandbox = pool.name, %error, pause_s = pause.as_secs(), "no sandbox is ready; trying again");
            pool.note(Stock::Failing(error.to_string()));
            tokio::time::sleep(pause).await;
            return (pause * 2).min(LONGEST_PAUSE);
        }
    }
    FIRST_PAUSE
}

/// Waits for the next thing to do, and looks now and then whether those that wait still run.
async fn rest(pool: &Pool, until: Option<Instant>) {
    let check = pool.has_ready().then(|| Instant::now() + CHECK);
    let due = until.into_iter().chain(check).min();
    let time = async {
        match due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = pool.changed.notified() => return,
        () = time => {}
    }
    if check.is_some_and(|check| check <= Instant::now()) {
        look(pool).await;
    }
}

/// An engine that does not answer leaves everything as it is: nothing is known then.
async fn look(pool: &Pool) {
    let asked = Instant::now();
    let Ok(client) = pool.housing.engine.client().await else {
        return;
    };
    if let Ok(running) = pool.housing.list(&client, Which::Running).await {
        pool.keep_only(&running, asked);
    }
}
