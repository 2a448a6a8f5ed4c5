use std::path::Path;
use std::sync::Arc;

use claw_store::bus::{GroupConfig, Held, Level, NewEvent, Publisher, Settle, TopicFilter};
use claw_store::{Store, StoreOptions};

use super::*;
use crate::agent_api::Parts;
use crate::config::{self, Environment};
use crate::supervise;

const LIFE: Generation = Generation(1);
const FLEET: &str = "project: t\nversion: '1.0'\nagents:\n  a: {command: [x], mode: worker}\n";

/// An agent in a session, whose group has an event of the topic `t`.
async fn context(dir: &Path) -> Context {
    let loaded = config::load_str(FLEET, Path::new("openclaw.yaml"), &Environment::with([]));
    let (name, spec) = loaded.unwrap().fleet.agents.pop_first().unwrap();
    let (handle, senders, _inbox) = supervise::inbox();
    let store = Store::open(&dir.join("store.db"), StoreOptions::default()).unwrap();
    let group = GroupConfig::new(TopicFilter::try_new("t").unwrap());
    store.upsert_group("a", group, Start::Now).await.unwrap();
    let event = NewEvent {
        id: "e".to_owned(),
        source: "test".to_owned(),
        topic: "t".to_owned(),
        data: b"null".to_vec(),
        ..NewEvent::default()
    };
    let published = store.publish(vec![event], Level::Os, Publisher::Outside);
    published.await.unwrap();
    let told = crate::llm::Told {
        metrics: crate::telemetry::llm::LlmMetrics::default(),
        facts: senders.facts.clone(),
    };
    let api = AgentApi::open(Parts {
        store,
        facts: senders.facts,
        handle,
        data_dir: dir.to_owned(),
        sandboxes: crate::sandboxes::start(dir, None),
        models: crate::llm::Models::new(dir, told, crate::llm::Answers::Real),
    });
    let endpoint = Endpoint::new(name, Arc::clone(&spec), Arc::default(), None);
    endpoint.begin(LIFE, spec);
    Context {
        api: api.unwrap(),
        endpoint: Arc::new(endpoint),
    }
}

/// Else what it settles while hello asks what is held would be held for ever.
#[tokio::test]
async fn hello_waits_for_a_report_that_is_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let context = context(dir.path()).await;
    let (endpoint, store) = (&context.endpoint, &context.api.shared.store);
    let member = endpoint.member();
    let held = store.pull(&member, 1).await.unwrap().deliveries;
    let lease = held[0].lease;
    endpoint.with(LIFE, |session| {
        session.leases.extend(held.iter().map(in_hand))
    });

    let report = endpoint.reporting.read().await;
    let running = vec![Running {
        work: lease.to_string(),
        attempt: 1,
    }];
    let saying = context.clone();
    let hello =
        tokio::spawn(
            async move { introduce(&saying, LIFE, Some(running), OwnCheck::Absent).await },
        );
    for _ in 0..100 {
        store.tick().await.unwrap();
    }
    assert!(!hello.is_finished(), "a report is under way");
    store.settle(&member, lease, Settle::Ack).await.unwrap();
    endpoint.settled(LIFE, Held::One(lease));
    drop(report);
    hello.await.unwrap().unwrap();
    let busy = endpoint.with(LIFE, |session| session.busy());
    assert_eq!(busy, Some(0), "what is settled is not in its hands");
}
