//! A connection that was allowed: the first words of its client are checked, then bytes are copied
//! until somebody has enough.
//!
//! ```text
//!   opened ──► first words ──► copying ──► closed, with its cause on record
//!                  │ denied
//!                  ▼
//!             the client comes back, to be told
//! ```

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::agent::{Agent, Opened, Settings, TunnelSlot};
use super::client_hello::{HelloError, HelloReader, ServerName};
use super::decision::{CloseCause, Subject, Verdict};
use super::head::Authority;
use super::meter::Metered;
use super::policy::{Host, Reason, SniRule};

/// The buffer of each direction, in bytes. With a quarter of it a third of the throughput is lost; pages
/// that a quiet tunnel never fills are never taken of the memory.
const BUFFER: usize = 256 * 1024;

/// How much is read of a client's first words at a time, in bytes.
const WORDS: usize = 4096;

/// The first byte of TLS.
const TLS: u8 = 22;

/// What a client must say first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FirstWords {
    /// TLS for the host the connection was opened for.
    Tls,
    /// Anything; but if it is TLS, then for that host.
    TlsIfAny,
    /// They were read and judged already.
    Known,
}

/// A connection between a client and a host.
pub(super) struct Tunnel<'a> {
    agent: &'a Agent,
    client: Metered,
    upstream: Metered,
    target: Authority,
    address: SocketAddr,
    subject: Subject,
    settings: watch::Receiver<Arc<Settings>>,
    sent: Arc<AtomicU64>,
    received: Arc<AtomicU64>,
    opened: Instant,
    slot: TunnelSlot<'a>,
}

/// A client whose first words are not allowed.
pub(super) struct Denied {
    pub(super) client: TcpStream,
    pub(super) target: Authority,
    pub(super) reason: Reason,
}

enum Words {
    /// To be sent on.
    Said(Vec<u8>),
    /// There will be none.
    Over(CloseCause),
}

impl<'a> Tunnel<'a> {
    pub(super) fn new(agent: &'a Agent, client: TcpStream, opened: Opened<'a>) -> Self {
        for stream in [&client, &opened.upstream] {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::trace!(%error, "a connection of an agent keeps small packets back");
            }
        }
        let client = Metered::new(client, &agent.bytes);
        let upstream = Metered::new(opened.upstream, &agent.bytes);
        Self {
            agent,
            sent: client.count(),
            received: upstream.count(),
            client,
            upstream,
            target: opened.target,
            address: opened.address,
            subject: opened.subject,
            settings: opened.settings,
            opened: Instant::now(),
            slot: opened.slot,
        }
    }

    /// Tells the client something before anything is copied.
    pub(super) async fn tell(&mut self, answer: &[u8]) -> io::Result<()> {
        self.client.write_all(answer).await
    }

    /// Runs until the connection is over. `said` is what the client has sent already.
    ///
    /// # Errors
    /// When the client's first words are not allowed.
    pub(super) async fn run(
        mut self,
        said: Vec<u8>,
        first: FirstWords,
        stopping: &CancellationToken,
    ) -> Result<(), Denied> {
        let settings = self.agent.current();
        self.agent
            .log
            .record(self.subject.clone(), Verdict::Allowed);
        self.client.add(said.len());
        let words = self.first_words(said, first, &settings);
        let cause = match stopping.run_until_cancelled(words).await {
            None => CloseCause::Stopped,
            Some(Ok(Words::Said(words))) => self.copy(&words, settings.limits.idle, stopping).await,
            Some(Ok(Words::Over(cause))) => cause,
            Some(Err(reason)) => {
                return Err(Denied {
                    client: self.client.into_inner(),
                    target: self.target,
                    reason,
                });
            }
        };
        let verdict = Verdict::Closed {
            sent: self.sent.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            open: self.opened.elapsed(),
            cause,
        };
        self.agent.log.record(self.subject, verdict);
        drop(self.slot);
        Ok(())
    }

    async fn first_words(
        &mut self,
        said: Vec<u8>,
        first: FirstWords,
        settings: &Settings,
    ) -> Result<Words, Reason> {
        match first {
            FirstWords::Tls => self.tls(said, settings).await,
            FirstWords::TlsIfAny => self.tls_if_any(said, settings).await,
            FirstWords::Known => Ok(Words::Said(said)),
        }
    }

    async fn copy(
        &mut self,
        words: &[u8],
        idle: Duration,
        stopping: &CancellationToken,
    ) -> CloseCause {
        let (client, upstream) = (&mut self.client, &mut self.upstream);
        let copying = async {
            upstream.write_all(words).await?;
            copy_bidirectional_with_sizes(client, upstream, BUFFER, BUFFER).await
        };
        tokio::pin!(copying);
        let seen = || self.sent.load(Ordering::Relaxed) + self.received.load(Ordering::Relaxed);
        let mut quiet = Quiet::new(idle, seen());
        loop {
            tokio::select! {
                // What is not allowed any more must not send another byte.
                biased;
                () = stopping.cancelled() => return CloseCause::Stopped,
                () = denied(&mut self.settings, &self.target, self.address) => {
                    return CloseCause::PolicyChanged;
                }
                () = quiet.tick() => if quiet.is_over(seen()) {
                    return CloseCause::Idle;
                },
                _end = &mut copying => return end(self.agent),
            }
        }
    }

    /// Reads the first message of TLS and compares the host it names.
    async fn tls(&mut self, said: Vec<u8>, settings: &Settings) -> Result<Words, Reason> {
        let mut reader = HelloReader::default();
        let mut words = said;
        let reading = async {
            loop {
                match reader.push(&words) {
                    Ok(Some(name)) => return Ok(Some(name)),
                    Ok(None) => words.clear(),
                    Err(HelloError::Host { text, .. }) => {
                        return Err(Reason::OtherServerName(text));
                    }
                    Err(HelloError::NotTls | HelloError::TooLong) => return Err(Reason::NotTls),
                }
                words.reserve(WORDS);
                match self.client.read_buf(&mut words).await {
                    Ok(0) | Err(_) => return Ok(None),
                    Ok(_) => {}
                }
            }
        };
        let name = timeout(settings.limits.handshake, reading)
            .await
            .map_err(|_elapsed| Reason::BadRequest("no TLS was begun in time"))??;
        let Some(name) = name else {
            return Ok(Words::Over(CloseCause::Ended));
        };
        fits(&self.target.host, &name, settings.policy.sni())?;
        Ok(Words::Said(reader.into_bytes()))
    }

    /// Waits for the client's first words; what the host says first, as hosts of SSH do, goes to
    /// the client meanwhile.
    async fn tls_if_any(&mut self, said: Vec<u8>, settings: &Settings) -> Result<Words, Reason> {
        let mut words = said;
        let mut greeting = Vec::with_capacity(WORDS);
        while words.is_empty() {
            tokio::select! {
                biased;
                () = denied(&mut self.settings, &self.target, self.address) => {
                    return Ok(Words::Over(CloseCause::PolicyChanged));
                }
                read = self.client.read_buf(&mut words) => match read {
                    Ok(0) => return Ok(Words::Said(words)),
                    Ok(_) => {}
                    Err(_gone) => return Ok(Words::Over(end(self.agent))),
                },
                read = self.upstream.read_buf(&mut greeting) => match read {
                    Ok(1..) if self.client.write_all(&greeting).await.is_ok() => greeting.clear(),
                    // A host that ends before it was asked has nothing to be asked.
                    Ok(_) | Err(_) => return Ok(Words::Over(end(self.agent))),
                },
                () = sleep(settings.limits.idle) => return Ok(Words::Over(CloseCause::Idle)),
            }
        }
        if words.first() == Some(&TLS) {
            return self.tls(words, settings).await;
        }
        Ok(Words::Said(words))
    }
}

