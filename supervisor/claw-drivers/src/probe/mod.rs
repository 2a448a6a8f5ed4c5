//! Probes: made once when ordered, answered with what was seen.
//!
//! A check that could not be made is neither success nor failure: no descriptors left, a paused
//! supervisor. Nobody is restarted for that.

mod http;
mod reach;
mod refusal;
mod tcp;

use std::sync::Arc;
use std::time::{Duration, Instant};

use claw_core::spec::{Check, Probe};
use claw_core::{AgentSpec, ExitStatus, InstanceId, ProbeKind, ProbeOutcome, SpawnStage};

pub(crate) use reach::{Reach, is_loopback};

use crate::process::{ExecEnd, Execution, Inner, Kind, describe, execute};

/// A timer that fires this much later than planned says more about us than about the agent: the
/// supervisor was stopped, or starved.
const LATENESS: Duration = Duration::from_millis(500);

/// Makes a check.
pub(crate) async fn run(
    inner: &Arc<Inner>,
    instance: &InstanceId,
    kind: ProbeKind,
    spec: &AgentSpec,
) -> ProbeOutcome {
    let probe = match wanted(kind, spec) {
        Ok(probe) => probe,
        Err(outcome) => return outcome,
    };
    match &probe.check {
        Check::Exec { command } => {
            let execution = Execution {
                instance,
                spec,
                command,
                timeout: probe.timeout,
                kind: Kind::Probe,
            };
            run_command(inner, execution).await
        }
        Check::Http { host, .. } | Check::Tcp { host, .. } => {
            connect(probe, &reach(inner, instance, host, probe.timeout)).await
        }
        Check::Heartbeat => heartbeat(),
    }
}

/// An instance with a network of its own is asked there, where its own loopback is.
fn reach(inner: &Arc<Inner>, instance: &InstanceId, host: &str, limit: Duration) -> Reach {
    match inner.network_of(instance) {
        Some(inside) if is_loopback(host) => Reach::Sandbox(Arc::new(reach::Sandbox {
            inner: Arc::clone(inner),
            inside,
            limit,
        })),
        Some(_) | None => Reach::Host,
    }
}

/// The probe that is meant; the answer where there is none to be made.
pub(crate) fn wanted(kind: ProbeKind, spec: &AgentSpec) -> Result<&Probe, ProbeOutcome> {
    let probe = match kind {
        ProbeKind::Startup => &spec.probes.startup,
        ProbeKind::Liveness => &spec.probes.liveness,
        ProbeKind::Readiness => &spec.probes.readiness,
        ProbeKind::Progress => &None,
    };
    probe.as_ref().ok_or_else(|| {
        ProbeOutcome::Unknown(format!("there is no {kind} probe that a driver can run"))
    })
}

/// Makes a check that is a connection.
pub(crate) async fn connect(probe: &Probe, reach: &Reach) -> ProbeOutcome {
    match &probe.check {
        Check::Tcp { host, port } => within(probe, tcp::check(reach, host, *port)).await,
        Check::Http { .. } | Check::Exec { .. } | Check::Heartbeat => {
            within(probe, http::check(reach, &probe.check)).await
        }
    }
}

/// The answer to whoever orders what only the agent can do.
pub(crate) fn heartbeat() -> ProbeOutcome {
    ProbeOutcome::Unknown("a heartbeat is sent by the agent, no driver makes it".to_owned())
}

/// Gives a check its time.
async fn within(probe: &Probe, check: impl Future<Output = ProbeOutcome>) -> ProbeOutcome {
    let begun = Instant::now();
    match tokio::time::timeout(probe.timeout, check).await {
        Ok(outcome) => outcome,
        Err(_elapsed) => timed_out(probe.timeout, begun.elapsed()),
    }
}

pub(crate) fn timed_out(timeout: Duration, took: Duration) -> ProbeOutcome {
    if took > timeout + LATENESS {
        ProbeOutcome::Unknown(format!(
            "the supervisor itself was held up ({} ms for a timeout of {} ms)",
            took.as_millis(),
            timeout.as_millis()
        ))
    } else {
        ProbeOutcome::Failure(format!("no answer within {} ms", timeout.as_millis()))
    }
}

async fn run_command(inner: &Inner, execution: Execution<'_>) -> ProbeOutcome {
    let (begun, timeout) = (Instant::now(), execution.timeout);
    let report = execute(inner, execution).await;
    match report.end {
        ExecEnd::Exited(ExitStatus::Code(0)) => ProbeOutcome::Success,
        ExecEnd::Exited(status) => ProbeOutcome::Failure(describe(status, &report.output)),
        ExecEnd::TimedOut => timed_out(timeout, begun.elapsed()),
        ExecEnd::Failed(error) => match error.stage {
            // The command is not there, or may not be executed: that is the agent's own doing.
            SpawnStage::Exec | SpawnStage::WorkingDir => ProbeOutcome::Failure(error.detail),
            SpawnStage::Prepare
            | SpawnStage::Log
            | SpawnStage::Cgroup
            | SpawnStage::Limits
            | SpawnStage::User
            | SpawnStage::Fork
            | SpawnStage::Engine
            | SpawnStage::Image
            | SpawnStage::Sandbox => ProbeOutcome::Unknown(error.detail),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_that_fired_much_too_late_blames_nobody() {
        let timeout = Duration::from_secs(1);
        assert!(matches!(
            timed_out(timeout, Duration::from_millis(1100)),
            ProbeOutcome::Failure(_)
        ));
        assert!(matches!(
            timed_out(timeout, Duration::from_secs(60)),
            ProbeOutcome::Unknown(_)
        ));
    }
}
