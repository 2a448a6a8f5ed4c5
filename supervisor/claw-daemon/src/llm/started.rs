//! The gateway with all that it needs, from the first configuration with models on.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use claw_gateway::llm::budget::{CallId, Ledger, Settled};
use claw_gateway::llm::serve::{Clock, Event, Gateway, Host, Observer, Settings};
use claw_store::bus::Level;
use claw_store::llm::Settling;
use claw_store::{Store, StoreOptions};
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::journal::StoreJournal;
use super::observer::{ALERTS, Reporter};
use super::{ModelsError, SETTLING, Shared, alerts, restore};
use crate::config::LlmConfig;

/// How long calls and windows are kept, in days: a year and its invoice, and the same month of the
/// year before to compare with.
const KEPT_DAYS: i64 = 400;

/// Nothing is forgotten if the newest window began longer ago, in days: more than a month, so that
/// one that is under way never did.
const RECENT_DAYS: i64 = 40;

/// How often what is older is forgotten.
const PRUNING: Duration = Duration::from_secs(24 * 3600);

/// Bytes of pages of the store that stay in memory. Calls are written at its end, and what is asked
/// of old ones can wait for the disk.
const PAGE_CACHE: u32 = 4 * 1024 * 1024;

/// A gateway that is up.
pub(super) struct Started {
    pub(super) gateway: Gateway,
    pub(super) store: Store,
    pub(super) observer: Arc<Reporter>,
    pub(super) journal: Arc<StoreJournal>,
    /// Held while what was billed is put in the place of what was counted.
    pub(super) correcting: tokio::sync::Mutex<()>,
    /// Publishes alerts, until it is told to end.
    publishing: (TaskTracker, CancellationToken),
    /// `None` while the fleet file asks for no models.
    config: RwLock<Option<Arc<LlmConfig>>>,
}

/// Opens the store of calls, takes over what the supervisor before us spent, and settles what it
/// had in flight.
pub(super) async fn start(
    shared: &Arc<Shared>,
    (llm, settings): (&Arc<LlmConfig>, Settings),
    bus: &Store,
) -> Result<Started, ModelsError> {
    let runtime = shared.runtime();
    let runtime = runtime.map_err(|source| ModelsError::Thread { source })?;
    let path = shared.dir.join("calls.db");
    let options = StoreOptions::default().with_page_cache(PAGE_CACHE);
    let opening = tokio::task::spawn_blocking(move || Store::open(&path, options));
    let store = opening.await.map_err(|_ending| ModelsError::Ending)??;
    let mut kept = store.restore_llm().await?;
    let now = shared.clock.now();
    let today = llm.budgets.timezone.to_datetime(now).date();
    if let Some(since) = kept.kept_since.filter(|since| *since > today) {
        tracing::warn!(
            %since, %today,
            "calls of models were forgotten until a day that has not come: the clock was wrong once, or is now"
        );
        let since = today.saturating_sub(KEPT_DAYS.days());
        store.keep_llm_since(since).await?;
        kept.kept_since = Some(since);
    }
    let standing = restore::standing(kept);
    let (ledger, lost) = Ledger::restore(now, llm.budgets.clone(), standing);

    let (sender, receiver) = mpsc::channel(ALERTS);
    let (clock, told) = (Arc::clone(&shared.clock), shared.told.clone());
    let told = (told, runtime.clone());
    let observer = Arc::new(Reporter::new(clock, told, sender));
    observer.configure(&llm.settings);
    let (publishing, until) = (TaskTracker::new(), CancellationToken::new());
    let stores = (store.clone(), bus.clone());
    let publish = alerts::publish(receiver, stores, until.clone());
    publishing.spawn_on(publish, runtime);
    if !lost.is_empty() {
        let calls = lost.len();
        tracing::warn!(
            calls,
            "calls of models were under way when the supervisor died; what they may have cost is uncertain"
        );
    }
    settle_lost(&store, now, &lost).await;
    for alert in lost.iter().flat_map(|(_, settled)| &settled.alerts) {
        observer.tell(Event::Alert(alert));
    }
    shared.told.metrics.begin(&store.llm_totals().await?);
    let journal = Arc::new(StoreJournal::new(store.clone(), llm.durability));
    let host = Host {
        journal: Arc::clone(&journal) as _,
        clock: Arc::clone(&shared.clock),
        observer: Arc::clone(&observer) as _,
        halts: shared.halts.clone(),
    };
    let gateway = Gateway::new(settings, ledger, host);
    // Limits that were lowered meanwhile may be passed already.
    gateway.set_budgets(llm.budgets.clone());
    prune_daily((shared, runtime), &gateway, &store);
    Ok(Started {
        gateway,
        store,
        observer,
        journal,
        publishing: (publishing, until),
        correcting: tokio::sync::Mutex::default(),
        config: RwLock::new(Some(Arc::clone(llm))),
    })
}

