//! What lies in an agent's directory for its socket: the socket itself, its `config`, and what its
//! program declared.
//!
//! ```text
//!  <data_dir>/agents/<name>/api/          its user's, mode 0700
//!    agent.sock                           made anew by each supervisor
//!    config.json                          `config` with every variable in its place
//!  <data_dir>/agents/<name>/container/    ours, mode 0700: only its container sees what is below
//!    api/                                 the same, for every user of the container
//!  <data_dir>/agents/<name>/sandbox/      the same again, where root gives the agent a user of its
//!    api/                                 own, mode 0700: that user's as soon as there is one
//!  <data_dir>/agents/<name>/environments/ its user's, mode 0700, shared by its replicas where they
//!                                         have the same; what its `python.requirements` ask for,
//!                                         made by its own process
//!  <data_dir>/agents/<name>/declared.json what its program said of itself last
//! ```

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use claw_core::spec::{Mode, Secret};
use claw_core::{AgentName, AgentSpec};
use nix::unistd::{Gid, Uid, User};

use super::declared::Declared;
use super::inside;
use crate::config::Replica;

/// The longest path of a unix socket (`unix(7)`, `sun_path` without its end).
const PATH: usize = 107;

const SOCKET: &str = "agent.sock";
const FRESH_SOCKET: &str = "socket.new";
const CONFIG: &str = "config.json";

/// Why an agent's socket cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum AgentDirError {
    /// The path of the socket is longer than a socket's may be.
    #[error(
        "the path of the socket of `{agent}`, {}, has {length} bytes, and a socket's has at most {PATH}; use a shorter `supervisor.data_dir`",
        path.display(), length = path.as_os_str().len()
    )]
    TooLong {
        /// Whose.
        agent: AgentName,
        /// The path.
        path: PathBuf,
    },
    /// There is no such user.
    #[error("`{agent}` is to run as `{user}`, and there is no such user")]
    NoUser {
        /// Whose.
        agent: AgentName,
        /// The user.
        user: String,
    },
    /// Only root can make a directory for somebody else.
    #[error(
        "the directory {} of `{agent}` is to be that of user {uid} in its container, and the supervisor does not run as root; write `user: \"{own}\"`, or make the directory for that user yourself", path.display(), own = Uid::effective()
    )]
    NotOurs {
        /// Whose.
        agent: AgentName,
        /// The directory.
        path: PathBuf,
        /// The user.
        uid: u32,
    },
    /// The system refused a step.
    #[error("cannot make {}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// For whom a socket is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Audience {
    /// A process of this user, as the fleet file says it.
    Process(Option<String>),
    /// A process in a sandbox, of a user that the driver finds for it.
    Sandbox,
    /// A container.
    Container,
}

impl Audience {
    pub(super) fn of(spec: &AgentSpec) -> Self {
        match &spec.launch.container {
            Some(_) => Self::Container,
            None if spec.launch.sandbox.is_some()
                && spec.launch.user.is_none()
                && Uid::effective().is_root() =>
            {
                Self::Sandbox
            }
            None => Self::Process(spec.launch.user.clone()),
        }
    }
}

/// Whose directory has the virtual environments of an agent: those of replicas are shared, unless
/// each has a user of its own, who could not read another one's.
pub(super) fn keeper<'a>(
    spec: &AgentSpec,
    agent: &'a AgentName,
    group: &'a AgentName,
) -> &'a AgentName {
    match Audience::of(spec) {
        Audience::Sandbox => agent,
        Audience::Process(_) | Audience::Container => group,
    }
}

/// An agent's directory.
#[derive(Debug, Clone)]
pub(super) struct AgentDir {
    agent: AgentName,
    path: PathBuf,
}

impl AgentDir {
    pub(super) fn of(data_dir: &Path, agent: &AgentName) -> Self {
        Self {
            agent: agent.clone(),
            path: data_dir.join("agents").join(agent.as_str()),
        }
    }

    /// The directory with everything for the socket, which is ours.
    fn home(&self, spec: &AgentSpec) -> PathBuf {
        match Audience::of(spec) {
            Audience::Process(_) => self.path.clone(),
            Audience::Sandbox => self.path.join("sandbox"),
            Audience::Container => self.path.join("container"),
        }
    }

    /// The directory that the agent sees.
    pub(super) fn api(&self, spec: &AgentSpec) -> PathBuf {
        self.home(spec).join("api")
    }

