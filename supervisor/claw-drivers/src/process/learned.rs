//! What was learned of the calls of agents, as far as their shims have told.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use claw_core::{AgentName, InstanceId};
use tokio::sync::oneshot;

use super::driver::ProcessDriver;
use super::wire::Request;
use crate::sandbox::{LearnedCall, merged};

/// So many lives of an agent are remembered, the last ones.
const LIVES: usize = 64;

/// A shim that answers no sooner is of an older kind, or stopped.
const PATIENCE: Duration = Duration::from_secs(1);

/// What was learned, by instance, and who waits for more.
#[derive(Debug, Default)]
pub(super) struct Learned {
    lives: Mutex<BTreeMap<InstanceId, Vec<LearnedCall>>>,
    waiting: Mutex<Vec<(InstanceId, oneshot::Sender<()>)>>,
}

impl Learned {
    /// Remembers what a shim has told, in place of what it told before.
    pub(super) fn note(&self, instance: &InstanceId, calls: Vec<LearnedCall>) {
        let mut lives = lock(&self.lives);
        if !calls.is_empty() {
            lives.insert(instance.clone(), calls);
            // Lives of an agent are in the order of their numbers.
            let mut of_agent = lives.keys().filter(|it| it.agent == instance.agent);
            let oldest = of_agent
                .next()
                .filter(|_| of_agent.count() >= LIVES)
                .cloned();
            if let Some(oldest) = oldest {
                lives.remove(&oldest);
            }
        }
        drop(lives);
        let mut waiting = lock(&self.waiting);
        let told = waiting.extract_if(.., |(asked, _)| asked == instance);
        for (_, waiter) in told {
            // Who waits no longer has asked the next time.
            waiter.send(()).ok();
        }
    }

    fn wait_for(&self, instance: &InstanceId) -> oneshot::Receiver<()> {
        let (told, waiter) = oneshot::channel();
        let mut waiting = lock(&self.waiting);
        waiting.retain(|(_, told)| !told.is_closed());
        waiting.push((instance.clone(), told));
        waiter
    }

    /// All lives of an agent as one.
    fn of(&self, agent: &AgentName) -> Vec<LearnedCall> {
        let lives = lock(&self.lives);
        let of_agent = lives
            .iter()
            .filter(|(instance, _)| instance.agent == *agent);
        merged(of_agent.flat_map(|(_, calls)| calls).cloned())
    }
}

impl ProcessDriver {
    /// What an agent has called that the usual filter refuses, in this life and in those that this
    /// supervisor has seen, by name. Takes a second at most.
    pub async fn learned(&self, agent: &AgentName) -> Vec<LearnedCall> {
        let mut waiting = Vec::new();
        for instance in self.inner.live_of(agent) {
            waiting.push(self.inner.learned.wait_for(&instance));
            self.request(&instance, Request::Learned);
        }
        let told = async {
            for told in waiting {
                // Fails when the instance ends, which is told as well.
                told.await.ok();
            }
        };
        tokio::time::timeout(PATIENCE, told).await.ok();
        self.inner.learned.of(agent)
    }
}

/// Nothing that is done under these locks can panic half-way, so what they guard is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
