//! Answers that nobody waits for any more, read to their end for the sake of their cost.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::attempt::{Sending, abandon, is_stream};
use super::hold::{End, Hold};
use super::host::Ending;
use super::stream::Stream;
use super::whole::Reading;
use crate::llm::upstream::SendError;
use crate::llm::wire::{Api, Delivery, UsageChunk};

/// How many answers are read at a time that nobody waits for. Beyond it their cost is estimated.
const AT_A_TIME: usize = 64;

/// How long such an answer may take. Models with long thought need minutes.
const LONGEST: Duration = Duration::from_secs(10 * 60);

/// How much of an answer is read, in bytes.
pub(super) const MAX_BYTES: usize = 64 * 1024 * 1024;

/// The places of answers that nobody waits for.
pub(super) struct Drains(Arc<Semaphore>);

impl Default for Drains {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_A_TIME)))
    }
}

impl Drains {
    fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }
}

/// Waits for the answer to a request that was sent, and settles it.
pub(super) async fn late(sending: Sending, hold: Hold, (api, delivery): (Api, Delivery)) {
    let Some(place) = hold.shared().drains.place() else {
        drop(sending);
        return abandon(hold).await;
    };
    let until = Instant::now() + LONGEST;
    let response = match timeout_at(until, sending).await {
        Ok(Ok(response)) => response,
        Ok(Err(SendError::Connect(_))) => return hold.settle(End::failed(None)).write().await,
        Ok(Err(SendError::Broken(_))) | Err(_) => return abandon(hold).await,
    };
    let status = response.status().as_u16();
    if !response.status().is_success() {
        return hold.settle(End::failed(Some(status))).write().await;
    }
    drop(place);
    if delivery != Delivery::Whole && is_stream(response.headers()) {
        let alias = hold.record().model_asked.to_string();
        let head = (status, UsageChunk::Unwanted);
        let stream = Stream::new(response.into_body(), hold, (api, head, alias));
        return rest_of_stream(stream).await;
    }
    rest(Reading::new(response.into_body()), hold, (api, status)).await;
}

/// Reads the rest of a whole answer, and settles it.
pub(super) async fn rest(mut reading: Reading, hold: Hold, how: (Api, u16)) {
    let Some(_place) = hold.shared().drains.place() else {
        return reading.settle(hold, how, Ending::Abandoned).write().await;
    };
    let ending = match timeout_at(Instant::now() + LONGEST, reading.read_on()).await {
        Ok(Ok(())) => Ending::Drained,
        Ok(Err(_unread)) => Ending::CutByProvider,
        Err(_elapsed) => Ending::Abandoned,
    };
    reading.settle(hold, how, ending).write().await;
}

/// Reads the rest of a stream, and settles it.
pub(super) async fn rest_of_stream(mut stream: Stream) {
    let Some(_place) = stream.hold().shared().drains.place() else {
        return stream.settle(Ending::Abandoned).write().await;
    };
    let ending = match timeout_at(Instant::now() + LONGEST, stream.read_on()).await {
        Ok(()) => Ending::Drained,
        Err(_elapsed) => Ending::Abandoned,
    };
    stream.settle(ending).write().await;
}
