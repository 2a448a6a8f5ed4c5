//! What containers of a fleet must not share: ports of the host, and the supervisor's own files.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use claw_core::name::AgentName;
use claw_core::spec::container::{MountSource, Port, PortProtocol};

use super::agent::Agent;
use super::diagnostic::Code;
use super::item::Item;
use super::reader::Reader;
use super::supervisor::SupervisorConfig;

/// A port of the host that an agent has.
struct Taken<'n> {
    port: Port,
    name: &'n AgentName,
    item: Item<'n>,
}

impl Reader<'_> {
    /// A port of the host is one container's, and not the supervisor's own.
    pub(super) fn ports_are_apart(
        &mut self,
        agents: &BTreeMap<AgentName, Agent<'_>>,
        supervisor: &SupervisorConfig,
    ) {
        let mut taken: Vec<Taken<'_>> = Vec::new();
        for (name, agent) in agents {
            let (Some(container), Some(item)) =
                (&agent.spec.launch.container, agent.fields.get("ports"))
            else {
                continue;
            };
            if agent.replicas > 1 {
                let message = "each of the replicas would open the same ports of the host";
                let help = "remove `ports` or `replicas`";
                self.key_error(&item, Code::Conflict, message, help);
            }
            for port in container.ports.iter().copied() {
                self.not_of_the_api(port, &item, supervisor);
                let item = item.clone();
                let new = Taken { port, name, item };
                if let Some(other) = taken.iter().find(|other| clash(&other.port, &port)) {
                    self.port_clash(other, &new);
                }
                taken.push(new);
            }
        }
    }

    fn not_of_the_api(&mut self, port: Port, item: &Item<'_>, supervisor: &SupervisorConfig) {
        let number = port.host_port;
        let ours = supervisor.listen.is_some_and(|listen| {
            port.protocol == PortProtocol::Tcp
                && listen.port() == number
                && meet(listen.ip(), port.host_ip)
        });
        if ours {
            let message = format!("port {number} of the host is the control API's");
            let help = "name another port, or set `supervisor: {listen: …}`";
            self.key_error(item, Code::Conflict, &message, help);
        }
    }

    fn port_clash(&mut self, first: &Taken<'_>, second: &Taken<'_>) {
        let number = second.port.host_port;
        let help = "give each a port of its own";
        if first.name == second.name {
            let message = format!("port {number} of the host is listed twice");
            self.key_error(&second.item, Code::Conflict, &message, help);
        } else {
            let (one, other) = (first.name, second.name);
            let message = format!("`{one}` and `{other}` open port {number} of the host");
            let both = [first.item.clone(), second.item.clone()];
            self.only_one(&both, &message, help);
        }
    }

    /// Who can open the supervisor's sockets and keys can do what the supervisor can.
    pub(super) fn volumes_are_apart(
        &mut self,
        agents: &BTreeMap<AgentName, Agent<'_>>,
        supervisor: &SupervisorConfig,
    ) {
        let engine = supervisor.engine.as_deref();
        let engine = engine.and_then(|address| address.strip_prefix("unix://"));
        for (name, agent) in agents {
            let (Some(container), Some(item)) =
                (&agent.spec.launch.container, agent.fields.get("volumes"))
            else {
                continue;
            };
            for mount in &container.mounts {
                let MountSource::Path(path) = &mount.source else {
                    continue;
                };
                if covers(path, &supervisor.data_dir) || path.starts_with(&supervisor.data_dir) {
                    let message = format!(
                        "a volume of `{name}` shows it the supervisor's own directory, with its sockets and keys"
                    );
                    let help = "mount directories beside `supervisor.data_dir`, or set that to one outside";
                    self.key_error(&item, Code::Conflict, &message, help);
                }
                if engine.is_some_and(|engine| covers(path, Path::new(engine))) {
                    let message = format!(
                        "a volume of `{name}` shows it the socket of the container engine: whoever has it is root of the machine"
                    );
                    let help = "mount the one directory that the agent needs";
                    self.key_error(&item, Code::Conflict, &message, help);
                }
            }
        }
    }
}

/// Whether a directory is another one or leads to it, also behind links.
fn covers(outer: &Path, inner: &Path) -> bool {
    let resolved = |path: &Path| {
        path.canonicalize()
            .unwrap_or_else(|_absent| path.to_owned())
    };
    inner.starts_with(outer) || resolved(inner).starts_with(resolved(outer))
}

fn clash(one: &Port, other: &Port) -> bool {
    one.host_port == other.host_port
        && one.protocol == other.protocol
        && meet(one.host_ip, other.host_ip)
}

/// Whether two listeners on a port would be in each other's way.
fn meet(one: IpAddr, other: IpAddr) -> bool {
    one == other || one.is_unspecified() || other.is_unspecified()
}
