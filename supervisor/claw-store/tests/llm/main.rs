//! The money of model calls: what is written, and what is there after a death.
#![expect(
    clippy::unwrap_used,
    reason = "a failed step of a test is a failed test, in its helpers too"
)]

mod basics;
mod crash;
mod retention;

use claw_store::bus::Level;
use claw_store::llm::{Admitted, EndedCall, Settlement, Settling, WindowKey};
use claw_store::store::UnixMs;
use claw_store::{Store, StoreOptions};
use jiff::civil::Date;
use tempfile::TempDir;

struct Bench {
    store: Store,
    directory: TempDir,
}

impl Bench {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let store = open(&directory);
        Self { store, directory }
    }

    fn reopened(self) -> Self {
        self.store.close().unwrap();
        let store = open(&self.directory);
        Self {
            store,
            directory: self.directory,
        }
    }

    async fn reserve(&self, call: Admitted) {
        self.store.reserve_llm_call(call, Level::Os).await.unwrap();
    }

    async fn settle(&self, id: u64, ended: EndedCall) -> Settlement {
        let call = Settling { id, ended };
        let settled = self.store.settle_llm_calls(vec![call], Level::Os).await;
        settled.unwrap()[0]
    }

    /// Settled and uncertain money by window, in the order of the windows.
    async fn windows(&self) -> Vec<(WindowKey, i64, i64)> {
        let restored = self.store.restore_llm().await.unwrap();
        let windows = restored.windows.into_iter();
        let mut windows: Vec<_> = windows
            .map(|row| (row.key, row.settled, row.uncertain))
            .collect();
        windows.sort();
        windows
    }
}

fn open(directory: &TempDir) -> Store {
    Store::open(&directory.path().join("store.db"), StoreOptions::default()).unwrap()
}

fn date(text: &str) -> Date {
    text.parse().unwrap()
}

fn admitted(id: u64, agent: &str, day: &str) -> Admitted {
    Admitted {
        id,
        admitted_at: UnixMs(1_000 * i64::try_from(id).unwrap()),
        day: date(day),
        agent: agent.into(),
        run: Some(format!("run-{agent}")),
        provider: "openai".into(),
        model: "best".into(),
        model_id: "gpt-5.4".into(),
        held: 100,
        estimate: 10,
        rates: r#"{"tokens":[{"input":2.5,"output":15.0}]}"#.into(),
        clamped: Some(256),
        request_hash: vec![1, 2, 3],
    }
}

fn ended(spent: i64, uncertain: i64) -> EndedCall {
    EndedCall {
        outcome: "reported".into(),
        spent,
        uncertain,
        ..EndedCall::default()
    }
}
