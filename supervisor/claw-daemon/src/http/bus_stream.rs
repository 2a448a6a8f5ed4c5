//! The events of the bus as a stream: `GET /api/events?topic=…`.

use std::collections::VecDeque;

use claw_store::bus::{Event, Seq, TopicFilter};
use claw_store::{Store, StoreError};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use serde_json::value::RawValue;
use tokio::sync::watch;

use super::events::Frame;
use super::params::{self, Params};
use super::problem::ApiError;
use super::stored_state::time;
use crate::agent_api::{inside, outside};
use crate::api::BusEvent;

/// Events that are read at a time.
const PAGE: u32 = 200;

/// Events before the newest that `tail` can ask for.
const TAIL: u64 = 1_000_000;

/// Which events are wanted.
pub(super) struct Wanted {
    topic: TopicFilter,
    source: Option<String>,
}

impl Wanted {
    /// What the query asks of the bus; nothing where it asks for what happens to agents.
    pub(super) fn read(params: &Params) -> Result<Option<Self>, ApiError> {
        let topic = params.read("topic", |text| {
            TopicFilter::try_new(&inside(text)).map_err(|error| error.to_string())
        })?;
        let Some(topic) = topic else {
            return match params.read("tail", params::count(TAIL))? {
                Some(_) => Err(ApiError::bad_parameter("tail", "`tail` goes with `topic`")),
                None => Ok(None),
            };
        };
        let source = params.read("agent", |text| Ok(text.to_owned()))?;
        Ok(Some(Self { topic, source }))
    }

    fn takes(&self, event: &Event) -> bool {
        let source = self.source.as_ref();
        self.topic.matches(&event.topic) && source.is_none_or(|source| *source == event.source)
    }
}

/// Where the stream stands.
struct Place {
    store: Store,
    head: watch::Receiver<Seq>,
    wanted: Wanted,
    next: Seq,
    /// The last event, where it does not go on with new ones.
    last: Option<Seq>,
    read: VecDeque<Frame>,
}

/// The events after one that was seen, or the last ones, or those to come.
pub(super) fn events(
    store: &Store,
    wanted: Wanted,
    after: Option<Seq>,
    params: &Params,
) -> Result<BoxStream<'static, Frame>, ApiError> {
    let head = store.head();
    let newest = *head.borrow();
    let tail = params.read("tail", params::count(TAIL))?.unwrap_or(0);
    let follows = params.read("follow", params::switch)?.unwrap_or(true);
    let place = Place {
        store: store.clone(),
        head,
        wanted,
        next: after.unwrap_or(newest.saturating_sub(tail)) + 1,
        last: (!follows).then_some(newest),
        read: VecDeque::new(),
    };
    Ok(stream::unfold(place, Place::step).boxed())
}

impl Place {
    async fn step(mut self) -> Option<(Frame, Self)> {
        loop {
            if let Some(event) = self.read.pop_front() {
                return Some((event, self));
            }
            if self.last.is_some_and(|last| self.next > last) {
                return None;
            }
            match self.fill().await {
                Ok(0) if self.last.is_some() => return None,
                Ok(0) => self.head.changed().await.ok()?,
                Ok(_some) => {}
                Err(error) => {
                    tracing::warn!(%error, "the events of the bus cannot be read");
                    return None;
                }
            }
        }
    }

    /// Reads on; says how many events there were, wanted or not.
    async fn fill(&mut self) -> Result<usize, StoreError> {
        self.head.mark_unchanged();
        let events = self.store.read_events(self.next, None, PAGE).await?;
        let last = self.last.unwrap_or(Seq::MAX);
        for event in &events {
            self.next = event.seq + 1;
            if event.seq <= last && self.wanted.takes(event) {
                self.read.push_back(framed(event));
            }
        }
        Ok(events.len())
    }
}

fn told(event: &Event) -> BusEvent {
    let first = event.attributes.correlation_id.as_ref();
    let data = serde_json::from_slice(&event.data);
    BusEvent {
        sequence: event.seq,
        id: event.id.clone(),
        name: outside(&event.topic).to_owned(),
        source: event.source.clone(),
        at: time(event.at),
        key: event.key.clone(),
        chain: first.unwrap_or(&event.id).clone(),
        hops: event.attributes.hop,
        data: data.unwrap_or_else(|_no_json| RawValue::NULL.to_owned()),
    }
}

fn framed(event: &Event) -> Frame {
    let data = serde_json::to_string(&told(event))
        .expect("an event has no map with keys that are not text and no failing Serialize");
    Frame {
        id: event.seq,
        kind: "published",
        data,
    }
}
