//! So many commands at a time, and as many that wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The longest wait for a turn; who waited so long is told to come again.
pub(super) const WAIT: Duration = Duration::from_secs(10);

/// The places of a sandbox.
#[derive(Debug)]
pub(super) struct Queue {
    places: Arc<Semaphore>,
    most: usize,
    waiting: AtomicUsize,
}

/// A place in use; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _place: OwnedSemaphorePermit,
}

/// There is no place, and no room to wait for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full {
    pub(super) running: usize,
    pub(super) waiting: usize,
}

/// One that waits; counted as long as it is there.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Queue {
    pub(super) fn new(most: u32) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let most = most.min(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(most)),
            most,
            waiting: AtomicUsize::new(0),
        }
    }

    /// A turn, now or within [`WAIT`].
    pub(super) async fn turn(&self) -> Result<Turn, Full> {
        let places = Arc::clone(&self.places);
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            return Ok(Turn { _place: place });
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        if before >= self.most {
            return Err(self.full(before));
        }
        match tokio::time::timeout(WAIT, places.acquire_owned()).await {
            Ok(Ok(place)) => Ok(Turn { _place: place }),
            Ok(Err(_)) | Err(_) => Err(self.full(before)),
        }
    }

    fn full(&self, waiting: usize) -> Full {
        Full {
            running: self.running(),
            waiting,
        }
    }

    pub(super) fn running(&self) -> usize {
        self.most - self.places.available_permits().min(self.most)
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn as_many_wait_as_run_and_one_more_is_refused() {
        let queue = Arc::new(Queue::new(1));
        let first = queue.turn().await.expect("there is a place");
        let second = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { queue.turn().await.map(drop) }
        });
        while queue.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        let refused = queue.turn().await.map(drop);
        let full = Full {
            running: 1,
            waiting: 1,
        };
        assert_eq!(refused, Err(full));
        drop(first);
        assert_eq!(second.await.expect("no panic"), Ok(()));
        assert_eq!((queue.running(), queue.waiting()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let queue = Queue::new(1);
        let _first = queue.turn().await.expect("there is a place");
        assert!(queue.turn().await.is_err());
        assert_eq!(queue.waiting(), 0);
    }
}
