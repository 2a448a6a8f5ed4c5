//! From what is wanted and planned to how a process is confined.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use claw_core::sandbox::{Layer, Level, Plan};
use claw_core::spec::Launch;
use claw_core::spec::sandbox::{Capture, Reach, Sandbox, SystemCalls, Tracing};
use claw_core::{SpawnError, SpawnStage};

use super::calls;
use super::confinement::{
    Access, Bind, Confinement, Exec, Filter, Internet, Limits, Memory, Namespaces, Network,
    Otherwise, RootDir, Rules, Scope, Tcp, Walls,
};
use super::disk::Disk;
use super::network::{Ports, Taken};
use super::system::{self, System};
use super::{hidden, rules};

/// Where an agent finds the socket for its notifications.
pub(crate) const NOTIFY: &str = "/run/openclaw/notify.sock";

/// What an agent is confined by and for.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) system: Arc<System>,
    pub(crate) launch: Launch,
    pub(crate) wanted: Sandbox,
    pub(crate) plan: Plan,
    /// The user and group of the host that it is.
    pub(crate) owner: (u32, u32),
    pub(crate) hostname: String,
    pub(crate) notify: Notify,
    /// A directory of its own for passing files, where it shares `/tmp` with others.
    pub(crate) scratch: PathBuf,
    /// Where the images of its directories of a fixed size are.
    pub(crate) disks: PathBuf,
    pub(crate) egress: Egress,
    /// Processes and threads that it may have by the count of its user, its keeper included.
    pub(crate) processes: Option<u32>,
}

/// Where its notifications go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notify {
    /// It sends none.
    Nowhere,
    /// To this socket of the host.
    Path(PathBuf),
    /// To an abstract name.
    Name,
}

/// Whether somebody takes the connections that are led to the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Egress {
    /// As far as they are to be captured.
    Wanted,
    /// It is not looked after.
    None,
}

/// Works out how a process is confined. Looks at paths of the host: blocks.
///
/// # Errors
///
/// A path that is wanted is not there, or cannot be had in a sandbox.
pub(crate) fn confine(request: Request) -> Result<Confinement, SpawnError> {
    let filter = filter(&request)?;
    let walls = match request.plan.level {
        Level::Full => Walls::Namespaces(Box::new(namespaces(&request)?)),
        Level::Landlock => Walls::Rules(host_rules(&request)?),
        Level::None => Walls::None,
    };
    Ok(Confinement {
        walls,
        limits: Limits {
            nofile: request.wanted.limits.nofile,
            fsize: request.wanted.limits.fsize,
            processes: request.processes,
        },
        filter,
        plan: request.plan,
    })
}

/// A refusal: no repetition mends it.
fn refused(detail: String) -> SpawnError {
    SpawnError {
        stage: SpawnStage::Sandbox,
        errno: 0,
        detail,
    }
}

fn filter(request: &Request) -> Result<Option<Filter>, SpawnError> {
    if !request.plan.layers.contains(&Layer::Seccomp) {
        return Ok(None);
    }
    let names: &[String] = match &request.wanted.seccomp {
        SystemCalls::Listed { also } => also,
        SystemCalls::Learn | SystemCalls::Any => &[],
    };
    let mut also = Vec::with_capacity(names.len());
    for name in names {
        also.push(calls::number(name).ok_or_else(|| {
            refused(format!(
                "`seccomp.also` names `{name}`, which is no system call of this machine"
            ))
        })?);
    }
    if request.wanted.tracing == Tracing::Allowed {
        also.extend(calls::TRACING.iter().map(|(_, number)| *number));
    }
    let closed = matches!(&request.wanted.network, Reach::Listed(list) if list.allowed.is_empty());
    // A network of its own keeps an agent to itself, and lets it talk to itself.
    let shared = !request.plan.layers.contains(&Layer::Network);
    Ok(Some(Filter {
        otherwise: match request.wanted.seccomp {
            SystemCalls::Learn => Otherwise::Tell,
            SystemCalls::Listed { .. } | SystemCalls::Any => Otherwise::Fail,
        },
        also,
        internet: match tcp(request) {
            Tcp::To(_) => Internet::Connecting,
            Tcp::Any if closed && shared => Internet::Denied,
            Tcp::Any => Internet::Allowed,
        },
    }))
}

