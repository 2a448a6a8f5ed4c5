//! How the health of one instance is judged. Called by its instance only.
//!
//! ```text
//!   Down ──started──► StartingUp ──startup passes, READY=1──► Up
//!                        │ threshold failures, or no READY=1     │ liveness, watchdog, silence
//!                        ▼                                       ▼
//!                    Finding::Fail(StartTimeout)              Finding::Fail(Probe | Watchdog)
//! ```
//!
//! Each probe is a [`Track`] with at most one check under way. Readiness changes `ready` and
//! nothing else; an unknown outcome changes nothing at all.

use std::time::Duration;

use crate::clock::Mono;
use crate::deadline::{Deadline, Why, earlier};
use crate::death::Cause;
use crate::models::ModelCall;
use crate::notification::{Lifecycle, Notification, WatchdogSignal};
use crate::order::{ProbeKind, ProbeOutcome, SelfCheck};
use crate::spec::{AgentSpec, Check, Mode};

use super::calls::Flights;
use super::track::{Answered, Track};

/// After a pause of the supervisor nothing is killed sooner than this: time for a heartbeat or a
/// fresh check to arrive and speak for the agent.
const SECOND_CHANCE: Duration = Duration::from_secs(10);

/// The most by which one `EXTEND_TIMEOUT_USEC=` may move a deadline. An agent that needs longer
/// sends it again, which shows that it lives.
pub(crate) const MAX_EXTENSION: Duration = Duration::from_secs(600);

/// How far the start has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Down,
    StartingUp,
    Up,
}

/// What the agent said of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Nothing,
    Ready,
    Stopping,
}

/// Whether it is ready only when it has said so itself, whatever its probes find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OwnWord {
    Needed,
    NotNeeded,
}

/// Whether a process was begun, or asked for, with the probes that are configured so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begun {
    Yes,
    NotYet,
}

/// The health of one instance.
#[derive(Debug)]
pub(crate) struct Health {
    stage: Stage,
    said: Said,
    own_word: OwnWord,
    startup: Option<Track>,
    liveness: Option<Track>,
    readiness: Option<Track>,
    /// When silence becomes a failure, and how long it may last.
    silence: Option<(Mono, Duration)>,
    /// Who waits for a model is not silent.
    flights: Flights,
    /// No start failure before this, whatever the probes say (`EXTEND_TIMEOUT_USEC`).
    patience: Mono,
    sequence: u64,
}

/// What health makes its instance do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Order this probe with this sequence number.
    Check(ProbeKind, u64),
    /// A probe failed again: the text and how often in a row.
    Failed(ProbeKind, String, u32),
    /// End the instance for this.
    Fail(Cause),
}

impl Health {
    pub(crate) fn new(spec: &AgentSpec) -> Self {
        let probes = &spec.probes;
        let track = |kind, probe: &Option<_>| probe.clone().map(|probe| Track::new(kind, probe));
        Self {
            stage: Stage::Down,
            said: Said::Nothing,
            own_word: match spec.mode {
                Mode::Worker => OwnWord::Needed,
                Mode::Daemon | Mode::Oneshot => OwnWord::NotNeeded,
            },
            startup: track(ProbeKind::Startup, &probes.startup),
            liveness: track(ProbeKind::Liveness, &probes.liveness),
            readiness: track(ProbeKind::Readiness, &probes.readiness),
            silence: probes
                .progress
                .as_ref()
                .map(|progress| (Mono::default(), progress.max_silence)),
            flights: Flights::default(),
            patience: Mono::default(),
            sequence: 0,
        }
    }

    /// The main process runs.
    pub(crate) fn started(&mut self, now: Mono) {
        if self.stage != Stage::Down {
            return;
        }
        self.stage = Stage::StartingUp;
        let ready_already = self.said == Said::Ready && self.waits_for_ready();
        match &mut self.startup {
            Some(startup) if !ready_already => startup.arm_start(now),
            Some(_) | None => self.come_up(now),
        }
    }

