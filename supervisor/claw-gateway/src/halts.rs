//! Agents that are halted by somebody: nothing leaves them, whatever their rules and settings say.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;

use tokio::sync::watch;

/// How an agent is halted, in words for it and its users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Halt {
    /// How, since when and by whom: `egress since 2026-01-01T00:00:00Z by uid 1000`.
    pub told: Arc<str>,
    /// The command that lifts it.
    pub lift: Arc<str>,
}

/// Who is halted. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Halts(Arc<watch::Sender<BTreeMap<Arc<str>, Halt>>>);

impl Halts {
    /// Halts an agent, or lets it go.
    pub fn turn(&self, agent: &str, halt: Option<Halt>) {
        self.0.send_modify(|halts| {
            match halt {
                Some(halt) => halts.insert(agent.into(), halt),
                None => halts.remove(agent),
            };
        });
    }

    /// How an agent is halted, if it is.
    #[must_use]
    pub fn of(&self, agent: &str) -> Option<Halt> {
        self.0.borrow().get(agent).cloned()
    }

    /// Changes with every turn.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<BTreeMap<Arc<str>, Halt>> {
        self.0.subscribe()
    }

    /// Waits until an agent is halted.
    pub fn halted(&self, agent: &str) -> impl Future<Output = Halt> + Send + use<> {
        let (mut seen, agent) = (self.0.subscribe(), Arc::<str>::from(agent));
        async move {
            let halts = seen.wait_for(|halts| halts.contains_key(&agent)).await;
            let halt = halts.ok().and_then(|halts| halts.get(&agent).cloned());
            match halt {
                Some(halt) => halt,
                // Nobody can halt it any more.
                None => pending().await,
            }
        }
    }
}
