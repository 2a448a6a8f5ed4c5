//! One instance, as the supervisor follows it: facts in, requests out.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use claw_core::notification::{Notification, Parsed};
use claw_core::order::RunContext;
use claw_core::{AgentSpec, ExitStatus, Fact, InstanceId, SpawnError, SpawnStage};
use claw_failpoint::Step;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::config::EgressChange;
use super::driver::Inner;
use super::inspect::{self, Found};
use super::launch;
use super::mute::{self, Mute};
use crate::sandbox::{Ports, Sockets};

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
    /// What it was started from, as far as that is known.
    way_out: WayOut,
}

/// Whether somebody looks after what an instance connects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WayOut {
    None,
    Open,
}

/// A connection to a shim, which yields reports line by line.
pub(super) struct Connection {
    stream: UnixStream,
    /// What was read and is not used yet.
    text: Vec<u8>,
    /// What came along.
    descriptors: Vec<OwnedFd>,
}

impl Connection {
    pub(super) const fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            text: Vec::new(),
            descriptors: Vec::new(),
        }
    }

    /// The next report; `None` when the shim hung up. Unknown reports, from a newer shim, are
    /// skipped. May be cancelled: what was read of a line is kept.
    pub(super) async fn next(&mut self) -> Option<Report> {
        loop {
            while let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.text.drain(..=end).collect();
                match serde_json::from_slice(&line) {
                    Ok(report) => return Some(report),
                    Err(error) => tracing::debug!(%error, "a shim said something unknown"),
                }
            }
            if self.text.len() > LINE_LIMIT {
                return None;
            }
            self.stream.readable().await.ok()?;
            match self
                .stream
                .try_io(Interest::READABLE, || receive(&self.stream))
            {
                Ok((bytes, _)) if bytes.is_empty() => return None,
                Ok((bytes, descriptors)) => {
                    self.text.extend(bytes);
                    self.descriptors.extend(descriptors);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
    }

    /// What came along with where the instance stands, if it is all there.
    fn sockets(&mut self, said: Option<Ports>) -> Option<Sockets> {
        let descriptors = self.take_descriptors();
        let ports = said.unwrap_or_else(|| Ports::of_count(descriptors.len()));
        Sockets::from_descriptors(ports, descriptors)
    }

    /// A connection that came along, made in another network.
    pub(super) fn connected(&mut self) -> Option<std::net::TcpStream> {
        self.descriptors.pop().map(std::net::TcpStream::from)
    }

    /// Everything that came along.
    pub(super) fn take_descriptors(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.descriptors)
    }

    pub(super) async fn send(&mut self, request: &Request) {
        // A shim that hung up is found by the next read.
        self.stream.write_all(&wire::line(request)).await.ok();
    }
}

/// One reading from a shim, with what came along.
fn receive(stream: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut buffer = [0_u8; 1024];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(Sockets::COUNT))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        stream,
        &mut [IoSliceMut::new(&mut buffer)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
    )?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(sent) = message {
            descriptors.extend(sent);
        }
    }
    Ok((buffer[..received.bytes].to_vec(), descriptors))
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
            way_out: WayOut::None,
        }
    }

    /// Starts the instance and follows it.
    pub(super) async fn spawn(mut self, spec: Arc<AgentSpec>, run: Option<RunContext>) {
        let launched = launch::launch(&self.inner, &self.instance, &spec, run.as_ref()).await;
        drop(run);
        match launched {
            Ok(stream) => self.follow(Connection::new(stream)).await,
            Err(error) => {
                let instance = self.instance.clone();
                self.end(Fact::SpawnFailed { instance, error }).await;
            }
        }
    }

    /// Follows a shim that was connected to; `standing` is what it has said already.
    pub(super) async fn adopt(mut self, mut connection: Connection, standing: Option<Standing>) {
        if let Some(standing) = standing {
            self.open_way_out(&mut connection, &standing);
            self.tell_standing(standing).await;
        }
        self.follow(connection).await;
    }

    async fn follow(mut self, mut connection: Connection) {
        loop {
            tokio::select! {
                report = connection.next() => match report {
                    Some(report) => {
                        if let Report::Started(standing) = &report {
                            self.open_way_out(&mut connection, standing);
                        }
                        self.tell(report).await;
                    }
                    None => match self.settle().await {
                        Some(renewed) => connection = renewed,
                        None => return,
                    },
                },
                Some(request) = self.requests.recv() => {
                    claw_failpoint::before(Step::Signal);
                    connection.send(&request).await;
                    claw_failpoint::after(Step::Signal);
                }
            }
        }
    }

    /// Passes on the listeners of the instance, once.
    fn open_way_out(&mut self, connection: &mut Connection, standing: &Standing) {
        let instance = self.instance.clone();
        let Some(Sockets { hosts, models }) = connection.sockets(standing.ports) else {
            tracing::error!(%instance, "the agent reaches nothing: its listeners were lost on the way");
            return;
        };
        if hosts.is_none() && models.is_none() {
            return;
        }
        if let (WayOut::None, Some(egress)) = (self.way_out, &self.inner.egress) {
            self.way_out = WayOut::Open;
            let change = EgressChange::Opened {
                instance,
                listeners: hosts,
                models,
            };
            // Nobody reads it any more when the supervisor ends.
            egress.send(change).ok();
        }
    }

    fn close_way_out(&mut self) {
        if let (WayOut::Open, Some(egress)) = (self.way_out, &self.inner.egress) {
            self.way_out = WayOut::None;
            let instance = self.instance.clone();
            egress.send(EgressChange::Closed { instance }).ok();
        }
    }

    /// Follows an instance whose shim cannot be talked to, by what needs no words.
    pub(super) async fn watch(mut self, mute: Mute) {
        let fact = Fact::NeedsRestart {
            instance: self.instance.clone(),
            reason: mute.reason(&self.instance),
        };
        self.inner.tell(fact).await;
        loop {
            let looking = mute::release(&self.inner, &self.instance);
            tokio::select! {
                () = looking => match self.settle().await {
                    Some(connection) => return self.follow(connection).await,
                    None => return,
                },
                Some(request) = self.requests.recv() => {
                    mute.carry_out(&self.inner, &self.instance, request).await;
                }
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
            Report::Learned(calls) => self.inner.learned.note(&instance, calls),
            Report::Opened | Report::Executed(_) | Report::Connected(_) => {}
        }
    }

    async fn tell_standing(&mut self, standing: Standing) {
        self.inner.note_inside(&self.instance, &standing);
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
            self.close_way_out();
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
        let instance = self.instance.clone();
        match self.look().await? {
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
            Found::NeverStarted | Found::Foreign { .. } => self.end(Fact::Lost { instance }).await,
        }
        None
    }

    /// What became of the instance; of one whose shim cannot be talked to, once that is gone. `None`
    /// when the runtime is ending: nobody is left to tell.
    async fn look(&self) -> Option<Found> {
        loop {
            let (inner, instance) = (Arc::clone(&self.inner), self.instance.clone());
            let inspecting =
                tokio::task::spawn_blocking(move || inspect::inspect(&inner, &instance));
            match inspecting.await.ok()? {
                Found::Foreign { .. } => mute::release(&self.inner, &self.instance).await,
                found @ (Found::Alive { .. }
                | Found::Ended(_)
                | Found::Lost
                | Found::NeverStarted) => return Some(found),
            }
        }
    }
}

/// Hands a connected stream to the runtime.
pub(super) fn connect(stream: std::os::unix::net::UnixStream) -> Option<Connection> {
    stream.set_nonblocking(true).ok()?;
    UnixStream::from_std(stream).ok().map(Connection::new)
}