    /// Taken over from an earlier supervisor, which had seen it come up: it was ready, and stays
    /// so until a probe says otherwise.
    pub(crate) fn adopted_up(&mut self, now: Mono) {
        self.said = Said::Ready;
        self.come_up(now);
        if let Some(readiness) = &mut self.readiness {
            readiness.presume_passed();
        }
    }

    /// Other probes are configured now; what was found so far stays, and so does a check under way.
    pub(crate) fn retune(&mut self, spec: &AgentSpec, begun: Begun, now: Mono) {
        let old = std::mem::replace(self, Self::new(spec));
        let waited = old.waits_for_ready();
        self.stage = old.stage;
        self.said = old.said;
        self.flights = old.flights;
        self.patience = old.patience;
        self.sequence = old.sequence;
        let heard = old.readiness.as_ref().is_some_and(Track::is_heartbeat);
        retune(&mut self.startup, old.startup, now);
        retune(&mut self.liveness, old.liveness, now);
        retune(&mut self.readiness, old.readiness, now);
        let hears = self.readiness.as_ref().is_some_and(Track::is_heartbeat);
        let told_before = heard || waited || self.own_word == OwnWord::Needed;
        let begun = begun == Begun::Yes;
        if begun && hears && !told_before && self.said == Said::Nothing {
            // Nobody had told it to say so.
            self.said = Said::Ready;
        }
        match (self.stage, &mut self.startup) {
            (Stage::StartingUp, None) => self.come_up(now),
            (Stage::Up, Some(startup)) => startup.disarm(),
            (Stage::Down | Stage::StartingUp | Stage::Up, _) => {}
        }
        self.progressed(now);
    }

    /// The startup probe has passed.
    pub(crate) fn is_up(&self) -> bool {
        self.stage == Stage::Up
    }

    /// It has said that it is ready, and nothing else since.
    pub(crate) fn has_said_ready(&self) -> bool {
        self.said == Said::Ready
    }

    /// It may be given work.
    pub(crate) fn is_ready(&self) -> bool {
        let readiness = self.readiness.as_ref();
        self.stage == Stage::Up
            && self.said != Said::Stopping
            && (self.own_word == OwnWord::NotNeeded || self.has_said_ready())
            && readiness.is_none_or(|track| {
                track.passes() && (!track.is_heartbeat() || self.said == Said::Ready)
            })
    }

    /// Why it is not ready, for people.
    pub(crate) fn unready_detail(&self) -> String {
        if self.said == Said::Stopping {
            return "it said that it is stopping".to_owned();
        }
        if self.own_word == OwnWord::Needed && !self.has_said_ready() {
            return "it has not said that it is ready".to_owned();
        }
        let readiness = self.readiness.as_ref();
        readiness
            .map(Track::detail)
            .filter(|detail| !detail.is_empty())
            .unwrap_or("no readiness check has passed yet")
            .to_owned()
    }

    /// Failures in a row, per probe.
    pub(crate) fn failures(&self) -> Vec<(ProbeKind, u32)> {
        let tracks = [&self.startup, &self.liveness, &self.readiness];
        tracks
            .into_iter()
            .flatten()
            .map(|track| (track.kind(), track.consecutive()))
            .collect()
    }

    /// The agent sent something.
    pub(crate) fn notified(&mut self, note: &Notification, now: Mono) -> Option<Finding> {
        if !self.is_mere_answer(note) {
            self.progressed(now);
        }
        match note.lifecycle {
            Some(Lifecycle::Ready | Lifecycle::Reloaded { .. }) => self.said_ready(now),
            Some(Lifecycle::Stopping) => self.said = Said::Stopping,
            // It goes on serving with what it had; `READY=1` follows.
            Some(Lifecycle::Reloading { .. }) | None => {}
        }
        if let Some(extension) = note.extend_timeout {
            self.patience = self.patience.max(now + extension.min(MAX_EXTENSION));
        }
        let liveness = self.liveness.as_mut()?;
        if let Some(interval) = note.watchdog_interval {
            liveness.set_beat(interval, now);
        }
        match note.watchdog {
            Some(WatchdogSignal::Trigger) => Some(Finding::Fail(Cause::Watchdog)),
            Some(WatchdogSignal::Alive) => {
                liveness.beat(now);
                None
            }
            None => None,
        }
    }

