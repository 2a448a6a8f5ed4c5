//! What of a launch is due to a sandbox.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use claw_core::sandbox::{
    Abilities, Layer, Level, Plan, UserOf, counts_processes, let_call_models, plan,
};
use claw_core::spec::Sandbox;
use claw_core::spec::sandbox::Reach;
use claw_core::{AgentName, AgentSpec, InstanceId, SpawnError, SpawnStage};
use tokio::sync::OnceCell;

use super::account::Account;
use super::cgroup::Enforcement;
use super::config::ProcessConfig;
use super::driver::Inner;
use super::environment::Environment;
use super::paths::Paths;
use super::procfs::ProcessIdentity;
use super::wire::Identity;
use crate::sandbox::{
    self, AgentUsers, Confinement, Egress, Guest, HOME, Network, Notify, Ports, Request, System,
    Taken, USER, Walls, proxy_variables,
};

/// What there is once for all sandboxes.
#[derive(Debug)]
pub(super) struct Sandboxes {
    exe: PathBuf,
    known: Option<Abilities>,
    machine: OnceCell<Machine>,
    users: Arc<AgentUsers>,
    egress: Egress,
}

/// What was found out about the machine.
#[derive(Debug, Clone)]
struct Machine {
    abilities: Abilities,
    system: Arc<System>,
}

/// What is known of a sandboxed instance.
#[derive(Debug, Clone)]
pub(super) struct Confined {
    pub(super) plan: Plan,
    /// The keeper of its namespaces and its main process, once it runs.
    pub(super) inside: Option<(ProcessIdentity, ProcessIdentity)>,
}

/// What a program is run as, and how it is confined.
pub(super) struct Cover {
    pub(super) account: Account,
    pub(super) confinement: Option<Box<Confinement>>,
    scratch: PathBuf,
}

impl Sandboxes {
    pub(super) fn new(config: &ProcessConfig, paths: &Paths) -> Self {
        Self {
            exe: config.exe.clone(),
            known: config.abilities.clone(),
            machine: OnceCell::new(),
            users: Arc::new(AgentUsers::new(paths.data_dir(), config.uid_range.clone())),
            egress: match config.egress {
                Some(_) => Egress::Wanted,
                None => Egress::None,
            },
        }
    }

    /// What the machine can do; found out by the first who asks.
    pub(super) async fn abilities(&self) -> Abilities {
        self.machine().await.abilities.clone()
    }

    async fn machine(&self) -> &Machine {
        let look = || async {
            let (exe, known) = (self.exe.clone(), self.known.clone());
            let looked = tokio::task::spawn_blocking(move || Machine {
                abilities: known.unwrap_or_else(|| sandbox::probe(&exe)),
                system: Arc::new(System::look()),
            });
            looked.await
        };
        loop {
            // Fails when the runtime ends, and this task with it.
            match self.machine.get_or_try_init(look).await {
                Ok(machine) => return machine,
                Err(_ending) => std::future::pending::<()>().await,
            }
        }
    }
}

impl Inner {
    /// What an instance that runs has for a network, as far as a command beside it has to know.
    pub(super) fn way_out_of(&self, instance: &InstanceId, spec: &AgentSpec) -> Network {
        let wanted = spec.launch.sandbox.as_deref();
        match wanted.map(|wanted| &wanted.network) {
            Some(Reach::Listed(_)) if self.network_of(instance).is_none() => Network::Host,
            Some(Reach::Listed(list)) => Network::Own(Ports {
                hosts: match self.sandboxes.egress {
                    Egress::Wanted if !list.allowed.is_empty() => Some(Taken::All),
                    Egress::Wanted | Egress::None => None,
                },
                models: None,
            }),
            Some(Reach::Host) | None => Network::Host,
        }
    }
}

