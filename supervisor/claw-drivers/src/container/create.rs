//! From a spec to what the engine is told.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType, PortBinding, PortMap,
    ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};
use claw_core::order::RunContext;
use claw_core::spec::container::{
    Access, Exec, Init, MountSource, Network, Port, PortProtocol, RootFs, Seccomp, Tmpfs,
};
use claw_core::spec::{Check, Container, Resources};
use claw_core::{AgentSpec, InstanceId};

use nix::sys::resource::{Resource, getrlimit};

use super::engine::Make;
use super::name;
use crate::sandbox::proxy_variables;

/// Whoever an agent is inside that does not say: not root, and what most images call their user.
pub(super) const USER: &str = "1000:1000";

/// Agents are killed for memory before the engine and the supervisor are.
const OOM_SCORE_ADJ: i64 = 500;

/// What the engine keeps of the output, in case that nobody takes it over for a while.
const KEPT_SIZE: &str = "32m";
const KEPT_FILES: &str = "2";

/// The processes of a user that Podman allows when it is not told.
const PODMAN_PROCESSES: u64 = 1 << 20;

/// Where names are asked for in a network that leads to the supervisor.
const NAME_SERVER: &str = "127.0.0.1";

/// Where the directory with the notification socket is inside.
pub(super) const NOTIFY_DIR: &str = "/run/openclaw-notify";

/// The name of the socket in it.
pub(super) const NOTIFY_SOCKET: &str = "notify.sock";

/// What a container is made from.
pub(super) struct Blueprint<'a> {
    pub(super) project: &'a str,
    pub(super) make: Make,
    pub(super) instance: &'a InstanceId,
    pub(super) spec: &'a AgentSpec,
    pub(super) container: &'a Container,
    pub(super) run: Option<&'a RunContext>,
    pub(super) control_env: &'a BTreeMap<String, String>,
    /// The host's directory with its notification socket.
    pub(super) notify: &'a Path,
    /// The numbers of a user with a name, where they are known.
    pub(super) owner: Option<String>,
}

