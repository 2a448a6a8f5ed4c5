//! One container, as the supervisor follows it.

use std::sync::Arc;

use claw_core::{Fact, InstanceId};
use tokio::sync::mpsc;

use super::driver::Inner;
use super::egress::WayOut;
use super::notify::Notify;
use super::record::{Pace, Record};
use crate::process::KILL;

/// What reaches the follower of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mail {
    Signal(i32),
    Kill,
    Freeze,
    Thaw,
    /// Something happened to the container.
    Look,
    /// Something in it was killed for memory.
    OutOfMemory,
}

/// Follows one instance until its last fact.
pub(super) struct Follower {
    pub(super) inner: Arc<Inner>,
    pub(super) record: Record,
    pub(super) mail: mpsc::UnboundedReceiver<Mail>,
    pub(super) wants: Wants,
    pub(super) asked: Asked,
    /// Listened to as soon as the core knows that the instance runs.
    pub(super) notify: Option<Notify>,
    /// Open as long as it is followed.
    pub(super) way_out: Option<WayOut>,
}

/// A record that is being written.
#[must_use]
pub(super) struct Saving(tokio::task::JoinHandle<()>);

impl Saving {
    pub(super) async fn finish(self) {
        // Fails only when the runtime ends.
        self.0.await.ok();
    }
}

/// What the engine was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Nothing,
    /// There may be a container.
    ToCreate,
}

/// What is still to be done. Orders wait here as long as the engine is away.
#[derive(Debug, Default)]
pub(super) struct Wants {
    pub(super) kill: Kill,
    pub(super) signals: Vec<i32>,
    pub(super) look: Look,
    pub(super) oom_kills: u64,
}

/// Whether it is to be killed, which wins over everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kill {
    #[default]
    No,
    Wanted,
    /// The engine took the order. It is repeated when an engine that was away comes back.
    Sent,
}

/// Whether the container has to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Look {
    #[default]
    No,
    Wanted,
}

/// The most signals that wait for an engine that is away.
const SIGNALS_LIMIT: usize = 64;

impl Wants {
    pub(super) fn is_idle(&self) -> bool {
        self.kill != Kill::Wanted && self.signals.is_empty() && self.look == Look::No
    }

    /// Whether a start that is not done is to be given up.
    pub(super) fn calls_off(&self, stop_signal: i32) -> bool {
        self.kill != Kill::No || self.signals.contains(&stop_signal)
    }

    /// The engine was away: what it was told may be forgotten.
    pub(super) fn begin_anew(&mut self) {
        self.look = Look::Wanted;
        if self.kill == Kill::Sent {
            self.kill = Kill::Wanted;
        }
    }
}

impl Follower {
    pub(super) fn instance(&self) -> &InstanceId {
        &self.record.instance
    }

    /// Notes what came; whether the record has changed is answered.
    pub(super) fn take(&mut self, mail: Mail) -> Pace {
        let stops = matches!(mail, Mail::Signal(number) if number == self.record.stop_signal);
        match mail {
            Mail::Kill | Mail::Signal(KILL) => {
                self.wants.kill = Kill::Wanted;
                self.wants.signals.clear();
                self.record.pace = Pace::Running;
            }
            Mail::Signal(number) => {
                if self.wants.signals.len() < SIGNALS_LIMIT {
                    self.wants.signals.push(number);
                }
                // What stands still would sleep through what is to end it.
                if stops {
                    self.record.pace = Pace::Running;
                }
            }
            Mail::Freeze if self.wants.kill == Kill::No => {
                self.record.pace = Pace::Frozen;
                self.wants.look = Look::Wanted;
            }
            Mail::Freeze => {}
            Mail::Thaw => {
                self.record.pace = Pace::Running;
                self.wants.look = Look::Wanted;
            }
            Mail::Look => self.wants.look = Look::Wanted,
            Mail::OutOfMemory => self.wants.oom_kills += 1,
        }
        self.record.pace
    }

    /// Takes all that has come.
    pub(super) fn take_all(&mut self) {
        while let Ok(mail) = self.mail.try_recv() {
            self.take(mail);
        }
    }

    /// Replaces the record; one that cannot be written costs work after a crash, and nothing else.
    pub(super) async fn save(&self) {
        self.begin_save().finish().await;
    }

    /// As [`Follower::save`], but goes on meanwhile. To be finished before the next.
    pub(super) fn begin_save(&self) -> Saving {
        let (inner, record) = (Arc::clone(&self.inner), self.record.clone());
        Saving(tokio::task::spawn_blocking(move || {
            if let Err(error) = inner.records.update(&record) {
                let instance = &record.instance;
                tracing::warn!(%instance, %error, "its record cannot be written");
            }
        }))
    }

    pub(super) async fn tell(&self, fact: Fact) {
        self.inner.tell(fact).await;
    }
}
