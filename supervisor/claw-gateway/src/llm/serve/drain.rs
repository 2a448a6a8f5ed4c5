//! Answers that nobody waits for any more, read to their end for the sake of their cost.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::attempt::{Sending, abandon, is_stream};
use super::gateway::lock;
use super::hold::{End, Hold};
use super::host::Ending;
use super::stream::{Step, Stream};
use super::whole::{Reading, Unread};
use crate::llm::upstream::SendError;
use crate::llm::wire::{Api, Delivery, UsageChunk};

/// How many answers are read at a time that nobody waits for. Beyond it their cost is estimated.
const AT_A_TIME: usize = 64;

/// How many of them one agent may have.
const OF_AN_AGENT: usize = 16;

/// How many bytes of such answers and their requests are kept in memory, in all.
const MAX_KEPT: usize = 256 * 1024 * 1024;

/// How long such an answer may take. Models with long thought need minutes.
const LONGEST: Duration = Duration::from_secs(10 * 60);

/// How much of an answer is read, in bytes.
pub(super) const MAX_BYTES: usize = 64 * 1024 * 1024;

/// The places of answers that nobody waits for.
#[derive(Clone, Default)]
pub(super) struct Drains(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    /// Places by agent; none is zero.
    places: BTreeMap<Arc<str>, usize>,
    bytes: usize,
}

/// A place of an answer, until it is dropped.
pub(super) struct Place {
    drains: Drains,
    agent: Arc<str>,
    bytes: usize,
}

/// There is no room for so many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoRoom;

impl Drains {
    fn place(&self, agent: &Arc<str>) -> Option<Place> {
        let mut taken = lock(&self.0);
        let own = taken.places.get(agent).copied().unwrap_or_default();
        let all: usize = taken.places.values().sum();
        if own >= OF_AN_AGENT || all >= AT_A_TIME {
            return None;
        }
        taken.places.insert(Arc::clone(agent), own + 1);
        Some(Place {
            drains: self.clone(),
            agent: Arc::clone(agent),
            bytes: 0,
        })
    }
}

impl Place {
    /// Keeps so many bytes in memory, in the place of those before.
    pub(super) fn keep(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let mut taken = lock(&self.drains.0);
        let others = taken.bytes.saturating_sub(self.bytes);
        if bytes > self.bytes && others.saturating_add(bytes) > MAX_KEPT {
            return Err(NoRoom);
        }
        taken.bytes = others.saturating_add(bytes);
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.drains.0);
        taken.bytes = taken.bytes.saturating_sub(self.bytes);
        if let Some(own) = taken.places.get_mut(&self.agent) {
            *own -= 1;
            if *own == 0 {
                taken.places.remove(&self.agent);
            }
        }
    }
}

fn place(hold: &Hold) -> Option<Place> {
    let drains = &hold.shared().drains;
    drains.place(&hold.record().agent)
}

/// Waits for the answer to a request of so many bytes that was sent, and settles it.
pub(super) async fn late(
    (sending, bytes): (Sending, usize),
    hold: Hold,
    (api, delivery): (Api, Delivery),
) {
    let place = place(&hold).and_then(|mut place| place.keep(bytes).ok().map(|()| place));
    let Some(mut place) = place else {
        drop(sending);
        return abandon(hold);
    };
    let until = Instant::now() + LONGEST;
    let response = match timeout_at(until, sending).await {
        Ok(Ok(response)) => response,
        Ok(Err(SendError::Connect(_))) => return hold.settle(End::failed(None)).write().await,
        Ok(Err(SendError::Broken(_))) | Err(_) => return abandon(hold),
    };
    // Less than before always has room.
    let _kept = place.keep(0);
    let status = response.status().as_u16();
    if !response.status().is_success() {
        return hold.settle(End::failed(Some(status))).write().await;
    }
    if delivery != Delivery::Whole && is_stream(response.headers()) {
        let alias = hold.record().model_asked.to_string();
        let head = (status, UsageChunk::Unwanted);
        let stream = Stream::new(response.into_body(), hold, (api, head, alias));
        return stream_in(place, stream).await;
    }
    whole_in(
        place,
        Reading::new(response.into_body()),
        hold,
        (api, status),
    )
    .await;
}

/// Reads the rest of a whole answer, and settles it.
pub(super) async fn rest(reading: Reading, hold: Hold, how: (Api, u16)) {
    match place(&hold) {
        Some(place) => whole_in(place, reading, hold, how).await,
        None => reading.settle(hold, how, Ending::Abandoned).write().await,
    }
}

async fn whole_in(mut place: Place, mut reading: Reading, hold: Hold, how: (Api, u16)) {
    let read = reading.read_on(|bytes| place.keep(bytes));
    let ending = match timeout_at(Instant::now() + LONGEST, read).await {
        Ok(Ok(())) => Ending::Drained,
        Ok(Err(Unread::Broken | Unread::TooLong)) => Ending::CutByProvider,
        Ok(Err(Unread::NoRoom)) | Err(_) => Ending::Abandoned,
    };
    reading.settle(hold, how, ending).write().await;
}

/// Reads the rest of a stream, and settles it.
pub(super) async fn rest_of_stream(stream: Stream) {
    match place(stream.hold()) {
        Some(place) => stream_in(place, stream).await,
        None => stream.settle(Ending::Abandoned).write().await,
    }
}

async fn stream_in(mut place: Place, mut stream: Stream) {
    stream.hide();
    let read = read_on(&mut place, &mut stream);
    let ending = match timeout_at(Instant::now() + LONGEST, read).await {
        Ok(Ok(())) => Ending::Drained,
        Ok(Err(NoRoom)) | Err(_) => Ending::Abandoned,
    };
    stream.settle(ending).write().await;
}

async fn read_on(place: &mut Place, stream: &mut Stream) -> Result<(), NoRoom> {
    loop {
        match stream.next().await {
            Step::More(_) | Step::Stopped(..) => place.keep(stream.buffered())?,
            Step::End(_) | Step::Broken => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_has_a_share_of_the_places_and_all_together_have_no_more() {
        let drains = Drains::default();
        let agents: Vec<Arc<str>> = (0..5).map(|agent| agent.to_string().into()).collect();
        let mut places = Vec::new();
        for agent in &agents[..4] {
            places.extend((0..100).filter_map(|_| drains.place(agent)));
        }
        assert_eq!(places.len(), AT_A_TIME);
        assert!(drains.place(&agents[4]).is_none());
        places.truncate(OF_AN_AGENT - 1);
        assert!(drains.place(&agents[4]).is_some());
        assert!(drains.place(&agents[0]).is_some(), "one of its own is free");
        places.clear();
        assert!(lock(&drains.0).places.is_empty());
    }

    #[test]
    fn all_answers_together_keep_no_more_bytes_than_there_is_room_for() {
        let drains = Drains::default();
        let agent = "coder".into();
        let mut places: Vec<Place> = (0..2).filter_map(|_| drains.place(&agent)).collect();
        assert_eq!(places[0].keep(MAX_KEPT - 10), Ok(()));
        assert_eq!(places[1].keep(11), Err(NoRoom));
        assert_eq!(places[1].keep(10), Ok(()));
        assert_eq!(places[0].keep(MAX_KEPT - 9), Err(NoRoom));
        assert_eq!(places[0].keep(5), Ok(()));
        assert_eq!(places[1].keep(MAX_KEPT - 5), Ok(()));
        places.remove(1);
        assert_eq!(lock(&drains.0).bytes, 5);
    }
}