/// Writes what is known of calls whose end nobody saw.
async fn settle_lost(store: &Store, now: Timestamp, lost: &[(CallId, Settled)]) {
    let settling = lost.iter().map(|(id, settled)| Settling {
        id: id.0,
        ended: restore::ended_as_lost(now, settled),
    });
    let written = store.settle_llm_calls(settling.collect(), Level::Os).await;
    if let Err(error) = written {
        // They count all the same, and the next supervisor finds them again.
        tracing::error!(%error, "what became of calls that were under way is not written");
    }
}

impl Started {
    /// Puts another configuration into force.
    pub(super) fn replace(&self, llm: &Arc<LlmConfig>, settings: Settings) {
        self.journal.set_durability(llm.durability);
        self.observer.configure(&llm.settings);
        // First the limits: an agent that is new must not call anything before it has its own. The
        // other way round, an agent that loses its access together with its limit may get one more
        // call through in between, which counts against the limit of all.
        self.gateway.set_budgets(llm.budgets.clone());
        self.gateway.replace(settings);
        self.set_config(Some(Arc::clone(llm)));
    }

    /// No agent may call anything any more. What was spent stays, and so do the budgets, in case
    /// that models come back today.
    pub(super) fn withdraw(&self) {
        self.observer.configure(&Settings::default());
        self.gateway.replace(Settings::default());
        self.set_config(None);
    }

    /// What is in force.
    pub(super) fn config(&self) -> Option<Arc<LlmConfig>> {
        let config = self.config.read();
        config.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Publishes and writes what is to be published and written.
    pub(super) async fn close(&self) {
        let (publishing, until) = &self.publishing;
        until.cancel();
        publishing.close();
        if tokio::time::timeout(SETTLING, publishing.wait())
            .await
            .is_err()
        {
            tracing::warn!("alerts of budgets wait for the bus; they are given after a restart");
        }
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || store.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "the store of calls of models was not closed in order");
            }
            Err(error) => tracing::error!(%error, "the store of calls of models was not closed"),
        }
    }

    fn set_config(&self, llm: Option<Arc<LlmConfig>>) {
        let config = self.config.write();
        *config.unwrap_or_else(PoisonError::into_inner) = llm;
    }
}

/// Forgets what is old, now and every day.
fn prune_daily((shared, runtime): (&Arc<Shared>, &Handle), gateway: &Gateway, store: &Store) {
    let (gateway, store, clock) = (gateway.clone(), store.clone(), Arc::clone(&shared.clock));
    let until = shared.accepting.clone();
    let pruning = async move {
        let mut days = tokio::time::interval(PRUNING);
        loop {
            tokio::select! {
                biased;
                () = until.cancelled() => return,
                _ = days.tick() => prune(&gateway, &store, &*clock).await,
            }
        }
    };
    shared.tasks.spawn_on(pruning, runtime);
}

async fn prune(gateway: &Gateway, store: &Store, clock: &dyn Clock) {
    let before = gateway.with_ledger(|ledger| {
        let today = ledger.budgets().timezone.to_datetime(clock.now()).date();
        let newest = ledger.accounts().map(|(window, _)| window.start).max();
        let before = forgotten_before(today, newest)?;
        ledger.forget_before(before);
        Some(before)
    });
    let Some(before) = before else { return };
    match store.prune_llm(before).await {
        Ok(0) => {}
        Ok(calls) => tracing::info!(calls, %before, "old calls of models were forgotten"),
        Err(error) => tracing::warn!(%error, "old calls of models are still kept"),
    }
}

/// From which day on calls are kept, if the newest window began on `newest`. Without an answer if
/// that is long ago: either nobody calls anything, and then there is nothing to forget, or the
/// clock is far ahead, and what it takes for old is not.
fn forgotten_before(today: Date, newest: Option<Date>) -> Option<Date> {
    let recent = today.saturating_sub(RECENT_DAYS.days());
    newest.filter(|newest| *newest >= recent)?;
    Some(today.saturating_sub(KEPT_DAYS.days()))
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn nothing_is_forgotten_by_a_clock_that_is_far_ahead_of_the_last_call() {
        let called = date(2026, 3, 5);
        let before = |today| forgotten_before(today, Some(called));
        assert_eq!(before(date(2026, 3, 6)), Some(date(2025, 1, 30)));
        assert_eq!(before(date(2026, 4, 20)), None);
        assert_eq!(before(date(2040, 3, 5)), None);
        assert_eq!(forgotten_before(called, None), None);
    }
}