/// The only connections that rules let it make, if they are to judge them.
fn tcp(request: &Request) -> Tcp {
    let only = request.plan.layers.contains(&Layer::OnlyModels);
    match request.launch.models.filter(|_| only) {
        Some(port) => Tcp::To(port),
        None => Tcp::Any,
    }
}

fn has_landlock(plan: &Plan) -> bool {
    let is_landlock = |layer: &Layer| matches!(layer, Layer::Landlock(_));
    plan.layers.iter().any(is_landlock)
}

fn network(request: &Request) -> Network {
    let list = match &request.wanted.network {
        Reach::Listed(list) if request.plan.layers.contains(&Layer::Network) => list,
        Reach::Listed(_) | Reach::Host => return Network::Host,
    };
    Network::Own(match request.egress {
        Egress::None => Ports::default(),
        Egress::Wanted => Ports {
            hosts: match list.capture {
                Capture::Transparent => Some(Taken::All),
                Capture::ProxyOnly => Some(Taken::Proxy),
                Capture::Nothing => None,
            },
            models: request.launch.models,
        },
    })
}

fn namespaces(request: &Request) -> Result<Namespaces, SpawnError> {
    let network = network(request);
    let mut seen = Seen::new(&request.system, hidden::existing(&request.wanted.hidden));
    if network == Network::Host {
        seen.binds.extend(System::network_settings());
    }
    seen.add_all(request)?;
    seen.hide();
    if let Notify::Path(socket) = &request.notify {
        seen.binds.push(Bind {
            source: socket.clone(),
            target: PathBuf::from(NOTIFY),
            access: Access::Use,
            exec: Exec::Denied,
        });
    }
    let rules = has_landlock(&request.plan).then(|| {
        let writable = seen
            .binds
            .iter()
            .filter(|bind| bind.access == Access::Write);
        rules::inside(writable.map(|bind| &*bind.target), tcp(request))
    });
    let memory = |size, exec| Memory { size, exec };
    let (tmp, shm) = (request.wanted.tmp, request.wanted.shm);
    Ok(Namespaces {
        uid: request.owner.0,
        gid: request.owner.1,
        root: RootDir {
            binds: seen.binds,
            disks: seen.disks,
            links: seen.links,
            files: system::files(&request.hostname, network),
            tmp: memory(tmp.size, tmp.exec.into()),
            shm: memory(shm, Exec::Denied),
            proc: request.wanted.proc,
        },
        hostname: request.hostname.clone(),
        network,
        rules,
    })
}

/// What an agent sees, in the making.
struct Seen {
    binds: Vec<Bind>,
    links: Vec<(PathBuf, PathBuf)>,
    /// Without links, and there.
    hidden: Vec<PathBuf>,
    disks: Vec<Disk>,
}

/// A path that is to be seen.
struct Wish {
    path: PathBuf,
    access: Access,
    exec: Exec,
    /// Why, for who has to mend it.
    key: &'static str,
    /// What may be written to it, where that holds.
    size: Option<u64>,
}

impl Seen {
    fn new(system: &System, hidden: Vec<PathBuf>) -> Self {
        Self {
            binds: system.binds.clone(),
            links: system.links.clone(),
            hidden,
            disks: Vec::new(),
        }
    }

    fn add_all(&mut self, request: &Request) -> Result<(), SpawnError> {
        let mut wishes = wishes(request)?;
        // What is above comes first, and of two wishes for one path the greater.
        wishes.sort_by(|a, b| (&a.path, rank(a.access)).cmp(&(&b.path, rank(b.access))));
        let written: Vec<PathBuf> = writable(&wishes).collect();
        for wish in wishes {
            let path = self.add(&wish, &written)?;
            if let (Some(size), Some(path)) = (wish.size, path) {
                self.disks
                    .push(Disk::new(&path, &request.disks, size, request.owner));
            }
        }
        self.binds.sort_by(|a, b| a.target.cmp(&b.target));
        Ok(())
    }