    /// A worker is asked whether it lives; that it answers is no evidence of work.
    fn is_mere_answer(&self, note: &Notification) -> bool {
        let is_sign = note.watchdog == Some(WatchdogSignal::Alive);
        let says_more = note.lifecycle.is_some() || note.status.is_some();
        self.own_word == OwnWord::Needed && is_sign && !says_more
    }

    /// The gateway has seen something of its use of models: it works, and may say nothing else
    /// while it waits for an answer.
    pub(crate) fn called(&mut self, call: &ModelCall, now: Mono) {
        self.flights.note(call, now);
        self.progressed(now);
        if let Some(liveness) = &mut self.liveness {
            liveness.beat(now);
        }
    }

    /// The agent gave evidence of work.
    pub(crate) fn progressed(&mut self, now: Mono) {
        if let Some((until, most)) = &mut self.silence {
            *until = now + *most;
        }
    }

    /// A probe ended. `Err`: nobody asked for this answer.
    pub(crate) fn probed(
        &mut self,
        kind: ProbeKind,
        sequence: u64,
        outcome: ProbeOutcome,
        now: Mono,
    ) -> Result<Vec<Finding>, ()> {
        let patient = now < self.patience;
        let track = self.track(kind).ok_or(())?;
        let answered = track.answered(sequence, outcome, now).ok_or(())?;
        let verdict = track.is_beyond_threshold();
        let consecutive = track.consecutive();
        let detail = match answered {
            Answered::Unknown => return Ok(Vec::new()),
            Answered::Passed => {
                if kind == ProbeKind::Startup && self.stage == Stage::StartingUp {
                    self.come_up(now);
                }
                return Ok(Vec::new());
            }
            Answered::Failed(detail) => detail,
        };
        let mut findings = vec![Finding::Failed(kind, detail.clone(), consecutive)];
        match kind {
            ProbeKind::Startup if verdict && !patient => {
                findings.push(Finding::Fail(Cause::StartTimeout));
            }
            ProbeKind::Liveness if verdict => findings.push(Finding::Fail(Cause::Probe {
                probe: kind,
                detail,
            })),
            ProbeKind::Startup
            | ProbeKind::Liveness
            | ProbeKind::Readiness
            | ProbeKind::Progress => {}
        }
        Ok(findings)
    }

