//! `GET /v1/work`: the agent asks, and gets runs and events; nothing is sent that was not asked
//! for.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, Query, State};
use axum::response::{IntoResponse, Response};
use claw_core::{Fact, Generation, RunId};
use claw_store::bus::{Delivery, Held, LeaseId, Settle};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::admission::{Caller, Context, SESSION, json as answer, session_lost};
use super::api::AgentApi;
use super::assignment::{Offer, Opened};
use super::endpoint::Endpoint;
use super::fault::Fault;
use super::item::Item;
use super::serve::{Handed, Peer};
use super::session::{Given, Handshake};
use super::{hello, limits};

#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    wait: Option<u64>,
    #[serde(default)]
    max: Option<usize>,
}

pub(super) async fn poll(
    State(context): State<Context>,
    Caller(generation): Caller,
    Query(asked): Query<Asked>,
    Extension(peer): Extension<Peer>,
    head: HeaderMap,
) -> Result<Response, Fault> {
    let wait = Duration::from_secs(asked.wait.unwrap_or(0)).min(limits::WAIT);
    let max = asked.max.unwrap_or(1);
    if max == 0 || max > limits::WORK {
        let message = format!("`max` is from 1 to {}", limits::WORK);
        return Err(Fault::bad("bad_max", message));
    }
    // A script that says no hello says by its first poll that it is ready.
    let unheard = context.endpoint.with(generation, |session| {
        session.handshake == Handshake::Pending
    });
    if unheard == Some(true) {
        hello::become_ready(&context, generation).await;
    }
    let session = head.get(SESSION).and_then(|session| session.to_str().ok());
    let number = match context.endpoint.open_poll(generation, session) {
        Opened::Poll(number) => number,
        Opened::SessionLost => return Err(session_lost()),
        Opened::Over => return Ok(StatusCode::NO_CONTENT.into_response()),
    };
    let poll = Poll {
        generation,
        number,
        until: Instant::now() + wait,
        max,
        peer,
    };
    let items = poll.wait(&context).await?;
    if items.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(answer(&items))
}

/// One open poll.
struct Poll {
    generation: Generation,
    number: u64,
    until: Instant,
    max: usize,
    peer: Peer,
}

impl Poll {
    async fn wait(&self, context: &Context) -> Result<Vec<Item>, Fault> {
        let endpoint = &context.endpoint;
        let mut changed = endpoint.watch();
        let mut woken = context
            .api
            .shared
            .store
            .wakeup(endpoint.identity().as_str());
        loop {
            changed.mark_unchanged();
            woken.mark_unchanged();
            match endpoint.offer(self.generation, self.number, self.max) {
                Offer::Over => return Ok(Vec::new()),
                Offer::Wait => {}
                Offer::Runs(runs) => return Ok(self.hand_out(context, &runs).await),
                Offer::Events(free) => {
                    let events = self.pull(context, free).await?;
                    if !events.is_empty() {
                        let leases = events.iter().map(|event| event.lease).collect();
                        self.hand(endpoint, Vec::new(), leases);
                        return Ok(events.iter().map(Item::of_event).collect());
                    }
                }
            }
            tokio::select! {
                biased;
                () = context.api.shared.closing.cancelled() => return Ok(Vec::new()),
                _ = changed.changed() => {}
                _ = woken.changed() => {}
                () = tokio::time::sleep_until(self.until) => return Ok(Vec::new()),
            }
        }
    }

    async fn hand_out(&self, context: &Context, runs: &[Given]) -> Vec<Item> {
        let instance = context.endpoint.instance(self.generation);
        for given in runs {
            let (instance, run) = (instance.clone(), given.context.run);
            context.api.tell(Fact::RunTaken { instance, run }).await;
        }
        let ids = runs.iter().map(|given| given.context.run).collect();
        self.hand(&context.endpoint, ids, Vec::new());
        runs.iter().map(Item::of_run).collect()
    }

    /// A caller with a session says in its next hello what has not arrived.
    fn hand(&self, endpoint: &Endpoint, runs: Vec<RunId>, leases: Vec<LeaseId>) {
        let generation = self.generation;
        let nameless = endpoint.with(generation, |session| session.id.is_none());
        if nameless == Some(true) {
            self.peer.hand(Handed {
                generation,
                runs,
                leases,
            });
        }
    }

    /// Leases events. A poll whose client hangs up in this moment gives them back.
    async fn pull(&self, context: &Context, free: usize) -> Result<Vec<Delivery>, Fault> {
        let (sender, receiver) = oneshot::channel();
        let pulling = pull(
            context.api.clone(),
            Arc::clone(&context.endpoint),
            (self.generation, self.number, free),
            sender,
        );
        context.api.shared.tasks.spawn(pulling);
        receiver.await.unwrap_or_else(|_gone| Ok(Vec::new()))
    }
}

type Pulled = Result<Vec<Delivery>, Fault>;

async fn pull(
    api: AgentApi,
    endpoint: Arc<Endpoint>,
    (generation, poll, free): (Generation, u64, usize),
    to: oneshot::Sender<Pulled>,
) {
    let store = &api.shared.store;
    let pulled = match store.pull(&endpoint.member(), free).await {
        Ok(pulled) => pulled,
        Err(error) => {
            // Whoever asked may be gone.
            drop(to.send(Err(error.into())));
            return;
        }
    };
    if let Some(gap) = pulled.gap {
        tracing::warn!(agent = %endpoint.agent, lost = gap.lost, "events were removed before the agent got them");
    }
    let leases: Vec<_> = pulled
        .deliveries
        .iter()
        .map(|delivery| delivery.lease)
        .collect();
    if leases.is_empty() {
        // Whoever asked may be gone.
        drop(to.send(Ok(pulled.deliveries)));
        return;
    }
    let taken = endpoint.take_events((generation, poll), &pulled.deliveries);
    if taken && to.send(Ok(pulled.deliveries)).is_ok() {
        api.show_work(&endpoint, generation).await;
        return;
    }
    give_back(&api, &endpoint, generation, leases).await;
}

/// The answer with this work was not read: it is offered again.
pub(super) async fn take_back(api: &AgentApi, endpoint: &Endpoint, handed: Handed) {
    tracing::debug!(agent = %endpoint.agent, "an answer with work was not read");
    for run in handed.runs {
        endpoint.offer_again(handed.generation, run);
    }
    give_back(api, endpoint, handed.generation, handed.leases).await;
}

async fn give_back(
    api: &AgentApi,
    endpoint: &Endpoint,
    generation: Generation,
    leases: Vec<LeaseId>,
) {
    let store = &api.shared.store;
    for lease in leases {
        endpoint.settled(generation, Held::One(lease));
        if let Err(error) = store
            .settle(&endpoint.member(), lease, Settle::Return)
            .await
        {
            tracing::debug!(agent = %endpoint.agent, %error, "a lease ends by itself");
        }
    }
}
