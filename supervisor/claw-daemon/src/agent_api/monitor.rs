//! What happens to every worker from time to time: it is asked whether it lives and is well, its
//! leases are renewed, its state is marked.
//!
//! Every endpoint has one monitor, from its first socket until it is gone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use claw_core::spec::{Check, Mode};
use claw_core::{Fact, Generation, ProbeOutcome, SelfCheck};
use claw_store::bus::{LeaseId, Readiness};
use claw_store::state::Mark;
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};

use super::api::{AgentApi, SelfReport};
use super::endpoint::Endpoint;
use super::limits;
use super::message::Message;
use super::session::{Flow, Handshake};

/// How often it is looked at what is due. A probe is at most this much late.
const TICK: Duration = Duration::from_millis(250);

/// Begins to look after an endpoint.
pub(super) fn start(api: &AgentApi, endpoint: Arc<Endpoint>) {
    let monitor = Monitor {
        api: api.clone(),
        liveness: Instant::now(),
        readiness: Instant::now(),
        asked: None,
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
    /// The life that was asked for it last; another one is asked at once.
    asked: Option<Generation>,
}

impl Monitor {
    async fn run(mut self) {
        let closing = self.api.shared.closing.clone();
        let mut changed = self.endpoint.watch();
        loop {
            changed.mark_unchanged();
            if self.endpoint.is_gone() {
                return;
            }
            if self.worker().is_some() {
                self.look_after().await;
            }
            tokio::select! {
                biased;
                () = closing.cancelled() => return,
                gone = changed.changed() => if gone.is_err() { return },
            }
        }
    }

    /// As long as the agent lives as a worker. It is none before and after a reload that makes
    /// something else of it.
    async fn look_after(&mut self) {
        let closing = self.api.shared.closing.clone();
        let now = Instant::now();
        let mut ticks = interval(TICK);
        let mut renewals = interval_at(now + limits::RENEWAL, limits::RENEWAL);
        let mut checkpoints = interval_at(now + limits::CHECKPOINT, limits::CHECKPOINT);
        for timer in [&mut ticks, &mut renewals, &mut checkpoints] {
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            tokio::select! {
                biased;
                () = closing.cancelled() => return,
                _ = renewals.tick() => self.renew().await,
                _ = checkpoints.tick() => self.checkpoint().await,
                _ = ticks.tick() => {
                    let Some((generation, handshake)) = self.worker() else {
                        return;
                    };
                    self.ask(generation, handshake);
                    self.excuse(generation).await;
                }
            }
        }
    }

    async fn renew(&self) {
        let leases: BTreeSet<LeaseId> = {
            let inside = self.endpoint.lock();
            let sessions = inside.sessions.values();
            sessions
                .flat_map(|session| session.leases.keys())
                .copied()
                .collect()
        };
        if leases.is_empty() {
            return;
        }
        let (store, member) = (&self.api.shared.store, self.endpoint.member());
        if let Err(error) = store.renew_leases(&member, leases).await {
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
    fn ask(&mut self, generation: Generation, handshake: Handshake) {
        let now = Instant::now();
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
        if readiness.is_none() {
            let unwell = self
                .endpoint
                .with(generation, |session| session.flow == Flow::Unwell);
            if unwell == Some(true) {
                let (api, endpoint) = (self.api.clone(), Arc::clone(&self.endpoint));
                let unasked = async move { judge(&api, &endpoint, generation, (Ok(()), 1)).await };
                self.api.shared.tasks.spawn(unasked);
            }
        }
        if let Some(inquiry) = readiness
            && handshake == Handshake::Ready
            && (self.readiness <= now || self.asked != Some(generation))
        {
            self.asked = Some(generation);
            self.readiness = now + inquiry.interval;
            let (api, endpoint) = (self.api.clone(), Arc::clone(&self.endpoint));
            let asked = (generation, inquiry.timeout, inquiry.threshold);
            (self.api.shared.tasks).spawn(well(api, endpoint, asked));
        }
    }

    /// Who has nothing to do is not silent.
    async fn excuse(&self, generation: Generation) {
        let idle = self.endpoint.with(generation, |session| session.is_idle());
        if idle == Some(true) {
            self.api.show_work(&self.endpoint, generation).await;
        }
    }

    /// The life that is asked, if it is one of a worker; an older one is on its way out.
    fn worker(&self) -> Option<(Generation, Handshake)> {
        let inside = self.endpoint.lock();
        let (generation, session) = inside.sessions.last_key_value()?;
        let is_worker = session.spec.mode == Mode::Worker;
        is_worker.then_some((*generation, session.handshake))
    }
}

/// Asks whether the agent lives, and tells the core if it does. A program that says no hello cannot
/// be asked: it lives as long as its process does. One that is expected to say it and does not is
/// silent.
async fn alive(api: AgentApi, endpoint: Arc<Endpoint>, generation: Generation, timeout: Duration) {
    let session = endpoint.with(generation, |session| {
        (session.id.is_some(), session.handshake)
    });
    let answer = match session {
        Some((true, _)) => match inquire(&endpoint, generation, "liveness", timeout).await {
            Ok(()) => true,
            Err(Miss::Answered(detail)) => {
                tracing::warn!(agent = %endpoint.agent, probe = "liveness", "probe failed: {detail}");
                false
            }
            // Silence is the core's to judge, which says so in time.
            Err(Miss::Silent(_)) => false,
        },
        Some((false, Handshake::Expected)) | None => false,
        Some((false, Handshake::Pending | Handshake::Greeted | Handshake::Ready)) => true,
    };
    if answer {
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
    // The core tells of what failed.
    let answer = answer.map_err(|miss| miss.to_string());
    judge(&api, &endpoint, generation, (answer, threshold)).await;
}

/// Takes in what an agent's own check says. What follows holds until the next one, whatever the
/// agent says of itself in between.
async fn judge(
    api: &AgentApi,
    endpoint: &Endpoint,
    generation: Generation,
    (answer, threshold): (Result<(), String>, u32),
) {
    let changed = endpoint.with(generation, |session| {
        session.misses = match &answer {
            Ok(()) => 0,
            Err(_) => session.misses.saturating_add(1),
        };
        match session.flow {
            // It was not well from the start.
            Flow::Unwell if session.misses == threshold => Some(Readiness::Unready),
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
    let Some(changed) = changed else { return };
    let outcome = answer.map_or_else(ProbeOutcome::Failure, |()| ProbeOutcome::Success);
    let (instance, check) = (endpoint.instance(generation), SelfCheck::Made(outcome));
    api.tell(Fact::SelfChecked { instance, check }).await;
    let Some(readiness) = changed else { return };
    endpoint.wake();
    let agent = &endpoint.agent;
    match readiness {
        Readiness::Ready => tracing::info!(%agent, "the agent is well"),
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

/// Why an agent's own check has not passed.
#[derive(Debug, thiserror::Error)]
enum Miss {
    #[error("no answer within {} ms", .0.as_millis())]
    Silent(Duration),
    #[error("{0}")]
    Answered(String),
}

/// Sends a probe and waits for its answer.
async fn inquire(
    endpoint: &Endpoint,
    generation: Generation,
    probe: &'static str,
    timeout: Duration,
) -> Result<(), Miss> {
    let (sender, receiver) = oneshot::channel();
    let until = Instant::now() + timeout;
    let id = endpoint.with(generation, |session| {
        let id = session.tell(Message::Probe { probe, until });
        session.probes.insert(id.clone(), sender);
        id
    });
    let id = id.ok_or(Miss::Silent(timeout))?;
    let answer = tokio::time::timeout_at(until, receiver).await;
    let Ok(Ok(answer)) = answer else {
        endpoint.with(generation, |session| {
            session.probes.remove(&id);
            session.messages.answered(&id);
        });
        tracing::debug!(agent = %endpoint.agent, probe, "a probe was not answered in time");
        return Err(Miss::Silent(timeout));
    };
    if answer.ok {
        return Ok(());
    }
    let detail = answer.detail.filter(|detail| !detail.is_empty());
    let detail = detail.unwrap_or_else(|| "its own check says no".to_owned());
    Err(Miss::Answered(detail))
}