/// Why a stream ended: by itself, or because the agent's bytes are spent.
fn end(agent: &Agent) -> CloseCause {
    if agent.bytes.is_spent() {
        CloseCause::TooManyBytes
    } else {
        CloseCause::Ended
    }
}

/// Waits until the settings deny what they allowed; for ever, if they are never exchanged.
async fn denied(
    settings: &mut watch::Receiver<Arc<Settings>>,
    target: &Authority,
    address: SocketAddr,
) {
    while settings.changed().await.is_ok() {
        let policy = &settings.borrow_and_update().policy;
        let Authority { host, port } = target;
        let allowed = policy.judge(host, *port).is_ok();
        if !allowed || policy.check(host, *port, &[address.ip()]).is_err() {
            return;
        }
    }
    std::future::pending().await
}

/// Whether nothing has been sent for too long.
struct Quiet {
    interval: tokio::time::Interval,
    idle: Duration,
    seen: u64,
    since: Instant,
}

impl Quiet {
    fn new(idle: Duration, seen: u64) -> Self {
        // Four looks in the time make the end late by a quarter at most.
        let step = (idle / 4).max(Duration::from_millis(1));
        let since = Instant::now();
        let mut interval = interval_at(since + step, step);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            interval,
            idle,
            seen,
            since,
        }
    }

    async fn tick(&mut self) {
        self.interval.tick().await;
    }

    fn is_over(&mut self, seen: u64) -> bool {
        if seen != self.seen {
            (self.seen, self.since) = (seen, Instant::now());
        }
        self.since.elapsed() >= self.idle
    }
}

/// Whether TLS names the host that the connection was opened for. An address has no name.
fn fits(target: &Host, name: &ServerName, rule: SniRule) -> Result<(), Reason> {
    match (name, target, rule) {
        (ServerName::Named(named), target, _) if named == target => Ok(()),
        (ServerName::Named(named), _, _) => Err(Reason::OtherServerName(named.to_string())),
        (ServerName::Missing, Host::Address(_), _)
        | (ServerName::Missing, Host::Name(_), SniRule::Optional) => Ok(()),
        (ServerName::Missing, Host::Name(_), SniRule::Required) => Err(Reason::NoServerName),
    }
}