impl Blueprint<'_> {
    /// Whether something is written to its standard input.
    pub(super) fn payload(&self) -> Option<&str> {
        self.run.and_then(|run| run.payload.as_deref())
    }

    pub(super) fn user(&self) -> &str {
        self.spec.launch.user.as_deref().unwrap_or(USER)
    }

    fn owner(&self) -> &str {
        self.owner.as_deref().unwrap_or_else(|| self.user())
    }

    pub(super) fn body(&self) -> ContainerCreateBody {
        let (spec, container) = (self.spec, self.container);
        let fed = self.payload().is_some();
        let command = &spec.launch.command;
        let ports = container.ports.iter().map(exposed).collect::<Vec<_>>();
        ContainerCreateBody {
            user: Some(self.user().to_owned()),
            attach_stdin: Some(fed),
            open_stdin: Some(fed),
            stdin_once: Some(fed),
            env: Some(self.environment()),
            cmd: (!command.is_empty()).then(|| command.clone()),
            image: Some(container.image.clone()),
            working_dir: container.working_dir.as_deref().map(text),
            entrypoint: container.entrypoint.clone(),
            labels: Some(name::labels(
                self.project,
                self.instance,
                self.run.map(|run| run.run),
            )),
            exposed_ports: (!ports.is_empty()).then_some(ports),
            stop_signal: Some(spec.shutdown.signal.to_string()),
            // For those who stop it by hand, and for an engine that ends.
            stop_timeout: self.stop_timeout(),
            host_config: Some(self.host_config()),
            ..ContainerCreateBody::default()
        }
    }

    /// Podman would wait for so long before each removal too, however it is forced.
    fn stop_timeout(&self) -> Option<i64> {
        match self.make {
            Make::Docker => i64::try_from(self.spec.shutdown.timeout.as_secs()).ok(),
            Make::Podman => None,
        }
    }

    /// A path of the host that is to be mounted and is not there. Docker says so itself, and Podman
    /// makes a folder of that name.
    pub(super) fn missing_source(&self) -> Option<&Path> {
        match self.make {
            Make::Docker => None,
            Make::Podman => self.container.mounts.iter().find_map(|mount| {
                let MountSource::Path(path) = &mount.source else {
                    return None;
                };
                let missing = std::fs::symlink_metadata(path)
                    .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
                missing.then_some(&**path)
            }),
        }
    }

    fn host_config(&self) -> HostConfig {
        let mut host = HostConfig {
            log_config: Some(log_config(self.make)),
            port_bindings: Some(bindings(&self.container.ports)),
            mounts: Some(self.mounts()),
            ..confinement(self.container, &self.spec.resources, self.owner())
        };
        suit(self.make, &mut host);
        host
    }

    fn mounts(&self) -> Vec<Mount> {
        let written = self.container.mounts.iter().map(|mount| {
            let (kind, source) = match &mount.source {
                MountSource::Path(path) => (MountType::BIND, text(path)),
                MountSource::Volume(volume) => (MountType::VOLUME, volume.clone()),
            };
            Mount {
                target: Some(text(&mount.target)),
                source: Some(source),
                typ: Some(kind),
                read_only: Some(mount.access == Access::ReadOnly),
                ..Mount::default()
            }
        });
        let notify = Mount {
            target: Some(NOTIFY_DIR.to_owned()),
            source: Some(text(self.notify)),
            typ: Some(MountType::BIND),
            read_only: Some(true),
            ..Mount::default()
        };
        written.chain([notify]).collect()
    }

    /// The image has its own `PATH` and home; only what is meant for the agent is added.
    fn environment(&self) -> Vec<String> {
        let launch = &self.spec.launch;
        let mut all = self.control_env.clone();
        all.extend(launch.env.clone());
        let secrets = launch.secrets.iter();
        all.extend(secrets.map(|(key, secret)| (key.clone(), secret.expose().to_owned())));
        // Replicas go by one name, which their spec says.
        let agent = all.entry("OPENCLAW_AGENT".to_owned());
        agent.or_insert_with(|| self.instance.agent.to_string());
        if let Network::Listed(_) = self.container.network {
            for (key, value) in proxy_variables() {
                all.entry(key).or_insert(value);
            }
        }
        let mut set = |key: &str, value: String| all.insert(key.to_owned(), value);
        set("OPENCLAW_INSTANCE", self.instance.to_string());
        if !launch.config.is_null() {
            set("OPENCLAW_CONFIG", launch.config.to_string());
        }
        if let Some(run) = self.run {
            set("OPENCLAW_RUN_ID", run.run.to_string());
            set("OPENCLAW_TRIGGER", run.trigger.code().to_owned());
            set("OPENCLAW_ATTEMPT", run.attempt.to_string());
        }
        set("NOTIFY_SOCKET", format!("{NOTIFY_DIR}/{NOTIFY_SOCKET}"));
        let liveness = self.spec.probes.liveness.as_ref();
        if let Some(probe) = liveness.filter(|probe| probe.check == Check::Heartbeat) {
            set("WATCHDOG_USEC", probe.interval.as_micros().to_string());
        }
        all.into_iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect()
    }
}

/// How a container is locked in, and what it may use.
pub(super) fn confinement(container: &Container, resources: &Resources, user: &str) -> HostConfig {
    let owner = ownership(user);
    let tmpfs = container.tmpfs.iter().map(|wanted| tmpfs(wanted, &owner));
    let memory = resources.memory.map(signed);
    HostConfig {
        memory,
        // The same: memory and no swap beside it.
        memory_swap: memory,
        nano_cpus: resources
            .cpu_millis
            .map(|millis| i64::from(millis) * 1_000_000),
        pids_limit: resources.pids.map(i64::from),
        init: Some(container.init == Init::Engine),
        ulimits: Some(vec![limit("nofile", container.nofile), limit("core", 0)]),
        network_mode: Some(
            match container.network {
                // What it reaches beside itself, it reaches through listeners made in its network.
                Network::None | Network::Listed(_) => "none",
                Network::Bridge => "bridge",
            }
            .to_owned(),
        ),
        dns: matches!(container.network, Network::Listed(_)).then(|| vec![NAME_SERVER.to_owned()]),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        auto_remove: Some(false),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(container.capabilities.clone()),
        oom_score_adj: Some(OOM_SCORE_ADJ),
        privileged: Some(false),
        readonly_rootfs: Some(container.root == RootFs::ReadOnly),
        security_opt: Some(security(container.seccomp)),
        tmpfs: Some(tmpfs.collect()),
        shm_size: Some(signed(container.shm)),
        ..HostConfig::default()
    }
}

