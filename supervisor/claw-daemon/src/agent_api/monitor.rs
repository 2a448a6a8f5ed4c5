//! What happens to every worker from time to time: it is asked whether it lives and is well, its
//! leases are renewed, its state is marked.

use std::sync::Arc;
use std::time::Duration;

use claw_core::Generation;
use claw_core::spec::{Check, Mode};
use claw_store::bus::Readiness;
use claw_store::state::Mark;
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::api::{AgentApi, SelfReport};
use super::endpoint::Endpoint;
use super::limits;
use super::message::Message;
use super::session::{Flow, Handshake};

/// How often it is looked at what is due. A probe is at most this much late.
const TICK: Duration = Duration::from_millis(250);

/// Begins to look after an endpoint.
pub(super) fn start(api: &AgentApi, endpoint: Arc<Endpoint>) {
    if endpoint.lock().spec.mode != Mode::Worker {
        return;
    }
    let monitor = Monitor {
        api: api.clone(),
        liveness: Instant::now(),
        readiness: Instant::now(),
        endpoint,
    };
    api.shared.tasks.spawn(monitor.run());
}

struct Monitor {
    api: AgentApi,
    endpoint: Arc<Endpoint>,
    /// When the agent is asked next whether it lives.
    liveness: Instant,
    /// When its own check of its readiness is asked for next.
    readiness: Instant,
}

impl Monitor {
    async fn run(mut self) {
        let closing = self.api.shared.closing.clone();
        let mut ticks = interval(TICK);
        let mut renewals = interval(limits::RENEWAL);
        let mut checkpoints = interval(limits::CHECKPOINT);
        for timer in [&mut ticks, &mut renewals, &mut checkpoints] {
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            tokio::select! {
                biased;
                () = closing.cancelled() => return,
                _ = renewals.tick() => self.renew().await,
                _ = checkpoints.tick() => self.checkpoint().await,
                _ = ticks.tick() => self.ask(),
            }
        }
    }

    async fn renew(&self) {
        if self.endpoint.lock().sessions.is_empty() {
            return;
        }
        if let Err(error) = self.api.shared.store.renew(&self.endpoint.member()).await {
            tracing::warn!(agent = %self.endpoint.agent, %error, "leases were not renewed");
        }
    }

    async fn checkpoint(&self) {
        let namespace = self.endpoint.namespace();
        let marked = self
            .api
            .shared
            .store
            .checkpoint(&namespace, Mark::Checkpoint, None)
            .await;
        if let Err(error) = marked {
            tracing::debug!(%namespace, %error, "no checkpoint was made");
        }
    }

    /// Asks what is due. Answers are waited for elsewhere: one that does not come must not hold up
    /// the next question.
    fn ask(&mut self) {
        let now = Instant::now();
        let Some((generation, handshake)) = self.newest() else {
            return;
        };
        let (liveness, readiness) = {
            let inside = self.endpoint.lock();
            let liveness = inside.spec.probes.liveness.clone();
            let asked = liveness.filter(|probe| probe.check == Check::Heartbeat);
            (asked, inside.worker.readiness.clone())
        };
        if let Some(probe) = liveness
            && self.liveness <= now
        {
            self.liveness = now + probe.interval;
            let (api, endpoint) = (self.api.clone(), Arc::clone(&self.endpoint));
            (self.api.shared.tasks).spawn(alive(api, endpoint, generation, probe.timeout));
        }
        if let Some(inquiry) = readiness
            && handshake == Handshake::Ready
            && self.readiness <= now
        {
            self.readiness = now + inquiry.interval;
            let (api, endpoint) = (self.api.clone(), Arc::clone(&self.endpoint));
            let asked = (generation, inquiry.timeout, inquiry.threshold);
            (self.api.shared.tasks).spawn(well(api, endpoint, asked));
        }
    }

    /// The life that is asked; an older one is on its way out.
    fn newest(&self) -> Option<(Generation, Handshake)> {
        let inside = self.endpoint.lock();
        let (generation, session) = inside.sessions.last_key_value()?;
        Some((*generation, session.handshake))
    }
}

/// Asks whether the agent lives, and tells the core if it does. A program without a session cannot
/// be asked: it lives as long as its process does.
async fn alive(api: AgentApi, endpoint: Arc<Endpoint>, generation: Generation, timeout: Duration) {
    let session = endpoint.with(generation, |session| session.id.is_some());
    let sessions = match session {
        Some(true) => inquire(&endpoint, generation, "liveness", timeout).await,
        Some(false) => Some(true),
        None => None,
    };
    if sessions == Some(true) {
        let instance = endpoint.instance(generation);
        api.notify(instance, SelfReport::Alive).await;
    }
}

/// Asks whether the agent is well, and holds back work while it is not.
async fn well(
    api: AgentApi,
    endpoint: Arc<Endpoint>,
    (generation, timeout, threshold): (Generation, Duration, u32),
) {
    let answer = inquire(&endpoint, generation, "readiness", timeout).await;
    let changed = endpoint.with(generation, |session| {
        session.misses = if answer == Some(true) {
            0
        } else {
            session.misses + 1
        };
        match session.flow {
            Flow::Open if session.misses >= threshold => {
                session.flow = Flow::Unwell;
                Some(Readiness::Unready)
            }
            Flow::Unwell if session.misses == 0 => {
                session.flow = Flow::Open;
                Some(Readiness::Ready)
            }
            Flow::Open | Flow::Unwell | Flow::Draining(_) => None,
        }
    });
    let Some(readiness) = changed.flatten() else {
        return;
    };
    endpoint.wake();
    let agent = &endpoint.agent;
    match readiness {
        Readiness::Ready => tracing::info!(%agent, "the agent is well again"),
        Readiness::Unready => {
            tracing::warn!(%agent, "the agent says that it is not ready; it gets no work")
        }
    }
    if let Err(error) = api
        .shared
        .store
        .set_ready(&endpoint.member(), readiness)
        .await
    {
        tracing::warn!(%agent, %error, "the bus does not know whether the agent is ready");
    }
}

/// Sends a probe and waits for its answer.
async fn inquire(
    endpoint: &Endpoint,
    generation: Generation,
    probe: &'static str,
    timeout: Duration,
) -> Option<bool> {
    let (sender, receiver) = oneshot::channel();
    let until = Instant::now() + timeout;
    let id = endpoint.with(generation, |session| {
        let id = session.tell(Message::Probe { probe, until });
        session.probes.insert(id.clone(), sender);
        id
    })?;
    let answer = tokio::time::timeout_at(until, receiver).await;
    let Ok(Ok(answer)) = answer else {
        endpoint.with(generation, |session| {
            session.probes.remove(&id);
            session.messages.answered(&id);
        });
        tracing::debug!(agent = %endpoint.agent, probe, "a probe was not answered in time");
        return None;
    };
    if !answer.ok {
        let detail = answer.detail.unwrap_or_default();
        tracing::warn!(agent = %endpoint.agent, probe, "probe failed: {detail}");
    }
    Some(answer.ok)
}
