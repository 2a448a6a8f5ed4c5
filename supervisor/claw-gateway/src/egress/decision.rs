//! What was decided about each request, for the audit and for `why-blocked`.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::policy::{Denial, Source};

/// The different denials that are remembered for each agent.
const MAX_REMEMBERED: usize = 64;

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrance {
    /// CONNECT at the proxy's port.
    Connect,
    /// Plain HTTP at the proxy's port.
    Http,
    /// A connection to port 443 that was captured.
    CapturedTls,
    /// A connection to port 80 that was captured.
    CapturedHttp,
    /// A DNS query.
    Dns,
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// When.
    pub at: Timestamp,
    /// Whose request it was.
    pub agent: Arc<str>,
    /// How it came.
    pub entrance: Entrance,
    /// The host that was asked for, as far as it could be read.
    pub host: String,
    /// The port that was asked for; 0 if that could not be read.
    pub port: u16,
    /// The address that was dialled.
    pub address: Option<IpAddr>,
    /// The line of the fleet file that decided.
    pub rule: Option<Source>,
    /// What was decided.
    pub verdict: Verdict,
}

/// What was decided, or came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It was allowed, and the host was reached. If the client then names another host in TLS, a
    /// denial follows.
    Allowed,
    /// It was denied.
    Denied(Denial),
    /// It was allowed, but the host could not be reached.
    Unreachable(String),
    /// A connection that had been allowed has ended.
    Closed {
        /// Bytes from the agent.
        sent: u64,
        /// Bytes to the agent.
        received: u64,
        /// How long it was open.
        open: Duration,
        /// Why it ended.
        cause: CloseCause,
    },
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCause {
    /// Both sides were done, or one went away.
    Ended,
    /// Nothing was sent for too long.
    Idle,
    /// The policy no longer allows it.
    PolicyChanged,
    /// As many bytes went through as may.
    TooManyBytes,
    /// The proxy was stopped.
    Stopped,
}

/// A denial, and how often it came again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RememberedDenial {
    /// The denial.
    pub denial: Denial,
    /// How the latest of them came.
    pub entrance: Entrance,
    /// When it came first.
    pub first: Timestamp,
    /// When it came last.
    pub last: Timestamp,
    /// How often it came, at least once.
    pub count: u64,
}

/// Numbers of one agent's proxy since it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Requests that were allowed and reached their host.
    pub allowed: u64,
    /// Requests that were denied.
    pub denied: u64,
    /// Requests that were allowed and did not reach their host.
    pub unreachable: u64,
    /// Decisions that found no room in the channel.
    pub dropped: u64,
    /// Bytes that went through, both ways together.
    pub bytes: u64,
    /// Connections that are open now.
    pub open: u32,
}

/// Where the decisions of one agent go. It never waits.
pub(super) struct DecisionLog {
    agent: Arc<str>,
    channel: mpsc::Sender<Decision>,
    denials: Mutex<VecDeque<RememberedDenial>>,
    allowed: AtomicU64,
    denied: AtomicU64,
    unreachable: AtomicU64,
    dropped: AtomicU64,
}

/// What a decision is about.
#[derive(Clone)]
pub(super) struct Subject {
    pub(super) entrance: Entrance,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) address: Option<IpAddr>,
    pub(super) rule: Option<Source>,
}

impl DecisionLog {
    pub(super) fn new(agent: Arc<str>, channel: mpsc::Sender<Decision>) -> Self {
        Self {
            agent,
            channel,
            denials: Mutex::default(),
            allowed: AtomicU64::new(0),
            denied: AtomicU64::new(0),
            unreachable: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    pub(super) fn record(&self, subject: Subject, verdict: Verdict) {
        let at = Timestamp::now();
        match &verdict {
            Verdict::Allowed => count(&self.allowed),
            Verdict::Denied(denial) => {
                count(&self.denied);
                self.remember(denial, subject.entrance, at);
            }
            Verdict::Unreachable(_) => count(&self.unreachable),
            Verdict::Closed { .. } => {}
        }
        let decision = Decision {
            at,
            agent: Arc::clone(&self.agent),
            entrance: subject.entrance,
            host: subject.host,
            port: subject.port,
            address: subject.address,
            rule: subject.rule,
            verdict,
        };
        if self.channel.try_send(decision).is_err() {
            count(&self.dropped);
        }
    }

    pub(super) fn deny(&self, entrance: Entrance, denial: Denial) {
        let subject = Subject {
            entrance,
            host: denial.host.clone(),
            port: denial.port,
            address: None,
            rule: denial.reason.rule().cloned(),
        };
        self.record(subject, Verdict::Denied(denial));
    }

    /// The latest denials, the latest last.
    pub(super) fn denials(&self) -> Vec<RememberedDenial> {
        let denials = self.denials.lock().unwrap_or_else(PoisonError::into_inner);
        denials.iter().cloned().collect()
    }

    pub(super) fn counters(&self) -> Counters {
        Counters {
            allowed: self.allowed.load(Ordering::Relaxed),
            denied: self.denied.load(Ordering::Relaxed),
            unreachable: self.unreachable.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            ..Counters::default()
        }
    }

    /// The same denial again is counted, so that one that is repeated does not drive out others.
    fn remember(&self, denial: &Denial, entrance: Entrance, at: Timestamp) {
        let mut denials = self.denials.lock().unwrap_or_else(PoisonError::into_inner);
        let known = denials.iter().position(|known| known.denial == *denial);
        let mut entry = known.and_then(|at| denials.remove(at)).unwrap_or_else(|| {
            let denial = denial.clone();
            RememberedDenial {
                denial,
                entrance,
                first: at,
                last: at,
                count: 0,
            }
        });
        entry.entrance = entrance;
        entry.last = at;
        entry.count += 1;
        if denials.len() >= MAX_REMEMBERED {
            denials.pop_front();
        }
        denials.push_back(entry);
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::super::policy::{EgressPolicy, EgressRules, Reason};
    use super::*;

    #[test]
    fn denials_are_counted_and_bounded_and_nobody_waits() {
        let (channel, mut decisions) = mpsc::channel(2);
        let log = DecisionLog::new("coder".into(), channel);
        let policy = EgressPolicy::new(&EgressRules::default()).expect("rules");
        let deny = |host: String| {
            log.deny(
                Entrance::Connect,
                policy.denial(host, 443, Reason::NotListed),
            );
        };
        deny("often".to_owned());
        for number in 0..MAX_REMEMBERED + 5 {
            deny(format!("h{number}"));
            deny("often".to_owned());
        }
        let denials = log.denials();
        assert_eq!(denials.len(), MAX_REMEMBERED);
        let last = denials.last().expect("a denial");
        assert_eq!((last.denial.host.as_str(), last.count), ("often", 70));
        let counters = log.counters();
        assert_eq!((counters.denied, counters.dropped), (139, 137));
        let first = decisions.try_recv().expect("a decision");
        assert_eq!(
            (first.host.as_str(), first.agent.as_ref()),
            ("often", "coder")
        );
    }
}
