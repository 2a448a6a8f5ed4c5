//! One instance, as the supervisor follows it: facts in, requests out.

use std::sync::Arc;

use claw_core::notification::{Notification, Parsed};
use claw_core::order::RunContext;
use claw_core::{AgentSpec, ExitStatus, Fact, InstanceId, SpawnError, SpawnStage};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::driver::Inner;
use super::inspect::{self, Found};
use super::launch;
use super::wire::{self, LINE_LIMIT, Report, Request, Standing};

/// What an instance has been heard of, so that nothing is told twice when a connection is renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Told {
    Nothing,
    Started,
    MainExited,
    /// The last fact; nothing follows.
    End,
}

/// Follows one instance until its last fact.
pub(super) struct Follower {
    inner: Arc<Inner>,
    instance: InstanceId,
    requests: mpsc::UnboundedReceiver<Request>,
    told: Told,
}

/// A connection to a shim, which yields reports line by line.
pub(super) struct Connection {
    reader: BufReader<UnixStream>,
    line: Vec<u8>,
}

impl Connection {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self {
            reader: BufReader::with_capacity(1024, stream),
            line: Vec::new(),
        }
    }

    /// The next report; `None` when the shim hung up. Unknown reports, from a newer shim, are
    /// skipped. May be cancelled: what was read of a line is kept.
    pub(super) async fn next(&mut self) -> Option<Report> {
        loop {
            let read = self.reader.read_until(b'\n', &mut self.line).await;
            let whole = matches!(read, Ok(1..)) && self.line.ends_with(b"\n");
            if !whole || self.line.len() > LINE_LIMIT {
                return None;
            }
            let report = serde_json::from_slice(&self.line);
            self.line.clear();
            match report {
                Ok(report) => return Some(report),
                Err(error) => tracing::debug!(%error, "a shim said something unknown"),
            }
        }
    }

    async fn send(&mut self, request: &Request) {
        // A shim that hung up is found by the next read.
        self.reader
            .get_mut()
            .write_all(&wire::line(request))
            .await
            .ok();
    }
}

impl Follower {
    pub(super) const fn new(
        inner: Arc<Inner>,
        instance: InstanceId,
        requests: mpsc::UnboundedReceiver<Request>,
        told: Told,
    ) -> Self {
        Self {
            inner,
            instance,
            requests,
            told,
        }
    }

    /// Starts the instance and follows it.
    pub(super) async fn spawn(mut self, spec: Arc<AgentSpec>, run: Option<RunContext>) {
        let launched = launch::launch(&self.inner, &self.instance, &spec, run.as_ref()).await;
        drop((spec, run));
        match launched {
            Ok(stream) => self.follow(Connection::new(stream)).await,
            Err(error) => {
                let instance = self.instance.clone();
                self.end(Fact::SpawnFailed { instance, error }).await;
            }
        }
    }

    /// Follows a shim that was connected to; `standing` is what it has said already.
    pub(super) async fn adopt(mut self, connection: Connection, standing: Option<Standing>) {
        if let Some(standing) = standing {
            self.tell_standing(standing).await;
        }
        self.follow(connection).await;
    }

    async fn follow(mut self, mut connection: Connection) {
        loop {
            tokio::select! {
                report = connection.next() => match report {
                    Some(report) => self.tell(report).await,
                    None => match self.settle().await {
                        Some(renewed) => connection = renewed,
                        None => return,
                    },
                },
                Some(request) = self.requests.recv() => connection.send(&request).await,
            }
        }
    }

    async fn tell(&mut self, report: Report) {
        let instance = self.instance.clone();
        match report {
            Report::Started(standing) => self.tell_standing(standing).await,
            Report::SpawnFailed(error) => self.end(Fact::SpawnFailed { instance, error }).await,
            Report::MainExited(status) => self.tell_exit(status).await,
            Report::Notified(text) => self.tell_notification(&text).await,
            Report::Progressed => self.inner.tell(Fact::Progressed { instance }).await,
            Report::Gone(report) => {
                self.inner.remember_end(&instance, &report);
                self.end(Fact::Gone { instance, report }).await;
            }
            Report::Executed(_) => {}
        }
    }

    async fn tell_standing(&mut self, standing: Standing) {
        if self.told < Told::Started {
            self.told = Told::Started;
            let fact = Fact::Started {
                instance: self.instance.clone(),
                pid: standing.main.pid.unsigned_abs(),
                at: standing.at,
                image: None,
            };
            self.inner.tell(fact).await;
        }
        if !standing.notified.is_empty() {
            self.tell_notification(&standing.notified).await;
        }
        if let Some(status) = standing.exited {
            self.tell_exit(status).await;
        }
    }

    async fn tell_exit(&mut self, status: ExitStatus) {
        if self.told < Told::MainExited {
            self.told = Told::MainExited;
            let instance = self.instance.clone();
            self.inner.tell(Fact::MainExited { instance, status }).await;
        }
    }

    async fn tell_notification(&self, text: &str) {
        let Parsed::Message(notification, _ignored) = Notification::parse(text.as_bytes()) else {
            return;
        };
        let instance = self.instance.clone();
        self.inner
            .tell(Fact::Notified {
                instance,
                notification,
            })
            .await;
    }

    async fn end(&mut self, fact: Fact) {
        if self.told < Told::End {
            self.told = Told::End;
            // Before the fact: its answer may be an order for the next life.
            self.inner.forget(&self.instance);
            self.inner.tell(fact).await;
        }
    }

    /// The shim hung up: because it is done, because we were slow, or because it died.
    async fn settle(&mut self) -> Option<Connection> {
        if self.told == Told::End {
            return None;
        }
        let (inner, instance) = (Arc::clone(&self.inner), self.instance.clone());
        let inspected = tokio::task::spawn_blocking(move || inspect::inspect(&inner, &instance));
        // The runtime is ending when this fails: nobody is left to tell.
        let found = inspected.await.ok()?;
        let instance = self.instance.clone();
        match found {
            Found::Alive { stream, .. } => return connect(stream),
            Found::Ended(report) => self.tell(Report::Gone(report)).await,
            Found::Lost => self.end(Fact::Lost { instance }).await,
            Found::NeverStarted if self.told == Told::Nothing => {
                let error = SpawnError {
                    stage: SpawnStage::Fork,
                    errno: 0,
                    detail: format!("the shim of `{instance}` died before it started anything"),
                };
                self.end(Fact::SpawnFailed { instance, error }).await;
            }
            Found::NeverStarted => self.end(Fact::Lost { instance }).await,
        }
        None
    }
}

/// Hands a connected stream to the runtime.
pub(super) fn connect(stream: std::os::unix::net::UnixStream) -> Option<Connection> {
    stream.set_nonblocking(true).ok()?;
    UnixStream::from_std(stream).ok().map(Connection::new)
}
