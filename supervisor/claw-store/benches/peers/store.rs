//! Our own store, in this process.

use std::time::Duration;

use claw_store::bus::{
    GroupConfig, Level, Member, NewEvent, Publisher, Settle, Start, TopicFilter,
};
use claw_store::{Store, StoreOptions};

use crate::{Consumer, PAYLOAD, Producer, Round, directory, run};

pub(crate) async fn round(producers: u64) -> Round {
    let directory = directory();
    let path = directory.path().join("store.db");
    let store = Store::open(&path, StoreOptions::default()).unwrap();
    let config = GroupConfig {
        concurrency: 4_096,
        ..GroupConfig::new(TopicFilter::try_new("data.*").unwrap())
    };
    store.upsert_group("g", config, Start::Now).await.unwrap();
    let clients = (0..producers).map(|_| Client(store.clone())).collect();
    let round = run(clients, Replica(store.clone())).await;
    store.close().unwrap();
    round
}

struct Client(Store);

impl Producer for Client {
    async fn publish(&mut self, number: u64) {
        let event = NewEvent {
            id: format!("event-{number}"),
            source: "bench".into(),
            topic: "data.collected".into(),
            data: PAYLOAD.to_vec(),
            ..NewEvent::default()
        };
        let published = self.0.publish(vec![event], Level::Disk, Publisher::Outside);
        published.await.unwrap();
    }
}

struct Replica(Store);

impl Consumer for Replica {
    async fn take(&mut self) -> u64 {
        let who = Member::new("g", 0);
        let wait = Duration::from_millis(50);
        let pulled = self.0.next(&who, 1_024, wait).await.unwrap();
        let leases = pulled.deliveries.iter().map(|one| one.lease);
        let acks = leases.map(|lease| (lease, Settle::Ack)).collect();
        for settled in self.0.settle_all(&who, acks).await.unwrap() {
            settled.unwrap();
        }
        pulled.deliveries.len() as u64
    }
}
