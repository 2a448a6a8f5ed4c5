//! What every driver offers.

use std::collections::BTreeMap;
use std::sync::Arc;

use claw_core::memory::Recovered;
use claw_core::{AgentSpec, Fact, InstanceId, Order, RunId};
use tokio::sync::mpsc;

/// Where a driver's facts go: the supervisor's inbox, which is bounded; a driver waits for room.
pub type FactSender = mpsc::Sender<Fact>;

/// An instance without an outcome in the journal of the supervisor before this one.
#[derive(Debug, Clone)]
pub struct OpenInstance {
    /// Which.
    pub instance: InstanceId,
    /// The run it was started for.
    pub run: Option<RunId>,
    /// The boot id it was started under.
    pub boot_id: String,
    /// Its agent as configured now; `None` when it left the fleet.
    pub spec: Option<Arc<AgentSpec>>,
}

/// What an instance uses now, by its own accounting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// User plus system time of the tree, in microseconds, since the instance began.
    pub cpu_us: u64,
    /// Memory in use, in bytes.
    pub memory: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Kills for memory in its own tree.
    pub oom_kills: u64,
}

/// Runs instances.
pub trait Driver: Send + Sync + 'static {
    /// Takes an order and returns at once; the answers are facts. Orders for one instance are
    /// carried out in the order given.
    fn order(&self, order: Order);

    /// Finds out what became of `open`, adopts what lives, and ends whatever of this fleet lives
    /// and is not among them. Called once, before the first order.
    fn recover(
        &self,
        open: Vec<OpenInstance>,
    ) -> impl Future<Output = Vec<(InstanceId, Option<RunId>, Recovered)>> + Send;

    /// What the live instances use; blocking reads of kernel files happen off the runtime.
    fn usage(&self) -> impl Future<Output = BTreeMap<InstanceId, Usage>> + Send;
}