    /// A worker's own readiness check is awaited, or was made. One that was asked for just before
    /// the file said otherwise says nothing.
    pub(crate) fn self_checked(&mut self, check: SelfCheck) -> Option<Finding> {
        let track = self.readiness.as_mut();
        let track = track.filter(|track| track.is_heartbeat())?;
        let outcome = match check {
            SelfCheck::Awaited => {
                track.demand_pass();
                return None;
            }
            SelfCheck::Made(outcome) => outcome,
        };
        match track.heard(outcome) {
            Answered::Failed(detail) => {
                let consecutive = track.consecutive();
                Some(Finding::Failed(ProbeKind::Readiness, detail, consecutive))
            }
            Answered::Passed | Answered::Unknown => None,
        }
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Mono) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Some(cause) = self.overdue(now) {
            findings.push(Finding::Fail(cause));
            return findings;
        }
        let (startup, others) = self.active();
        for kind in [startup, others[0], others[1]].into_iter().flatten() {
            let sequence = self.sequence + 1;
            let Some(track) = self.track(kind) else {
                continue;
            };
            track.give_up_lost(now);
            if track.take_due(now, sequence) {
                self.sequence = sequence;
                findings.push(Finding::Check(kind, sequence));
            }
        }
        findings
    }

    /// The next point at which something is due.
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let tracks = match self.stage {
            Stage::Down => [None, None],
            Stage::StartingUp => [self.startup.as_ref(), None],
            Stage::Up => [self.liveness.as_ref(), self.readiness.as_ref()],
        };
        let due = tracks
            .into_iter()
            .flatten()
            .map(|track| track.deadline(self.patience, self.flights.until()))
            .fold(None, earlier);
        let silence = self.silent_at().filter(|_| self.stage == Stage::Up);
        earlier(due, silence.map(|(at, _)| (at, Why::Progress)))
    }

    /// The supervisor was away, or the tree frozen, for `gap`: nothing of that time counts.
    pub(crate) fn shift(&mut self, gap: Duration, now: Mono) {
        let floor = now + SECOND_CHANCE;
        for track in [&mut self.startup, &mut self.liveness, &mut self.readiness]
            .into_iter()
            .flatten()
        {
            track.shift(gap, floor);
        }
        self.flights.shift(gap);
        if let Some((until, _)) = &mut self.silence {
            *until = (*until + gap).max(floor);
        }
    }

    fn said_ready(&mut self, now: Mono) {
        self.said = Said::Ready;
        if self.stage == Stage::StartingUp && self.waits_for_ready() {
            self.come_up(now);
        }
    }

    fn waits_for_ready(&self) -> bool {
        self.startup.as_ref().is_some_and(Track::is_heartbeat)
    }

    fn come_up(&mut self, now: Mono) {
        self.stage = Stage::Up;
        if let Some(startup) = &mut self.startup {
            startup.disarm();
        }
        if let Some(liveness) = &mut self.liveness {
            liveness.arm_after_interval(now);
        }
        if let Some(readiness) = &mut self.readiness {
            readiness.arm_at_once(now);
        }
        self.progressed(now);
    }

    /// When silence becomes a failure, and how long it may last: it begins when no call is in
    /// flight any more, or has been for longer than it may.
    fn silent_at(&self) -> Option<(Mono, Duration)> {
        let (until, most) = self.silence?;
        let spoken_for = self.flights.until().map(|until| until + most);
        Some((spoken_for.map_or(until, |at| at.max(until)), most))
    }

    fn overdue(&self, now: Mono) -> Option<Cause> {
        match self.stage {
            Stage::Down => None,
            Stage::StartingUp => {
                let startup = self.startup.as_ref()?;
                let late = startup.beat_overdue(now, None) && self.patience <= now;
                late.then_some(Cause::StartTimeout)
            }
            Stage::Up => {
                let liveness = self.liveness.as_ref();
                let spoken_for = self.flights.until();
                if liveness.is_some_and(|track| track.beat_overdue(now, spoken_for)) {
                    return Some(Cause::Watchdog);
                }
                let (_, most) = self.silent_at().filter(|(at, _)| *at <= now)?;
                Some(Cause::Probe {
                    probe: ProbeKind::Progress,
                    detail: format!("no sign of work for {} s", most.as_secs()),
                })
            }
        }
    }

    fn active(&self) -> (Option<ProbeKind>, [Option<ProbeKind>; 2]) {
        match self.stage {
            Stage::Down => (None, [None, None]),
            Stage::StartingUp => (Some(ProbeKind::Startup), [None, None]),
            Stage::Up => (
                None,
                [Some(ProbeKind::Liveness), Some(ProbeKind::Readiness)],
            ),
        }
    }

    fn track(&mut self, kind: ProbeKind) -> Option<&mut Track> {
        match kind {
            ProbeKind::Startup => self.startup.as_mut(),
            ProbeKind::Liveness => self.liveness.as_mut(),
            ProbeKind::Readiness => self.readiness.as_mut(),
            ProbeKind::Progress => None,
        }
    }
}

/// A probe takes over from one that was configured before, or from none.
fn retune(new: &mut Option<Track>, old: Option<Track>, now: Mono) {
    if let Some(new) = new {
        new.succeed(old, now);
    }
}

/// Whether a check is one that the agent makes by itself.
pub(crate) const fn is_heartbeat(check: &Check) -> bool {
    match check {
        Check::Heartbeat => true,
        Check::Exec { .. } | Check::Http { .. } | Check::Tcp { .. } => false,
    }
}
