//! An instance that is up: its probes, its own word, its time, its freezing.

use std::sync::Arc;

use crate::action::Happened;
use crate::death::Cause;
use crate::event::Freeze;
use crate::models::ModelCall;
use crate::notification::Notification;
use crate::order::{Order, ProbeKind, ProbeOutcome, SelfCheck};

use super::super::context::Context;
use super::super::health::{Finding, MAX_EXTENSION};
use super::{Instance, Life, Phase};

impl Instance {
    /// Stops scheduling the tree, or undoes it.
    pub(crate) fn freeze(&mut self, cx: &mut Context<'_>, freeze: Freeze) {
        match (freeze, &self.phase) {
            (Freeze::Yes, Phase::Up) if self.frozen_since.is_none() => {
                self.frozen_since = Some(cx.mono());
                cx.order(Order::Freeze {
                    instance: self.id.clone(),
                });
            }
            (Freeze::Yes, _) => {}
            (Freeze::No, _) => self.thaw(cx),
        }
    }

    pub(super) fn probed(
        &mut self,
        cx: &mut Context<'_>,
        kind: ProbeKind,
        sequence: u64,
        outcome: ProbeOutcome,
    ) {
        if !matches!(self.phase, Phase::Up) {
            return;
        }
        match self.health.probed(kind, sequence, outcome, cx.mono()) {
            Ok(findings) => self.act_on(cx, findings),
            Err(()) => {
                let detail = format!("{kind} probe {sequence} of {} was not awaited", self.id);
                cx.stale(&self.id.agent, detail);
            }
        }
    }

    /// As its own word that it is ready, this counts however far the start has come.
    pub(super) fn self_checked(&mut self, cx: &mut Context<'_>, check: SelfCheck) {
        let finding = self.health.self_checked(check);
        self.act_on(cx, finding.into_iter().collect());
    }

    pub(super) fn notified(&mut self, cx: &mut Context<'_>, note: &Notification) {
        if let Some(text) = &note.status {
            let text = Some(text).filter(|text| !text.is_empty());
            let fails = note.errno.is_some_and(|errno| errno != 0);
            self.failure = text.filter(|_| fails).cloned();
            self.status_text = text.cloned();
        }
        if let (Phase::Up, Some(pid), Some(process)) =
            (&self.phase, note.main_pid, &mut self.process)
        {
            process.pid = pid;
        }
        let now = cx.mono();
        let extension = note.extend_timeout;
        let extension = extension.map(|extension| extension.min(MAX_EXTENSION));
        if let Some(extension) = extension {
            self.extend_grace(now + extension);
        }
        let finding = self.health.notified(note, now);
        self.act_on(cx, finding.into_iter().collect());
    }

    /// Calls to models are work, unless the same one fails again and again.
    pub(super) fn called(&mut self, cx: &mut Context<'_>, call: ModelCall) {
        self.health.called(&call, cx.mono());
        let breaker = &self.spec.probes.breaker;
        let cause = self.requests.note(call, cx.now, breaker);
        self.act_on(cx, cause.map(Finding::Fail).into_iter().collect());
    }

    /// Nothing more can be expected of it; one that ends already ends as it was told.
    pub(super) fn broke_protocol(&mut self, cx: &mut Context<'_>) {
        if let Phase::Up = self.phase {
            self.act_on(cx, vec![Finding::Fail(Cause::Protocol)]);
        }
    }

    pub(super) fn tick_up(&mut self, cx: &mut Context<'_>) -> Life {
        if self.frozen_since.is_some() {
            return Life::GoesOn;
        }
        if self.run_deadline.is_some_and(|at| at <= cx.mono()) {
            return self.stop(cx, Cause::RunTimeout);
        }
        // The silence of one that cannot be heard says nothing.
        if self.mute.is_none() {
            let findings = self.health.tick(cx.mono());
            self.act_on(cx, findings);
        }
        Life::GoesOn
    }

    fn act_on(&mut self, cx: &mut Context<'_>, findings: Vec<Finding>) {
        if !matches!(self.phase, Phase::Up) || self.frozen_since.is_some() {
            return;
        }
        for finding in findings {
            match finding {
                Finding::Check(probe, sequence) => cx.order(Order::Probe {
                    instance: self.id.clone(),
                    probe,
                    spec: Arc::clone(&self.spec),
                    sequence,
                }),
                Finding::Failed(probe, detail, consecutive) => cx.announce(
                    &self.id.agent,
                    Happened::ProbeFailed {
                        probe,
                        detail,
                        consecutive,
                    },
                ),
                Finding::Fail(cause) => {
                    cx.order(Order::Signal {
                        instance: self.id.clone(),
                        signal: self.spec.shutdown.signal,
                    });
                    self.begin_stopping(cx, cause);
                    return;
                }
            }
        }
    }

    pub(super) fn thaw(&mut self, cx: &mut Context<'_>) {
        let Some(since) = self.frozen_since.take() else {
            return;
        };
        let frozen_for = cx.mono().since(since);
        self.health.shift(frozen_for, cx.mono());
        if let Some(at) = &mut self.run_deadline {
            *at = *at + frozen_for;
        }
        cx.order(Order::Thaw {
            instance: self.id.clone(),
        });
    }
}