    fn socket(&self, spec: &AgentSpec) -> PathBuf {
        self.api(spec).join(SOCKET)
    }

    fn config(&self, spec: &AgentSpec) -> PathBuf {
        self.api(spec).join(CONFIG)
    }

    pub(super) fn environments(&self) -> PathBuf {
        self.path.join("environments")
    }

    /// Puts into a spec what its process is told of the socket.
    pub(super) fn describe(&self, spec: &mut AgentSpec, replica: &Replica, token: String) {
        let seen = match Audience::of(spec) {
            Audience::Process(_) | Audience::Sandbox => self.api(spec),
            Audience::Container => PathBuf::from(inside::API),
        };
        let worker = spec.mode == Mode::Worker;
        let launch = &mut spec.launch;
        let mut set = |name: &str, value: String| launch.env.insert(name.to_owned(), value);
        let path = |name: &str| seen.join(name).to_string_lossy().into_owned();
        set("OPENCLAW_SOCK", path(SOCKET));
        set("OPENCLAW_PROTOCOL", "1".to_owned());
        set("OPENCLAW_AGENT", replica.group.to_string());
        set("OPENCLAW_REPLICA", replica.index.to_string());
        set("OPENCLAW_REPLICAS", replica.count.to_string());
        if worker {
            set("OPENCLAW_CONFIG", path(CONFIG));
            launch.config = serde_json::Value::Null;
        }
        let token = Secret::new(token);
        launch.secrets.insert("OPENCLAW_TOKEN".to_owned(), token);
        inside::mount(&mut spec.launch, self.path.join("container/api"));
    }

