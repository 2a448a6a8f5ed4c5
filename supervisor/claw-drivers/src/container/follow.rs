//! From the start of a container to its end.

use std::sync::Arc;
use std::time::Duration;

use bollard::query_parameters::KillContainerOptionsBuilder;
use claw_core::{ExitReport, Fact};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::engine::{Client, QUICK};
use super::fault::EngineError;
use super::instance::{Follower, Kill, Look};
use super::output::Output;
use super::printing::Printing;
use super::record::{Pace, Stage};
use super::state::{self, Ending, Standing};
use super::watch::Sight;
use crate::process::KILL;

/// Between attempts at what an engine, present by all signs, did not do.
const RETRY: Duration = Duration::from_secs(1);

/// What is known of an instance by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    GoesOn,
    Ended(Ending),
    Lost,
}

/// Whether the core was told that nobody can see the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Yes,
    No,
}

impl Follower {
    /// Follows a container that was started.
    pub(super) async fn follow(mut self, container: String, output: Output) {
        let (inner, instance) = (Arc::clone(&self.inner), self.instance().clone());
        let printing = Printing::start(inner, instance, container.clone(), output);
        let mut listening = JoinSet::new();
        if let Some(notify) = self.notify.take() {
            let (instance, facts) = (self.instance().clone(), self.inner.facts.clone());
            let redactor = self.inner.redactor(&instance);
            listening.spawn(notify.listen(instance, redactor, facts));
        }
        self.reopen_way_out().await;
        let mut sight = self.inner.sight.subscribe();
        let mut seen = Seen::Yes;
        let mut retry = None;
        self.regard(&mut sight, &mut seen).await;
        let course = loop {
            let blind = matches!(*sight.borrow(), Sight::Lost(_));
            if !blind && !self.wants.is_idle() && retry.is_none_or(|at| at <= Instant::now()) {
                retry = match self.act(&container, &mut seen).await {
                    Ok(Course::GoesOn) => None,
                    Ok(course) => break course,
                    Err(error) => {
                        tracing::debug!(instance = %self.instance(), %error, "it could not be reached");
                        Some(Instant::now() + RETRY)
                    }
                };
            }
            let due = retry.unwrap_or_else(|| Instant::now() + RETRY);
            let busy = !blind && !self.wants.is_idle();
            tokio::select! {
                Some(mail) = self.mail.recv() => {
                    let before = self.record.pace;
                    self.take(mail);
                    self.take_all();
                    if self.record.pace != before {
                        self.save().await;
                    }
                }
                Ok(()) = sight.changed() => self.regard(&mut sight, &mut seen).await,
                () = tokio::time::sleep_until(due), if busy => {}
            }
        };
        self.conclude(course, printing).await;
        drop(listening);
    }

    /// An adopted container's listeners were those of the supervisor before.
    async fn reopen_way_out(&mut self) {
        let running = self.inner.running(self.instance());
        if let (None, Some(running)) = (&self.way_out, running)
            && let Err(error) = self.open_way_out(&running.id, running.pid).await
        {
            tracing::error!(instance = %self.instance(), "the container reaches nothing through the supervisor any more: {error}");
        }
    }

    /// Takes notice of whether the engine can be asked.
    async fn regard(&mut self, sight: &mut watch::Receiver<Sight>, seen: &mut Seen) {
        let now = sight.borrow_and_update().clone();
        match now {
            Sight::Unknown => {}
            Sight::Clear(_) => self.wants.begin_anew(),
            Sight::Lost(reason) => {
                if *seen == Seen::Yes {
                    *seen = Seen::No;
                    let instance = self.instance().clone();
                    self.tell(Fact::Unobserved { instance, reason }).await;
                }
            }
        }
    }