/// Works out as whom a program of an instance runs, and how it is confined.
pub(super) async fn cover(
    inner: &Inner,
    instance: &InstanceId,
    spec: &AgentSpec,
    (notify, purpose): (Notify, Purpose),
) -> Result<Cover, SpawnError> {
    let account = inner.account(spec).await?;
    let scratch = inner.paths.scratch(&instance.agent);
    let Some(wanted) = spec.launch.sandbox.as_deref() else {
        return Ok(Cover {
            account,
            confinement: None,
            scratch,
        });
    };
    let machine = inner.sandboxes.machine().await;
    let mut plan = plan(wanted, &machine.abilities).map_err(|shortfall| SpawnError {
        stage: SpawnStage::Sandbox,
        errno: shortfall.lack.errno,
        detail: shortfall.to_string(),
    })?;
    if spec.launch.models.is_some() {
        let_call_models(&mut plan, wanted, &machine.abilities);
    }
    let own_user = account.identity.is_none() && plan.layers.contains(&Layer::OwnUser);
    let user = if own_user {
        UserOf::Agent
    } else {
        UserOf::Others
    };
    let processes = processes(inner, spec, &mut plan, (user, &machine.abilities));
    let mut request = Request {
        system: Arc::clone(&machine.system),
        launch: spec.launch.clone(),
        wanted: Sandbox::clone(wanted),
        plan,
        owner: account.owner().unwrap_or_else(|| {
            let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
            (uid.as_raw(), gid.as_raw())
        }),
        hostname: instance.agent.as_str().chars().take(63).collect(),
        notify,
        scratch: scratch.clone(),
        processes,
        disks: inner.paths.disks(&instance.agent),
        egress: match purpose {
            Purpose::Agent => inner.sandboxes.egress,
            Purpose::Command => Egress::None,
        },
    };
    let users = Arc::clone(&inner.sandboxes.users);
    let (agent, project) = (instance.agent.clone(), inner.paths.project());
    let confined = tokio::task::spawn_blocking(move || {
        let user = own_user.then(|| own_user_of(&users, &agent, &project));
        let user = user.transpose()?;
        if let Some(user) = &user {
            request.owner = (user.uid, user.gid);
        }
        let mut confinement = sandbox::confine(request)?;
        // Only the agent's own shim lives to tell.
        if let (Purpose::Command, Some(filter)) = (purpose, &mut confinement.filter) {
            filter.untold();
        }
        Ok((user, confinement))
    });
    let (user, confinement) = confined.await.unwrap_or_else(|_ending| Err(ending()))?;
    let account = Account {
        identity: user.or(account.identity),
        ..account
    };
    Ok(Cover {
        account: inside_account(account, &confinement, &scratch),
        confinement: Some(Box::new(confinement)),
        scratch,
    })
}

/// How many processes it may have by the count of its user: as many as it is limited to, where
/// no cgroup can limit them.
fn processes(
    inner: &Inner,
    spec: &AgentSpec,
    plan: &mut Plan,
    (user, machine): (UserOf, &Abilities),
) -> Option<u32> {
    let pids = match inner.cgroups.capabilities().pids {
        Enforcement::No { .. } => {
            let usual = spec.launch.sandbox.as_ref().and_then(|it| it.usual.pids);
            spec.resources.pids.or(usual)?
        }
        Enforcement::Yes => return None,
    };
    if !counts_processes(plan, machine, user) {
        return None;
    }
    plan.layers.push(Layer::ProcessCount);
    Some(match plan.level {
        // The keeper is counted with it.
        Level::Full => pids.saturating_add(1),
        Level::Landlock | Level::None => pids,
    })
}

/// What a program is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It is the agent.
    Agent,
    /// It is a command beside it.
    Command,
}

fn ending() -> SpawnError {
    SpawnError {
        stage: SpawnStage::Prepare,
        errno: 0,
        detail: "the supervisor is ending".to_owned(),
    }
}

