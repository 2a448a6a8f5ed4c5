//! A fleet whose agents call models: the ledger and the store know of a few calls.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use claw_gateway::llm::budget::{Budgets, CallId, Ledger, Limits, Outcome, Window};
use claw_gateway::llm::money::Money;
use claw_gateway::llm::prices::PriceTable;
use claw_gateway::llm::rates::Rates;
use claw_gateway::llm::serve::{AgentSettings, Model, Price, Settings};
use claw_store::Store;
use claw_store::bus::Level;
use claw_store::llm::{Admitted, EndedCall, Settling, Tokens};
use claw_store::store::UnixMs;

use super::fleet::Fleet;
use super::samples::{OLD_RUN, ago, now};
use crate::http::ports::{Balances, LlmPorts, NotReconciled, Port, Prices, Reconciliation};
use crate::http::router;
use crate::llm::rows;

const TABLE: &str = r#"[
  {"provider": "openai", "model": "gpt-5.4", "rates": {"tokens": [{"input": 2.5, "output": 15, "cache_read": 0.25}]},
   "source": "https://openai.com/api/pricing", "checked_on": "2026-11-10"},
  {"provider": "openai", "model": "gpt-5.4-mini", "rates": {"tokens": [{"input": 0.5, "output": 2}]},
   "checked_on": "2026-05-01"}
]"#;

pub(super) fn usd(text: &str) -> Money {
    text.parse().unwrap()
}

fn settings(table: &PriceTable) -> Settings {
    let known = &table.lookup("openai", "gpt-5.4").unwrap().rates;
    let model = |provider: &str, id: &str, price: Price| {
        Arc::new(Model {
            provider: provider.into(),
            id: id.into(),
            price,
            max_output: None,
            context: None,
            image_tokens: None,
        })
    };
    let proxied = Price::Known(Arc::new(known.clone()));
    let house = Rates::flat(usd("0.000001"), usd("0.000004"));
    let agent = AgentSettings {
        models: vec!["best".into(), "local".into()],
        ..AgentSettings::default()
    };
    Settings {
        models: BTreeMap::from([
            (
                "best".into(),
                model("openai", "gpt-5.4", Price::Known(Arc::new(known.clone()))),
            ),
            (
                "house".into(),
                model("house", "house-1", Price::Known(Arc::new(house))),
            ),
            ("local".into(), model("ollama", "llama3.1:70b", Price::Free)),
            ("new".into(), model("openai", "gpt-9", Price::Unknown)),
            ("proxied".into(), model("proxy", "gpt-5.4", proxied)),
        ]),
        agents: ["monitor", "nightly"]
            .map(|name| (Arc::from(name), Arc::new(agent.clone())))
            .into(),
        ..Settings::default()
    }
}

fn budgets() -> Budgets {
    let limits = |daily: &str, monthly: Option<&str>| Limits {
        daily: Some(usd(daily)),
        monthly: monthly.map(usd),
    };
    Budgets {
        fleet: limits("10", None),
        agents: BTreeMap::from([("monitor".into(), limits("0.05", Some("1")))]),
        ..Budgets::default()
    }
}

impl Fleet {
    /// The same fleet, with models: a call that was answered, one of uncertain cost and one under
    /// way.
    pub(super) async fn with_models(mut self) -> Self {
        let table = Arc::new(PriceTable::from_json(TABLE).unwrap());
        let settings = Arc::new(settings(&table));
        let mut ledger = Ledger::new(budgets());
        let store = &self.state.ports.store;
        let spent = usd("0.0312");
        begin(&mut ledger, store, ("monitor", "0.04")).await;
        end(&mut ledger, store, (1, Outcome::Reported(spent))).await;
        let estimate = usd("0.001");
        begin(&mut ledger, store, ("monitor", "0.01")).await;
        end(&mut ledger, store, (2, Outcome::Lost { estimate })).await;
        begin(&mut ledger, store, ("nightly", "0.5")).await;
        let ports = ports(store.clone(), ledger, Prices { table, settings });
        self.state.ports.llm = Arc::new(move || Some(ports.clone()));
        self.app = router::app(self.state.clone());
        self
    }
}

