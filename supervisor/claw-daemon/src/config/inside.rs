//! Servers in sandboxes: a network of its own hides what an agent serves.

use claw_core::AgentSpec;
use claw_core::spec::Check;
use claw_core::spec::sandbox::{Capture, Reach};

use super::diagnostic::{Code, Diagnostic};
use super::item::Fields;
use super::reader::Reader;

impl Reader<'_> {
    /// Warns of a server that nobody reaches but the supervisor's probes, unless something is said
    /// of its network: then it was thought of.
    pub(super) fn serves_inside(&mut self, fields: &Fields<'_>, spec: &AgentSpec) {
        let network = spec.launch.sandbox.as_ref().map(|sandbox| &sandbox.network);
        let unsaid = match network {
            Some(Reach::Listed(list)) => {
                list.allowed.is_empty() && list.capture != Capture::Nothing
            }
            Some(Reach::Host) | None => false,
        };
        let probes = [
            &spec.probes.startup,
            &spec.probes.liveness,
            &spec.probes.readiness,
        ];
        let mut ports = probes
            .into_iter()
            .flatten()
            .filter_map(|probe| match probe.check {
                Check::Http { port, .. } | Check::Tcp { port, .. } => Some(port),
                Check::Exec { .. } | Check::Heartbeat => None,
            });
        let (true, Some(port), Some(item)) = (unsaid, ports.next(), fields.get("health_check"))
        else {
            return;
        };
        let message =
            format!("its sandbox has a network of its own: only its probes reach port {port}");
        let help = "write `sandbox: {network: host}` if others are to reach it, or `sandbox: {network: none}` if nobody is";
        self.problems.push(
            Diagnostic::warning(Code::Conflict, message)
                .at(item.key.unwrap_or(item.span()))
                .path(item.path)
                .help(help),
        );
    }
}