/// Root gives an agent without a user one of its own. Blocks.
fn own_user_of(
    users: &AgentUsers,
    agent: &AgentName,
    project: &str,
) -> Result<Identity, SpawnError> {
    let uid = users.of(agent, project).map_err(|error| SpawnError {
        stage: SpawnStage::User,
        errno: 0,
        detail: match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    })?;
    Ok(Identity {
        name: USER.to_owned(),
        uid,
        gid: uid,
        groups: Vec::new(),
    })
}

/// What a program is told of its user.
fn inside_account(account: Account, confinement: &Confinement, scratch: &Path) -> Account {
    match confinement.plan.level {
        Level::Full => Account {
            name: USER.to_owned(),
            home: PathBuf::from(HOME),
            shell: PathBuf::from("/bin/sh"),
            ..account
        },
        Level::Landlock => Account {
            name: account
                .identity
                .as_ref()
                .map_or(account.name, |identity| identity.name.clone()),
            home: scratch.to_owned(),
            ..account
        },
        Level::None => account,
    }
}

impl Cover {
    /// Tells the program what is different in its sandbox.
    pub(super) fn describe(&self, spec: &AgentSpec, environment: &mut Environment) {
        let Some(confinement) = &self.confinement else {
            return;
        };
        match &confinement.walls {
            Walls::None => {}
            Walls::Rules(_) => environment.set("TMPDIR", self.scratch.to_string_lossy()),
            Walls::Namespaces(namespaces) => {
                environment.forget_unless_written(spec, "TMPDIR");
                name_proxy(namespaces.network, spec, environment);
            }
            Walls::Guest(guest) => {
                environment.forget_unless_written(spec, "TMPDIR");
                name_proxy(guest.network, spec, environment);
            }
        }
    }

    /// Directories that are made for it, or given to its user, beside those of the fleet file.
    pub(super) fn directories(&self, spec: &AgentSpec, data_dir: &Path) -> Vec<PathBuf> {
        let (Some(confinement), Some(wanted)) = (&self.confinement, &spec.launch.sandbox) else {
            return Vec::new();
        };
        let socket = spec.launch.env.get("OPENCLAW_SOCK").map(Path::new);
        let socket = socket.and_then(Path::parent);
        let writable = wanted.writable.iter().map(|one| &*one.path);
        let ours = writable.chain(socket).filter(|dir| {
            let real = dir.canonicalize();
            real.is_ok_and(|real| real.starts_with(data_dir))
        });
        let scratch = match &confinement.walls {
            Walls::Rules(_) => Some(&*self.scratch),
            Walls::None | Walls::Namespaces(_) | Walls::Guest(_) => None,
        };
        ours.chain(scratch).map(Path::to_owned).collect()
    }

    /// Whether its processes are limited by the count of its user.
    pub(super) fn counts_processes(&self) -> bool {
        let confinement = self.confinement.as_ref();
        confinement.is_some_and(|confinement| confinement.limits.processes.is_some())
    }

    /// Whether the program gets namespaces of its own.
    pub(super) fn is_apart(&self) -> bool {
        let walls = self
            .confinement
            .as_ref()
            .map(|confinement| &confinement.walls);
        matches!(walls, Some(Walls::Namespaces(_)))
    }

    /// Has the program join an instance that runs, in place of namespaces of its own.
    pub(super) fn join(
        &mut self,
        inside: Option<(ProcessIdentity, ProcessIdentity)>,
        network: Network,
    ) {
        if let Some(confinement) = &mut self.confinement
            && let Walls::Namespaces(namespaces) = &mut confinement.walls
            && let Some((keeper, main)) = inside
        {
            confinement.walls = Walls::Guest(Guest {
                keeper,
                main,
                network,
                rules: namespaces.rules.take(),
            });
        }
    }
}

/// Where a program finds the proxy, if there is one, in the words of libraries of all kinds.
fn name_proxy(network: Network, spec: &AgentSpec, environment: &mut Environment) {
    if !matches!(network, Network::Own(Ports { hosts: Some(_), .. })) {
        return;
    }
    for (key, value) in proxy_variables() {
        environment.set_unless_written(spec, &key, &value);
    }
}