    /// Makes the directory and writes the config. Blocks.
    pub(super) fn prepare(&self, spec: &AgentSpec) -> Result<(), AgentDirError> {
        let (home, api) = (self.home(spec), self.api(spec));
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| AgentDirError::Io { path, source }
        };
        let audience = Audience::of(spec);
        // In a container the path is another one, and short.
        let longest = match audience {
            Audience::Process(_) | Audience::Sandbox => self.socket(spec),
            Audience::Container => home.join(FRESH_SOCKET),
        };
        if longest.as_os_str().len() > PATH {
            return Err(AgentDirError::TooLong {
                agent: self.agent.clone(),
                path: longest,
            });
        }
        // The directories above are passable, not readable, as the driver makes them.
        DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(&self.path)
            .map_err(at(&self.path))?;
        let mut closed = DirBuilder::new();
        closed.recursive(true).mode(match audience {
            Audience::Process(_) | Audience::Container => 0o700,
            // Who may go further is told by the directory in it.
            Audience::Sandbox => 0o711,
        });
        closed.create(&home).map_err(at(&home))?;
        closed.mode(0o700);
        closed.create(&api).map_err(at(&api))?;
        let owner = self.owner(spec)?;
        let (dir_mode, file_mode) = match audience {
            Audience::Process(_) => (0o700, 0o600),
            Audience::Sandbox => (0o700, 0o644),
            Audience::Container => (0o755, 0o644),
        };
        self.give(&api, dir_mode, owner).map_err(at(&api))?;
        if spec.mode == Mode::Worker {
            let path = self.config(spec);
            let fresh = home.join("config.new");
            let text = spec.launch.config.to_string();
            remove(&fresh).map_err(at(&fresh))?;
            write_new(&fresh, text.as_bytes()).map_err(at(&fresh))?;
            self.give(&fresh, file_mode, owner).map_err(at(&fresh))?;
            fs::rename(&fresh, &path).map_err(at(&path))?;
        }
        if let Audience::Container = audience {
            self.prepare_data_dirs(spec)?;
        }
        Ok(())
    }

    /// Makes the directories of an agent that is a container; the driver makes those of others.
    /// One that is there already keeps its owner and mode. Blocks.
    fn prepare_data_dirs(&self, spec: &AgentSpec) -> Result<(), AgentDirError> {
        let (uid, gid) = inside::owner(&spec.launch);
        let make = |path: &Path| -> io::Result<()> {
            if path.is_dir() {
                return Ok(());
            }
            if let Some(above) = path.parent() {
                fs::create_dir_all(above)?;
            }
            // It gets its name when it is whose it should be.
            let fresh = path.with_extension("openclaw-new");
            match fs::remove_dir(&fresh) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            DirBuilder::new().mode(0o750).create(&fresh)?;
            if uid != Uid::effective().as_raw() {
                std::os::unix::fs::lchown(&fresh, Some(uid), Some(gid))?;
            }
            fs::rename(&fresh, path)
        };
        for path in &spec.launch.data_dirs {
            make(path).map_err(|source| {
                let (agent, path) = (self.agent.clone(), path.clone());
                if source.kind() == io::ErrorKind::PermissionDenied && !Uid::effective().is_root() {
                    AgentDirError::NotOurs { agent, path, uid }
                } else {
                    AgentDirError::Io { path, source }
                }
            })?;
        }
        Ok(())
    }

    /// Makes the folder of its virtual environments. Those of another user would be of no use,
    /// unless it is the driver that finds the user, and gives it the folder. Blocks.
    pub(super) fn prepare_environments(&self, spec: &AgentSpec) -> Result<(), AgentDirError> {
        let path = self.environments();
        let owner = self.owner(spec)?;
        if Audience::of(spec) == Audience::Sandbox && path.is_dir() {
            return Ok(());
        }
        let uid = owner.map_or_else(Uid::effective, |(uid, _)| uid);
        let make = || -> io::Result<()> {
            match fs::symlink_metadata(&path) {
                Ok(found) if found.uid() != uid.as_raw() => fs::remove_dir_all(&path)?,
                Ok(_) | Err(_) => {}
            }
            // That of a name that only replicas go by is not there yet.
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o711).create(&self.path)?;
            builder.mode(0o700).create(&path)?;
            self.give(&path, 0o700, owner)
        };
        make().map_err(|source| AgentDirError::Io {
            path: path.clone(),
            source,
        })
    }

    /// Makes the socket, in the place of an earlier one. Blocks.
    pub(super) fn listen(&self, spec: &AgentSpec) -> Result<UnixListener, AgentDirError> {
        let path = self.socket(spec);
        let fresh = self.home(spec).join(FRESH_SOCKET);
        let owner = self.owner(spec)?;
        // Who may enter the directory is told by the directories above.
        let mode = match Audience::of(spec) {
            Audience::Process(_) => 0o600,
            Audience::Sandbox | Audience::Container => 0o666,
        };
        let make = || -> io::Result<UnixListener> {
            remove(&fresh)?;
            let listener = UnixListener::bind(&fresh)?;
            listener.set_nonblocking(true)?;
            self.give(&fresh, mode, owner)?;
            fs::rename(&fresh, &path)?;
            Ok(listener)
        };
        make().map_err(|source| AgentDirError::Io { path, source })
    }

    /// What the agent's program said of itself last. Blocks.
    pub(super) fn declared(&self) -> Declared {
        let text = fs::read(self.path.join("declared.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Keeps what the agent's program says of itself. Blocks.
    pub(super) fn declare(&self, declared: &Declared) -> io::Result<()> {
        let path = self.path.join("declared.json");
        let fresh = path.with_extension("new");
        fs::write(&fresh, serde_json::to_vec(declared)?)?;
        fs::rename(&fresh, &path)
    }

    /// The same, with an error that names the file. Blocks.
    pub(super) fn keep(&self, declared: &Declared) -> Result<(), AgentDirError> {
        let path = self.path.join("declared.json");
        let kept = self.declare(declared);
        kept.map_err(|source| AgentDirError::Io { path, source })
    }

    fn owner(&self, spec: &AgentSpec) -> Result<Option<(Uid, Gid)>, AgentDirError> {
        let launch = &spec.launch;
        if launch.sandbox.is_some() && launch.user.is_none() && launch.container.is_none() {
            // The driver gives it to the user that it has for that agent alone.
            let found = fs::symlink_metadata(self.api(spec)).ok();
            return Ok(found.map(|found| (found.uid().into(), found.gid().into())));
        }
        let Audience::Process(Some(name)) = &Audience::of(spec) else {
            return Ok(None);
        };
        let by_number = || {
            User::from_uid(Uid::from_raw(name.parse().ok()?))
                .ok()
                .flatten()
        };
        let user = User::from_name(name).ok().flatten().or_else(by_number);
        let user = user.ok_or_else(|| AgentDirError::NoUser {
            agent: self.agent.clone(),
            user: name.clone(),
        })?;
        Ok(Some((user.uid, user.gid)))
    }

    /// Sets the mode and the owner of what lies in the agent's directory itself, which is not the
    /// agent's: below `api`, which is, it could put a link in the place of a file in the meantime.
    fn give(&self, path: &Path, mode: u32, owner: Option<(Uid, Gid)>) -> io::Result<()> {
        debug_assert!(
            path.parent().is_some_and(|above| {
                let closed = ["container", "sandbox"].map(|name| self.path.join(name));
                above == self.path || closed.iter().any(|closed| above == closed)
            }),
            "not the agent's"
        );
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        match owner {
            Some((uid, gid)) => {
                std::os::unix::fs::lchown(path, Some(uid.as_raw()), Some(gid.as_raw()))
            }
            None => Ok(()),
        }
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent_dir(data_dir: &Path, agent: &str) -> (AgentDir, AgentSpec) {
        let name: AgentName = "web".parse().unwrap();
        let file = format!("project: p\nversion: '1.0'\nagents:\n  web: {agent}\n");
        let environment = crate::config::Environment::with([]);
        let path = data_dir.join("openclaw.yaml");
        let loaded = crate::config::load_str(&file, &path, &environment).unwrap();
        let spec = AgentSpec::clone(&loaded.fleet.agents[&name]);
        (AgentDir::of(data_dir, &name), spec)
    }

    #[test]
    fn nothing_is_made_below_what_the_agent_may_change() {
        let data_dir = tempfile::tempdir().unwrap();
        let agent = "{command: [x], mode: worker, sandbox: {mode: none}}";
        let (dir, spec) = agent_dir(data_dir.path(), agent);
        dir.prepare(&spec).unwrap();
        // In the agent's hands, every name under which something half-made might lie.
        for name in ["config.new", "agent.new"] {
            fs::create_dir_all(dir.api(&spec).join(name).join("full")).unwrap();
        }
        dir.prepare(&spec).unwrap();
        let listener = dir.listen(&spec).unwrap();
        std::os::unix::net::UnixStream::connect(dir.socket(&spec)).unwrap();
        drop(listener);
        let mode = fs::metadata(dir.config(&spec))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_a_sandbox_sees_is_open_to_the_user_that_is_found_for_it() {
        let data_dir = tempfile::tempdir().unwrap();
        let agent = "{command: [x], mode: worker, sandbox: {mode: process}}";
        let (dir, mut spec) = agent_dir(data_dir.path(), agent);
        dir.prepare(&spec).unwrap();
        drop(dir.listen(&spec).unwrap());
        let (home, mode_of_socket) = if Uid::effective().is_root() {
            (dir.path.join("sandbox"), 0o666)
        } else {
            (dir.path.clone(), 0o600)
        };
        assert_eq!(dir.home(&spec), home);
        assert_eq!(mode(&dir.socket(&spec)), mode_of_socket);
        dir.describe(&mut spec, &Replica::only(&dir.agent), "t".to_owned());
        let socket = home.join("api/agent.sock");
        assert_eq!(Path::new(&spec.launch.env["OPENCLAW_SOCK"]), socket);
    }

    #[test]
    fn what_a_container_sees_is_open_to_all_of_it_and_closed_to_the_host() {
        let data_dir = tempfile::tempdir().unwrap();
        let own = Uid::effective();
        let agent = format!("{{image: x, mode: worker, user: \"{own}\", data_dirs: [kept/state]}}");
        let (dir, mut spec) = agent_dir(data_dir.path(), &agent);
        dir.prepare(&spec).unwrap();
        let listener = dir.listen(&spec).unwrap();
        assert_eq!(mode(&dir.home(&spec)), 0o700);
        assert_eq!(mode(&dir.api(&spec)), 0o755);
        assert_eq!(mode(&dir.config(&spec)), 0o644);
        assert_eq!(mode(&dir.socket(&spec)), 0o666);
        assert_eq!(mode(&data_dir.path().join("kept/state")), 0o750);
        drop(listener);
        dir.describe(&mut spec, &Replica::only(&dir.agent), "t".to_owned());
        let launch = &spec.launch;
        assert_eq!(launch.env["OPENCLAW_SOCK"], "/run/openclaw/agent.sock");
        assert_eq!(launch.env["OPENCLAW_CONFIG"], "/run/openclaw/config.json");
        let mounts = &launch.container.as_ref().unwrap().mounts;
        let targets: Vec<_> = mounts.iter().map(|mount| mount.target.as_path()).collect();
        assert_eq!(
            targets,
            [Path::new("/data/state"), Path::new("/run/openclaw")]
        );
    }
}
