//! What one instance makes of its access to models: the calls in flight, the requests that fail
//! again and again, and the outage that it met last.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::{Mono, Now, Wall};
use crate::death::{Cause, NoProgress};
use crate::models::{CallFailure, CallId, ModelCall, ProviderName, RequestHash};
use crate::spec::Breaker;

/// So many calls of one instance are watched at once; more speak for it no better.
const MAX_FLIGHTS: usize = 256;

/// No call speaks for its agent longer than this without a sign of its own, whatever its limit.
const MAX_LIMIT: Duration = Duration::from_secs(3600);

/// Of so many different requests the failures are counted; the one that failed longest ago makes
/// place. An agent that repeats itself needs one.
const MAX_REQUESTS: usize = 32;

/// How long after a call that met an outage an end is laid to it.
const OUTAGE_COUNTS: Duration = Duration::from_secs(600);

/// The calls of an instance that are on their way.
#[derive(Debug, Default)]
pub(crate) struct Flights(Vec<Flight>);

#[derive(Debug)]
struct Flight {
    call: CallId,
    limit: Duration,
    until: Mono,
}

impl Flights {
    /// Takes note of what is told of calls.
    pub(crate) fn note(&mut self, call: &ModelCall, now: Mono) {
        match call {
            ModelCall::Began { call, limit } => {
                self.0
                    .retain(|flight| flight.call != *call && flight.until > now);
                let limit = (*limit).min(MAX_LIMIT);
                if self.0.len() < MAX_FLIGHTS {
                    self.0.push(Flight {
                        call: *call,
                        limit,
                        until: now + limit,
                    });
                }
            }
            ModelCall::Progressed { call } => {
                let flight = self.0.iter_mut().find(|flight| flight.call == *call);
                if let Some(flight) = flight {
                    flight.until = now + flight.limit;
                }
            }
            ModelCall::Ended { call } => self.0.retain(|flight| flight.call != *call),
            ModelCall::Answered { .. }
            | ModelCall::Failed { .. }
            | ModelCall::ProviderOut { .. } => {}
        }
    }

    /// Until when calls in flight speak for their agent.
    pub(crate) fn until(&self) -> Option<Mono> {
        self.0.iter().map(|flight| flight.until).max()
    }

    /// Nothing of `gap` counts.
    pub(crate) fn shift(&mut self, gap: Duration) {
        for flight in &mut self.0 {
            flight.until = flight.until + gap;
        }
    }
}

/// What became of the requests of an instance.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    /// Those that failed since the last one that was answered.
    failed: Vec<Failed>,
    /// Whose outage the last one met, if none was answered since.
    outage: Option<(ProviderName, Mono)>,
}

#[derive(Debug)]
struct Failed {
    request: RequestHash,
    failure: CallFailure,
    /// When, the latest last.
    times: VecDeque<(Mono, Wall)>,
}

impl Requests {
    /// Takes note of what is told of requests; a cause to end the instance may come of it.
    pub(crate) fn note(&mut self, call: ModelCall, now: Now, breaker: &Breaker) -> Option<Cause> {
        match call {
            ModelCall::Began { .. } | ModelCall::Progressed { .. } | ModelCall::Ended { .. } => {
                None
            }
            ModelCall::Answered { .. } => {
                *self = Self::default();
                None
            }
            ModelCall::ProviderOut { provider } => {
                self.outage = Some((provider, now.mono));
                None
            }
            ModelCall::Failed { request, failure } => {
                self.outage = None;
                self.fail(request, failure.brief(), now, breaker)
            }
        }
    }

    /// The provider whose outage an end just now is laid to.
    pub(crate) fn outage(&self, now: Mono) -> Option<&ProviderName> {
        let (provider, at) = self.outage.as_ref()?;
        (now.since(*at) <= OUTAGE_COUNTS).then_some(provider)
    }

    fn fail(
        &mut self,
        request: RequestHash,
        failure: CallFailure,
        now: Now,
        breaker: &Breaker,
    ) -> Option<Cause> {
        let failed = self.of(request, failure);
        let recent = |(at, _): &(Mono, Wall)| now.mono.since(*at) <= breaker.within;
        failed.times.retain(recent);
        failed.times.push_back((now.mono, now.wall));
        let most = usize::from(breaker.calls.get());
        if failed.times.len() < most {
            return None;
        }
        let (_, since) = *failed.times.front()?;
        Some(Cause::NoProgress(Box::new(NoProgress {
            failure: failed.failure.clone(),
            calls: u32::try_from(failed.times.len()).unwrap_or(u32::MAX),
            since,
        })))
    }

    /// What is counted of a request that failed in this way, now with the newest text.
    fn of(&mut self, request: RequestHash, failure: CallFailure) -> &mut Failed {
        let same = |failed: &Failed| failed.request == request && failed.failure.is_like(&failure);
        let found = self.failed.iter().position(same);
        let index = found.unwrap_or_else(|| {
            if self.failed.len() >= MAX_REQUESTS {
                let last = |failed: &Failed| failed.times.back().map(|(at, _)| *at);
                let oldest = (0..self.failed.len()).min_by_key(|index| last(&self.failed[*index]));
                self.failed.swap_remove(oldest.unwrap_or(0));
            }
            self.failed.push(Failed {
                request,
                failure: failure.clone(),
                times: VecDeque::new(),
            });
            self.failed.len() - 1
        });
        let failed = &mut self.failed[index];
        failed.failure = failure;
        failed
    }
}

#[cfg(test)]
mod tests;