    /// Does what waits to be done, the kill first.
    async fn act(&mut self, container: &str, seen: &mut Seen) -> Result<Course, EngineError> {
        let client = self.inner.engine.client().await?;
        if self.wants.kill == Kill::Wanted {
            self.signal(&client, container, KILL).await?;
            self.wants.kill = Kill::Sent;
            self.wants.signals.clear();
        }
        while let Some(number) = self.wants.signals.first().copied() {
            self.signal(&client, container, number).await?;
            self.wants.signals.remove(0);
        }
        if self.wants.look == Look::No {
            return Ok(Course::GoesOn);
        }
        self.wants.look = Look::No;
        let looked = self.look(&client, container, seen).await;
        if looked.is_err() {
            self.wants.look = Look::Wanted;
        }
        looked
    }

    async fn look(
        &mut self,
        client: &Client,
        container: &str,
        seen: &mut Seen,
    ) -> Result<Course, EngineError> {
        let found = state::look(client, &self.inner.project, container).await?;
        let (pid, pace) = match found.map(|found| found.standing) {
            Some(Standing::Running { pid, pace, .. }) => (pid, pace),
            Some(Standing::Ended(ending)) => return Ok(Course::Ended(ending)),
            // It was never started, or somebody took it away.
            Some(Standing::Created | Standing::Leaving) | None => return Ok(Course::Lost),
        };
        self.inner.note_running(self.instance(), container, pid);
        if *seen == Seen::No {
            *seen = Seen::Yes;
            let instance = self.instance().clone();
            self.tell(Fact::Observed { instance }).await;
        }
        if pace != self.record.pace && self.wants.kill == Kill::No {
            self.correct(client, container, pace).await?;
        }
        Ok(Course::GoesOn)
    }

    /// Makes the container run or stand still, as it is to, whoever did otherwise.
    async fn correct(
        &self,
        client: &Client,
        container: &str,
        found: Pace,
    ) -> Result<(), EngineError> {
        let corrected = match self.record.pace {
            Pace::Frozen => {
                client
                    .within(QUICK, client.docker.pause_container(container))
                    .await
            }
            Pace::Running => {
                tracing::info!(instance = %self.instance(), ?found, "its container is let run again");
                let going = client.docker.unpause_container(container);
                client.within(QUICK, going).await
            }
        };
        match corrected {
            // It ended, or somebody else did it: the next event says so.
            Err(error) if matches!(error.status(), 404 | 409) => Ok(()),
            other => other,
        }
    }

    /// Sends a signal. A container that does not run is no error, but worth a look.
    async fn signal(
        &mut self,
        client: &Client,
        container: &str,
        number: i32,
    ) -> Result<(), EngineError> {
        let send = || {
            let options = KillContainerOptionsBuilder::new()
                .signal(&number.to_string())
                .build();
            client.within(
                QUICK,
                client.docker.kill_container(container, Some(options)),
            )
        };
        let mut sent = send().await;
        let paused = |error: &EngineError| error.to_string().contains("paused");
        if sent.as_ref().is_err_and(paused) {
            let going = client.docker.unpause_container(container);
            client.within(QUICK, going).await?;
            sent = send().await;
        }
        self.wants.look = Look::Wanted;
        match sent {
            Err(error) if error.is_away() => Err(error),
            Err(error) => {
                tracing::debug!(instance = %self.instance(), number, %error, "it took no signal");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// The last fact, after the last output.
    async fn conclude(mut self, course: Course, printing: Printing) {
        let log = printing.finish().await;
        self.take_all();
        let instance = self.instance().clone();
        let ending = match course {
            Course::Ended(ending) => ending,
            Course::GoesOn | Course::Lost => {
                self.inner.forget(&instance);
                self.tell(Fact::Lost { instance }).await;
                return;
            }
        };
        let (cpu_us, memory_peak) = self.inner.last_usage(&instance);
        let report = ExitReport {
            status: ending.status,
            at: ending.at,
            oom_kills: self.wants.oom_kills.max(u64::from(ending.out_of_memory)),
            leftovers: 0,
            cpu_us,
            memory_peak,
            log,
        };
        self.record.stage = Stage::Ended(report.clone());
        self.save().await;
        self.inner.remember_end(&instance, &report);
        // Before the fact: its answer may be an order for the next life.
        self.inner.forget(&instance);
        self.tell(Fact::Gone { instance, report }).await;
    }
}