    /// Where it is seen, if it was not before.
    fn add(&mut self, wish: &Wish, written: &[PathBuf]) -> Result<Option<PathBuf>, SpawnError> {
        let path = &wish.path;
        if self.covers(path, wish) {
            return Ok(None);
        }
        let above = written
            .iter()
            .find(|dir| path.starts_with(dir) && path != *dir);
        let source = match above {
            // What an agent may write to it could have made a link: none is followed there.
            Some(_) => path.clone(),
            None => canonical(path).map_err(|error| {
                refused(format!(
                    "`{}`, of `{}`, cannot be seen in its sandbox: {}",
                    path.display(),
                    wish.key,
                    crate::process::reason(&error)
                ))
            })?,
        };
        if source != *path {
            if !self.leads_on(path) {
                self.links.push((path.clone(), source.clone()));
            }
            if self.covers(&source, wish) {
                return Ok(None);
            }
        }
        self.binds.push(Bind {
            target: source.clone(),
            source: source.clone(),
            access: wish.access,
            exec: wish.exec,
        });
        Ok(Some(source))
    }

    /// Whether a path begins with one that is a link inside as well, or is the host's own.
    fn leads_on(&self, path: &Path) -> bool {
        let linked = |above: &Path| self.links.iter().any(|(link, _)| link == above);
        let bound = |above: &Path| self.binds.iter().any(|bind| bind.target == above);
        path.ancestors().any(|above| linked(above) || bound(above))
    }

    /// Whether what is there already gives as much.
    fn covers(&self, path: &Path, wish: &Wish) -> bool {
        // A directory of a fixed size is part of no other, and no other takes its place.
        let is_disk = self.disks.iter().any(|disk| disk.target == path);
        if is_disk || wish.size.is_some() {
            return is_disk;
        }
        let above = self
            .binds
            .iter()
            .filter(|bind| path.starts_with(&bind.target));
        let nearest = above.max_by_key(|bind| bind.target.components().count());
        let shown = |bind: &&Bind| !hidden::between(&self.hidden, &bind.target, path);
        nearest
            .filter(shown)
            .is_some_and(|bind| match (bind.access, wish.access) {
                (Access::Write, Access::Read) => true,
                (Access::Read, Access::Read) | (Access::Write, Access::Write) => {
                    bind.exec == wish.exec
                }
                (Access::Use, _) | (_, Access::Use) => bind.target == path,
                (Access::Read, Access::Write) | (Access::Hide, _) | (_, Access::Hide) => false,
            })
    }

    /// Covers what is hidden of what is seen by now.
    fn hide(&mut self) {
        let seen = |path: &Path| {
            let above = |bind: &Bind| path.starts_with(&bind.target) && bind.target != path;
            self.binds.iter().any(above) && !self.binds.iter().any(|bind| bind.target == path)
        };
        let covered: Vec<PathBuf> = self.hidden.iter().filter(|it| seen(it)).cloned().collect();
        self.binds.extend(covered.into_iter().map(|path| Bind {
            source: path.clone(),
            target: path,
            access: Access::Hide,
            exec: Exec::Denied,
        }));
        self.binds.sort_by(|a, b| a.target.cmp(&b.target));
    }
}

const fn rank(access: Access) -> u8 {
    match access {
        Access::Write => 0,
        Access::Read => 1,
        Access::Use => 2,
        Access::Hide => 3,
    }
}

/// The path without links. What of its end is not there yet is taken as it is.
fn canonical(path: &Path) -> std::io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
                return Err(error);
            };
            Ok(canonical(above)?.join(name))
        }
        other => other,
    }
}

