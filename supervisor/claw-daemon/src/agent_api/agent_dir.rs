//! What lies in an agent's directory for its socket: the socket itself, its `config`, and what its
//! program declared.
//!
//! ```text
//!  <data_dir>/agents/<name>/api/          its user's, mode 0700
//!    agent.sock                           made anew by each supervisor
//!    config.json                          `config` with every variable in its place
//!  <data_dir>/agents/<name>/environments/ its user's, mode 0700, shared by its replicas; what its
//!                                         `python.requirements` ask for, made by its own process
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
use crate::config::Replica;

/// The longest path of a unix socket (`unix(7)`, `sun_path` without its end).
const PATH: usize = 107;

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

    fn api(&self) -> PathBuf {
        self.path.join("api")
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.api().join("agent.sock")
    }

    fn config(&self) -> PathBuf {
        self.api().join("config.json")
    }

    pub(super) fn environments(&self) -> PathBuf {
        self.path.join("environments")
    }

    /// Puts into a spec what its process is told of the socket.
    pub(super) fn describe(&self, spec: &mut AgentSpec, replica: &Replica, token: String) {
        let launch = &mut spec.launch;
        let mut set = |name: &str, value: String| launch.env.insert(name.to_owned(), value);
        let path = |path: PathBuf| path.to_string_lossy().into_owned();
        set("OPENCLAW_SOCK", path(self.socket()));
        set("OPENCLAW_PROTOCOL", "1".to_owned());
        set("OPENCLAW_AGENT", replica.group.to_string());
        set("OPENCLAW_REPLICA", replica.index.to_string());
        set("OPENCLAW_REPLICAS", replica.count.to_string());
        if spec.mode == Mode::Worker {
            set("OPENCLAW_CONFIG", path(self.config()));
            launch.config = serde_json::Value::Null;
        }
        let token = Secret::new(token);
        launch.secrets.insert("OPENCLAW_TOKEN".to_owned(), token);
    }

    /// Makes the directory and writes the config. Blocks.
    pub(super) fn prepare(&self, spec: &AgentSpec) -> Result<(), AgentDirError> {
        let api = self.api();
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| AgentDirError::Io { path, source }
        };
        let socket = self.socket();
        if socket.as_os_str().len() > PATH {
            return Err(AgentDirError::TooLong {
                agent: self.agent.clone(),
                path: socket,
            });
        }
        // The directories above are passable, not readable, as the driver makes them.
        DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(&self.path)
            .map_err(at(&self.path))?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&api)
            .map_err(at(&api))?;
        let owner = self.owner(spec)?;
        self.give(&api, 0o700, owner).map_err(at(&api))?;
        if spec.mode == Mode::Worker {
            let path = self.config();
            let fresh = self.path.join("config.new");
            let text = spec.launch.config.to_string();
            remove(&fresh).map_err(at(&fresh))?;
            write_new(&fresh, text.as_bytes()).map_err(at(&fresh))?;
            self.give(&fresh, 0o600, owner).map_err(at(&fresh))?;
            fs::rename(&fresh, &path).map_err(at(&path))?;
        }
        Ok(())
    }

    /// Makes the folder of its virtual environments. Those of another user would be of no use.
    /// Blocks.
    pub(super) fn prepare_environments(&self, spec: &AgentSpec) -> Result<(), AgentDirError> {
        let path = self.environments();
        let owner = self.owner(spec)?;
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
        let path = self.socket();
        let fresh = self.path.join("socket.new");
        let owner = self.owner(spec)?;
        let make = || -> io::Result<UnixListener> {
            remove(&fresh)?;
            let listener = UnixListener::bind(&fresh)?;
            listener.set_nonblocking(true)?;
            self.give(&fresh, 0o600, owner)?;
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
        let Some(name) = &spec.launch.user else {
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
        debug_assert_eq!(path.parent(), Some(self.path.as_path()), "not the agent's");
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

    fn agent_dir(data_dir: &Path) -> (AgentDir, AgentSpec) {
        let name: AgentName = "web".parse().unwrap();
        let file = "project: p\nversion: '1.0'\nagents:\n  web: {command: [x], mode: worker}\n";
        let environment = crate::config::Environment::with([]);
        let path = data_dir.join("openclaw.yaml");
        let loaded = crate::config::load_str(file, &path, &environment).unwrap();
        let spec = AgentSpec::clone(&loaded.fleet.agents[&name]);
        (AgentDir::of(data_dir, &name), spec)
    }

    #[test]
    fn nothing_is_made_below_what_the_agent_may_change() {
        let data_dir = tempfile::tempdir().unwrap();
        let (dir, spec) = agent_dir(data_dir.path());
        dir.prepare(&spec).unwrap();
        // In the agent's hands, every name under which something half-made might lie.
        for name in ["config.new", "agent.new"] {
            fs::create_dir_all(dir.api().join(name).join("full")).unwrap();
        }
        dir.prepare(&spec).unwrap();
        let listener = dir.listen(&spec).unwrap();
        std::os::unix::net::UnixStream::connect(dir.socket()).unwrap();
        drop(listener);
        let mode = fs::metadata(dir.config()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
