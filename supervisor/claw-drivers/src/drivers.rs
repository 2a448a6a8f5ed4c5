//! Both drivers as one.

use std::collections::BTreeMap;
use std::sync::Arc;

use claw_core::memory::Recovered;
use claw_core::spec::Resources;
use claw_core::{AgentSpec, Hook, InstanceId, Order, RunId, SpawnError};

use crate::container::ContainerDriver;
use crate::driver::{Driver, OpenInstance, Usage};
use crate::process::ProcessDriver;
use crate::session::{Session, SessionOptions};

/// Gives each instance to the driver that it belongs to.
///
/// A start goes by its spec: an agent with an image is a container, any other a process. What
/// comes later goes to whoever has the instance, whatever the fleet file says by then.
///
/// Hooks run on the host, those of containers too: they prepare what a container is given, and
/// are the supervisor's own user's. `user` is the image's and means nothing to them, and the
/// limits of the container are not theirs.
#[derive(Debug)]
pub struct Drivers {
    process: Arc<ProcessDriver>,
    containers: Arc<ContainerDriver>,
}

impl Drivers {
    /// Of two drivers with the same data directory and the same receiver of facts.
    #[must_use]
    pub const fn new(process: Arc<ProcessDriver>, containers: Arc<ContainerDriver>) -> Self {
        Self {
            process,
            containers,
        }
    }

    /// The one for processes.
    #[must_use]
    pub const fn process(&self) -> &Arc<ProcessDriver> {
        &self.process
    }

    /// The one for containers.
    #[must_use]
    pub const fn containers(&self) -> &Arc<ContainerDriver> {
        &self.containers
    }

    /// Runs a command beside a live instance, for somebody who looks on.
    ///
    /// # Errors
    ///
    /// It could not be started; see the driver that has the instance.
    pub async fn open_session(
        &self,
        instance: &InstanceId,
        spec: &AgentSpec,
        command: &[String],
        options: SessionOptions,
    ) -> Result<Session, SpawnError> {
        if self.containers.owns(instance) {
            self.containers
                .open_session(instance, command, options)
                .await
        } else {
            self.process
                .open_session(instance, spec, command, options)
                .await
        }
    }

    fn run_hook(&self, instance: InstanceId, hook: Hook, spec: Arc<AgentSpec>) {
        let spec = if spec.launch.container.is_some() {
            if let Some(report) = self.containers.ended(&instance) {
                self.process.remember_end(&instance, &report);
            }
            Arc::new(of_the_host(&spec))
        } else {
            spec
        };
        self.process.order(Order::RunHook {
            instance,
            hook,
            spec,
        });
    }

    fn release(&self, instance: InstanceId) {
        if self.containers.owns(&instance) {
            self.process.forget_end(&instance);
            self.containers.order(Order::Release { instance });
        } else {
            self.process.order(Order::Release { instance });
        }
    }

    /// To whoever has the instance; one that nobody has any more is a process of old.
    fn pass(&self, order: Order) {
        if self.containers.owns(order.instance()) {
            self.containers.order(order);
        } else {
            self.process.order(order);
        }
    }
}

/// What of a container's spec holds for a program beside it.
fn of_the_host(spec: &AgentSpec) -> AgentSpec {
    let mut spec = spec.clone();
    spec.launch.container = None;
    spec.launch.user = None;
    spec.resources = Resources::default();
    spec
}

impl Driver for Drivers {
    fn order(&self, order: Order) {
        match order {
            Order::Spawn { ref spec, .. } => {
                if spec.launch.container.is_some() {
                    self.containers.order(order);
                } else {
                    self.process.order(order);
                }
            }
            Order::RunHook {
                instance,
                hook,
                spec,
            } => self.run_hook(instance, hook, spec),
            Order::Release { instance } => self.release(instance),
            Order::Signal { .. }
            | Order::Kill { .. }
            | Order::Freeze { .. }
            | Order::Thaw { .. }
            | Order::Probe { .. }
            | Order::Deliver { .. }
            | Order::CancelRun { .. }
            | Order::Drain { .. } => self.pass(order),
        }
    }

    async fn recover(
        &self,
        open: Vec<OpenInstance>,
    ) -> Vec<(InstanceId, Option<RunId>, Recovered)> {
        let containers = Arc::clone(&self.containers);
        let sorted = tokio::task::spawn_blocking(move || {
            let is_container = |each: &OpenInstance| containers.has_record(&each.instance);
            open.into_iter().partition::<Vec<_>, _>(is_container)
        });
        // Fails only when the runtime ends.
        let (containers, processes) = sorted.await.unwrap_or_default();
        let (mut found, of_containers) = tokio::join!(
            self.process.recover(processes),
            self.containers.recover(containers)
        );
        found.extend(of_containers);
        found
    }

    async fn usage(&self) -> BTreeMap<InstanceId, Usage> {
        let (mut all, of_containers) = tokio::join!(self.process.usage(), self.containers.usage());
        all.extend(of_containers);
        all
    }
}