/// Adds what one engine has to be told that another knows by itself.
pub(super) fn suit(make: Make, host: &mut HostConfig) {
    match make {
        Make::Docker => {}
        Make::Podman => {
            // It raises the limit of processes of a user to the highest there is, unless it is
            // given, and as root without `CAP_SYS_RESOURCE` it may not. Ours it may give.
            host.ulimits.get_or_insert_default().push(own_processes());
            // It knows no owner of a file system in memory but the user, by name too, and copies
            // what the image has there.
            for options in host.tmpfs.iter_mut().flat_map(HashMap::values_mut) {
                let general = options
                    .split_once(",uid=")
                    .map_or(&**options, |(all, _)| all);
                *options = format!("{general},U,notmpcopyup");
            }
        }
    }
}

fn own_processes() -> ResourcesUlimits {
    let hard = getrlimit(Resource::RLIMIT_NPROC).map_or(PODMAN_PROCESSES, |(_, hard)| hard);
    // Podman's own service has given up what is above the number of processes that there can be.
    let all = std::fs::read_to_string("/proc/sys/kernel/pid_max");
    let all = all.ok().and_then(|text| text.trim().parse().ok());
    limit("nproc", hard.min(all.unwrap_or(PODMAN_PROCESSES)))
}

/// Docker's `local` keeps bytes as they are; Podman does not have it.
fn log_config(make: Make) -> HostConfigLogConfig {
    let (kind, options) = match make {
        Make::Docker => {
            let options = [
                ("max-size", KEPT_SIZE),
                ("max-file", KEPT_FILES),
                ("compress", "false"),
            ];
            ("local", options.to_vec())
        }
        Make::Podman => ("k8s-file", vec![("max-size", KEPT_SIZE)]),
    };
    let options = options.into_iter();
    HostConfigLogConfig {
        typ: Some(kind.to_owned()),
        config: Some(
            options
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        ),
    }
}

fn security(seccomp: Seccomp) -> Vec<String> {
    let mut options = vec!["no-new-privileges".to_owned()];
    match seccomp {
        Seccomp::Default => {}
        Seccomp::Off => options.push("seccomp=unconfined".to_owned()),
    }
    options
}

/// Makes a file system in memory its user's own. The mode alone would not do: where the image has
/// a directory of that name, the runtime gives the file system the mode of that.
fn ownership(user: &str) -> String {
    let (user, group) = user.split_once(':').unwrap_or((user, ""));
    let option = |name: &str, number: &str| match number.parse::<u32>() {
        Ok(number) => format!(",{name}={number}"),
        Err(_name) => String::new(),
    };
    option("uid", user) + &option("gid", group)
}

fn tmpfs(wanted: &Tmpfs, owner: &str) -> (String, String) {
    let exec = match wanted.exec {
        Exec::Allowed => "exec",
        Exec::Denied => "noexec",
    };
    let size = wanted.size;
    let options = format!("rw,nosuid,nodev,{exec},mode=1777,size={size}{owner}");
    (text(&wanted.target), options)
}

fn limit(name: &str, count: u64) -> ResourcesUlimits {
    ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: Some(signed(count)),
        hard: Some(signed(count)),
    }
}

fn exposed(port: &Port) -> String {
    let protocol = match port.protocol {
        PortProtocol::Tcp => "tcp",
        PortProtocol::Udp => "udp",
    };
    format!("{}/{protocol}", port.container_port)
}

fn bindings(ports: &[Port]) -> PortMap {
    let mut map: PortMap = HashMap::new();
    for port in ports {
        let binding = PortBinding {
            host_ip: Some(port.host_ip.to_string()),
            host_port: Some(port.host_port.to_string()),
        };
        let entry = map.entry(exposed(port)).or_default();
        entry.get_or_insert_default().push(binding);
    }
    map
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::ownership;

    #[test]
    fn what_is_in_memory_belongs_to_a_user_with_a_number() {
        for (user, expected) in [
            ("1000:1001", ",uid=1000,gid=1001"),
            ("1000", ",uid=1000"),
            ("agent:agents", ""),
        ] {
            assert_eq!(ownership(user), expected);
        }
    }
}
