//! What the API asks of the gateway.

use std::sync::Arc;

use claw_gateway::llm::budget::{Alert, Balance, CallId, NotUncertain, Window};
use claw_gateway::llm::money::Money;
use claw_gateway::llm::serve::{Event, Observer};
use claw_store::StoreError;
use claw_store::llm::{Correction, WindowCorrection};

use super::started::Started;
use super::{Models, rows};
use crate::http::ports::{
    Balances, FindLlm, LlmPorts, NotReconciled, Port, Prices, Reconciliation,
};

impl Models {
    /// Finds what the API asks, as long as the fleet file has models.
    pub(crate) fn ports(&self) -> FindLlm {
        let models = self.clone();
        Arc::new(move || {
            let started = models.shared.started.get()?;
            let (gateway, config) = (started.gateway.clone(), started.config()?);
            let settings = Arc::new(config.settings.clone());
            let (clock, correcting) = (Arc::clone(&models.shared.clock), models.clone());
            let of = Arc::clone(&settings);
            Some(LlmPorts {
                balances: Arc::new(move || {
                    let now = clock.now();
                    gateway.with_ledger(|ledger| Balances::of(ledger, &of, now))
                }),
                reconcile: Port::new(move |wanted| {
                    let models = correcting.clone();
                    async move { models.reconcile(wanted).await }
                }),
                store: started.store.clone(),
                prices: Arc::new(move || Prices {
                    table: Arc::clone(&config.prices),
                    settings: Arc::clone(&settings),
                }),
            })
        })
    }

    /// Corrects the store, and then the ledger. Whoever asked may hang up: it is done to its end.
    pub(super) async fn reconcile(
        &self,
        wanted: Reconciliation,
    ) -> Result<Vec<Balance>, NotReconciled> {
        let models = self.clone();
        let correcting = async move {
            match models.shared.started.get() {
                Some(started) => models.correct(started, wanted).await,
                None => Err(StoreError::Closed.into()),
            }
        };
        let correcting = self.shared.tasks.spawn(correcting);
        correcting
            .await
            .unwrap_or_else(|_ending| Err(StoreError::Closed.into()))
    }

    async fn correct(
        &self,
        started: &Started,
        wanted: Reconciliation,
    ) -> Result<Vec<Balance>, NotReconciled> {
        // One after another: each is made from how the ledger stands.
        let _correcting = started.correcting.lock().await;
        // What has ended is in the ledger already; the store is corrected with it, and not before.
        started.journal.write_ends().await;
        let (windows, alerts) = match wanted {
            Reconciliation::Call { id, billed } => self.correct_call(started, id, billed).await?,
            Reconciliation::Window { window, billed } => {
                self.correct_window(started, window, billed).await?
            }
        };
        for alert in &alerts {
            started.observer.tell(Event::Alert(alert));
        }
        let balances = started.gateway.with_ledger(|ledger| {
            let windows = windows.into_iter();
            windows.map(|window| ledger.balance(window)).collect()
        });
        Ok(balances)
    }

    async fn correct_call(
        &self,
        started: &Started,
        id: CallId,
        billed: Money,
    ) -> Result<(Vec<Window>, Vec<Alert>), NotReconciled> {
        let standing = started.gateway.with_ledger(|ledger| ledger.standing());
        let call = standing.uncertain.into_iter().find(|call| call.id == id);
        let call = call.ok_or(NotUncertain::Call(id))?;
        match started
            .store
            .reconcile_llm_call(id.0, billed.pico())
            .await?
        {
            Correction::Written => {}
            Correction::NothingUncertain => return Err(NotUncertain::Call(id).into()),
        }
        let now = self.shared.clock.now();
        let alerts = started
            .gateway
            .with_ledger(|ledger| ledger.reconcile_call(now, id, billed))?;
        Ok((call.windows, alerts))
    }

    async fn correct_window(
        &self,
        started: &Started,
        window: Window,
        billed: Money,
    ) -> Result<(Vec<Window>, Vec<Alert>), NotReconciled> {
        // As the ledger knows it at this moment. Calls that end from here on are added to the ledger
        // and to the store in their turn, whether before the correction or after it.
        let correction = started
            .gateway
            .with_ledger(|ledger| ledger.correction(&window, billed))?;
        let written = WindowCorrection {
            key: rows::window_key(&window),
            settled: correction.settled.pico(),
            cleared: correction.cleared.pico(),
            calls: correction.calls.iter().map(|call| call.0).collect(),
        };
        started.store.reconcile_llm_window(written).await?;
        let now = self.shared.clock.now();
        let alert = started
            .gateway
            .with_ledger(|ledger| ledger.reconcile_window(now, &correction));
        Ok((vec![window], alert.into_iter().collect()))
    }
}