async fn begin(ledger: &mut Ledger, store: &Store, (agent, held): (&str, &str)) {
    let reserved = ledger.reserve(now(), &agent.into(), usd(held), &Limits::default());
    let reserved = reserved.unwrap();
    let rates = Rates::flat(usd("0.0000025"), usd("0.000015"));
    let call = Admitted {
        id: reserved.id.0,
        admitted_at: UnixMs(ago(60).as_millisecond()),
        day: reserved.day,
        agent: agent.to_owned(),
        run: (agent == "nightly").then(|| OLD_RUN.to_owned()),
        provider: "openai".to_owned(),
        model: "best".to_owned(),
        model_id: "gpt-5.4".to_owned(),
        held: reserved.held.pico(),
        estimate: 0,
        rates: rows::rates(Some(&rates)),
        clamped: None,
        request_hash: vec![0x0a, 0xff],
    };
    store.reserve_llm_call(call, Level::Os).await.unwrap();
}

async fn end(ledger: &mut Ledger, store: &Store, (id, outcome): (u64, Outcome)) {
    let settled = ledger.settle(now(), CallId(id), outcome).unwrap();
    let known = settled.uncertain == Money::ZERO;
    let ended = EndedCall {
        outcome: if known { "answered" } else { "abandoned" }.to_owned(),
        spent: settled.spent.pico(),
        uncertain: settled.uncertain.pico(),
        tokens: Tokens {
            input: 480,
            cache_read: 8_000,
            output: 1_800,
            ..Tokens::default()
        },
        model_served: known.then(|| "gpt-5.4-2026-08-06".to_owned()),
        status: Some(200),
        attempts: None,
        started_at: None,
        first_byte_at: Some(UnixMs(ago(59).as_millisecond())),
        ended_at: Some(UnixMs(ago(50).as_millisecond())),
    };
    let settling = vec![Settling { id, ended }];
    store.settle_llm_calls(settling, Level::Os).await.unwrap();
}

/// As the host of the gateway would make them.
fn ports(store: Store, ledger: Ledger, prices: Prices) -> LlmPorts {
    let ledger = Arc::new(Mutex::new(ledger));
    let (settings, correcting) = (Arc::clone(&prices.settings), Arc::clone(&ledger));
    LlmPorts {
        store: store.clone(),
        balances: Arc::new(move || Balances::of(&ledger.lock().unwrap(), &settings, now())),
        reconcile: Port::new(move |question| {
            let (ledger, store) = (Arc::clone(&correcting), store.clone());
            async move {
                let windows = corrected(&mut ledger.lock().unwrap(), &question)?;
                if let Reconciliation::Call { id, billed } = question {
                    store.reconcile_llm_call(id.0, billed.pico()).await?;
                }
                let ledger = ledger.lock().unwrap();
                Ok(windows
                    .into_iter()
                    .map(|window| ledger.balance(window))
                    .collect())
            }
        }),
        prices: Arc::new(move || prices.clone()),
    }
}

fn corrected(ledger: &mut Ledger, question: &Reconciliation) -> Result<Vec<Window>, NotReconciled> {
    match question {
        Reconciliation::Call { id, billed } => {
            let unknown = ledger.standing().uncertain;
            let unknown = unknown.into_iter().find(|call| call.id == *id);
            ledger.reconcile_call(now(), *id, *billed)?;
            Ok(unknown.map(|call| call.windows).unwrap_or_default())
        }
        Reconciliation::Window { window, billed } => {
            let correction = ledger.correction(window, *billed)?;
            ledger.reconcile_window(now(), &correction);
            Ok(vec![window.clone()])
        }
    }
}
