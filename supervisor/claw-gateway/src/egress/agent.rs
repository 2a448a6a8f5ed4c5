//! What all connections of one agent share, and how one of them gets through.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::net::TcpStream;
use tokio::sync::watch;

use super::decision::{DecisionLog, Entrance, Subject, Verdict};
use super::dial::{DialError, dial};
use super::fake_addresses::FakeAddresses;
use super::head::Authority;
use super::limits::{ConnectRate, Limits, Taken};
use super::meter::ByteBudget;
use super::policy::{Denial, EgressPolicy, Host, Reason};
use super::resolve::Resolver;
use super::response::{Refusal, chain};

/// What a reload may exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where the agent may go.
    pub policy: EgressPolicy,
    /// How much of it.
    pub limits: Limits,
}

/// What all connections of one agent share.
pub(super) struct Agent {
    pub(super) settings: watch::Receiver<Arc<Settings>>,
    pub(super) resolver: Arc<dyn Resolver>,
    /// `None`: nothing is captured, and no name has an address.
    pub(super) names: Option<Mutex<FakeAddresses>>,
    pub(super) log: DecisionLog,
    pub(super) bytes: Arc<ByteBudget>,
    pub(super) open: AtomicU32,
    pub(super) connects: Mutex<ConnectRate>,
    pub(super) started: Instant,
}

/// A host that was allowed and reached.
pub(super) struct Opened<'a> {
    pub(super) upstream: TcpStream,
    pub(super) target: Authority,
    pub(super) address: SocketAddr,
    pub(super) subject: Subject,
    pub(super) slot: TunnelSlot<'a>,
    /// Has seen the settings that allowed it, and no later ones.
    pub(super) settings: watch::Receiver<Arc<Settings>>,
}

/// One of the connections that may be open at a time.
pub(super) struct TunnelSlot<'a>(&'a AtomicU32);

impl Drop for TunnelSlot<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Agent {
    pub(super) fn current(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// The host behind an address: the name it stands for, or the address itself.
    pub(super) fn behind(&self, address: IpAddr) -> Result<Host, Reason> {
        let Some(names) = &self.names else {
            return Ok(Host::Address(address));
        };
        let names = names.lock().unwrap_or_else(PoisonError::into_inner);
        match names.name_of(address) {
            Some(name) => Ok(Host::Name(name.clone())),
            None if names.contains(address) => Err(Reason::UnknownAddress(address)),
            None => Ok(Host::Address(address)),
        }
    }

    /// Judges a request and reaches its host; a refusal is on record when this returns.
    pub(super) async fn open(
        &self,
        entrance: Entrance,
        asked: &Authority,
    ) -> Result<Opened<'_>, Refusal> {
        let mut seen = self.settings.clone();
        let settings = Arc::clone(&seen.borrow_and_update());
        let policy = &settings.policy;
        let (target, rule) = self
            .judged(policy, asked)
            .map_err(|denial| self.denied(entrance, denial))?;
        let slot = self
            .slot(&settings)
            .map_err(|reason| self.refused(entrance, &target, reason))?;
        if let Some(limit) = settings.limits.connects_per_minute {
            let mut rate = self.connects.lock().unwrap_or_else(PoisonError::into_inner);
            if let Taken::No { retry_after } = rate.take(limit, self.started.elapsed()) {
                let reason = Reason::TooManyConnects(limit.get());
                let denial = policy.denial(target.host.to_string(), target.port, reason);
                self.log.deny(entrance, denial.clone());
                return Err(Refusal::Later {
                    denial,
                    retry_after,
                });
            }
        }
        let Authority { host, port } = &target;
        let dialled = dial(host, *port, policy, &settings.limits, &*self.resolver).await;
        let subject = Subject {
            entrance,
            host: host.to_string(),
            port: *port,
            address: dialled.as_ref().ok().map(|(_, address)| address.ip()),
            rule: Some(rule),
        };
        match dialled {
            Ok((upstream, address)) => Ok(Opened {
                upstream,
                target,
                address,
                subject,
                slot,
                settings: seen,
            }),
            Err(DialError::Denied(denial)) => Err(self.denied(entrance, denial)),
            Err(error) => {
                let verdict = Verdict::Unreachable(chain(&error));
                self.log.record(subject, verdict);
                Err(Refusal::Unreachable(error))
            }
        }
    }

    /// Puts a denial on record.
    pub(super) fn refused(
        &self,
        entrance: Entrance,
        target: &Authority,
        reason: Reason,
    ) -> Refusal {
        let policy = &self.current().policy;
        self.denied(
            entrance,
            policy.denial(target.host.to_string(), target.port, reason),
        )
    }

    /// Puts a denial on record.
    pub(super) fn denied(&self, entrance: Entrance, denial: Denial) -> Refusal {
        self.log.deny(entrance, denial.clone());
        Refusal::Denied(denial)
    }

    fn judged(
        &self,
        policy: &EgressPolicy,
        asked: &Authority,
    ) -> Result<(Authority, super::policy::Source), Denial> {
        let port = asked.port;
        let host = match &asked.host {
            Host::Address(address) => self
                .behind(*address)
                .map_err(|reason| policy.denial(address.to_string(), port, reason))?,
            name @ Host::Name(_) => name.clone(),
        };
        let rule = policy.judge(&host, port)?.clone();
        Ok((Authority { host, port }, rule))
    }

    fn slot(&self, settings: &Settings) -> Result<TunnelSlot<'_>, Reason> {
        if self.bytes.is_spent() {
            return Err(Reason::TooManyBytes(self.bytes.limit()));
        }
        let most = settings.limits.max_tunnels;
        let taken = self
            .open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
                (open < most).then_some(open + 1)
            });
        match taken {
            Ok(_) => Ok(TunnelSlot(&self.open)),
            Err(_) => Err(Reason::TooManyTunnels(most)),
        }
    }
}