/// All paths that an agent is to see beside the system's.
fn wishes(request: &Request) -> Result<Vec<Wish>, SpawnError> {
    let launch = &request.launch;
    let mut wishes = Vec::new();
    let has_disks = request.plan.layers.contains(&Layer::Quota);
    for one in &request.wanted.writable {
        let size = one.size.filter(|_| has_disks);
        if size.is_none() {
            there(&one.path, "writable")?;
        }
        wishes.push(Wish {
            path: one.path.clone(),
            access: Access::Write,
            exec: one.exec.into(),
            key: "writable",
            size,
        });
    }
    let mut wish = |path: &Path, access, exec, key| {
        wishes.push(Wish {
            path: path.to_owned(),
            access,
            exec,
            key,
            size: None,
        });
    };
    for path in &request.wanted.readable {
        there(path, "readable")?;
        wish(path, Access::Read, Exec::Allowed, "readable");
    }
    for path in &launch.data_dirs {
        wish(path, Access::Write, Exec::Allowed, "data_dirs");
    }
    if launch.working_dir.components().count() > 1 && launch.working_dir.is_dir() {
        wish(
            &launch.working_dir,
            Access::Read,
            Exec::Allowed,
            "working_dir",
        );
    }
    let program = launch.command.first().map(Path::new);
    if let Some(program) = program.filter(|path| path.is_absolute() && path.is_file()) {
        wish(program, Access::Read, Exec::Allowed, "command");
    }
    let socket = launch.env.get("OPENCLAW_SOCK").map(Path::new);
    if let Some(dir) = socket.and_then(Path::parent).filter(|dir| dir.is_dir()) {
        wish(dir, Access::Read, Exec::Denied, "OPENCLAW_SOCK");
    }
    match wishes.iter().find(|wish| !is_seen_by_wish(&wish.path)) {
        Some(wish) => Err(refused(format!(
            "`{}`, of `{}`, cannot be seen in a sandbox: an absolute path below `/` is, and none \
             of `/proc` and `/dev`",
            wish.path.display(),
            wish.key
        ))),
        None => Ok(wishes),
    }
}

fn writable(wishes: &[Wish]) -> impl Iterator<Item = PathBuf> {
    let written = wishes.iter().filter(|wish| wish.access == Access::Write);
    written.map(|wish| wish.path.clone())
}

fn there(path: &Path, key: &str) -> Result<(), SpawnError> {
    if path.symlink_metadata().is_ok() && path.exists() {
        return Ok(());
    }
    let mut error = refused(format!(
        "`{}`, of `{key}`, is not there; make it, or remove it from `{key}`",
        path.display()
    ));
    error.errno = nix::libc::ENOENT;
    Err(error)
}

/// Whether a path can be wished for.
fn is_seen_by_wish(path: &Path) -> bool {
    let plain = path
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let below_root = path.is_absolute() && path.components().count() > 1;
    plain && below_root && !["/proc", "/dev"].iter().any(|dir| path.starts_with(dir))
}

/// The rules of a process among those of the host.
fn host_rules(request: &Request) -> Result<Rules, SpawnError> {
    let mut rules = Rules {
        readable: request.system.paths(),
        writable: vec![request.scratch.clone()],
        scope: Scope::Closed,
        tcp: tcp(request),
    };
    rules.readable.push(PathBuf::from("/proc"));
    for name in ["null", "zero", "full", "random", "urandom"] {
        rules.writable.push(Path::new("/dev").join(name));
    }
    let concealed = hidden::existing(&request.wanted.hidden);
    let wishes = wishes(request)?;
    let written: Vec<PathBuf> = writable(&wishes).collect();
    for wish in wishes {
        // The rule of what is above holds for it too, and what the agent may write to it could
        // have made a link: the rule would be about what it leads to.
        if written.iter().any(|dir| {
            wish.path.starts_with(dir)
                && wish.path != *dir
                && !hidden::between(&concealed, dir, &wish.path)
        }) {
            continue;
        }
        // What is hidden is known by its path without links.
        let path = canonical(&wish.path).unwrap_or(wish.path);
        let shown = hidden::around(&concealed, path);
        match wish.access {
            Access::Write => rules.writable.extend(shown),
            Access::Read | Access::Use => rules.readable.extend(shown),
            Access::Hide => {}
        }
    }
    match &request.notify {
        Notify::Nowhere => {}
        Notify::Path(socket) => rules.readable.push(socket.clone()),
        // Rules about files do not know of it.
        Notify::Name => rules.scope = Scope::Open,
    }
    Ok(rules)
}
