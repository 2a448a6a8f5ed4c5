//! The container of an agent that is one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::Serialize;

use super::sandbox::Egress;

/// A container: its image, what it sees of the host, and how it is confined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Container {
    /// The image, as a reference such as `python:3.12-slim` or `name@sha256:…`. With a `build` it
    /// is the name that the built image is given.
    pub image: String,
    /// When the image is fetched from its registry.
    pub pull: PullPolicy,
    /// How the image is built; `None` when it is there or fetched.
    pub build: Option<Build>,
    /// Instead of the image's own entry point.
    pub entrypoint: Option<Vec<String>>,
    /// Instead of the image's own working directory: an absolute path inside.
    pub working_dir: Option<PathBuf>,
    /// Directories and volumes of the host.
    pub mounts: Vec<Mount>,
    /// Ports of the container that are reached through the host. Only with a network.
    pub ports: Vec<Port>,
    /// Whether the image's files can be written to.
    pub root: RootFs,
    /// File systems in memory, `/tmp` among them.
    pub tmpfs: Vec<Tmpfs>,
    /// The size of `/dev/shm`, in bytes.
    pub shm: u64,
    /// What it reaches.
    pub network: Network,
    /// Which system calls it may make.
    pub seccomp: Seccomp,
    /// Capabilities that it keeps, such as `CHOWN`; all others are dropped (`capabilities(7)`).
    pub capabilities: Vec<String>,
    /// How many files each of its processes may have open (`RLIMIT_NOFILE`).
    pub nofile: u64,
    /// Who reaps its orphaned processes.
    pub init: Init,
}

/// When an image is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PullPolicy {
    /// When it is not there.
    #[default]
    Missing,
    /// Before each start.
    Always,
    /// Never: it has to be there.
    Never,
}

/// How an image is built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Build {
    /// The folder that is sent to the engine.
    pub context: PathBuf,
    /// The Dockerfile, from the context on.
    pub dockerfile: PathBuf,
    /// The stage to build; the last one when `None`.
    pub target: Option<String>,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
}

/// Something of the host's that the container sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// What.
    pub source: MountSource,
    /// Where: an absolute path inside.
    pub target: PathBuf,
    /// Whether it may be changed.
    pub access: Access,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MountSource {
    /// A directory or a file of the host: an absolute path.
    Path(PathBuf),
    /// A volume of the engine, made when it is not there.
    Volume(String),
}

/// Whether something that is mounted may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// It may not.
    ReadOnly,
    /// It may.
    ReadWrite,
}

/// A port of the container, reached through one of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Port {
    /// The host's address; loopback unless written otherwise.
    pub host_ip: IpAddr,
    /// The host's port.
    pub host_port: u16,
    /// The container's port.
    pub container_port: u16,
    /// Of which protocol.
    pub protocol: PortProtocol,
}

/// The protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PortProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Whether the files of the image can be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RootFs {
    /// They cannot.
    ReadOnly,
    /// They can; what is written is gone with the container.
    Writable,
}

/// A file system in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tmpfs {
    /// Where: an absolute path inside.
    pub target: PathBuf,
    /// Its size, in bytes.
    pub size: u64,
    /// Whether programs in it can be executed.
    pub exec: Exec,
}

/// Whether programs of a file system can be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Exec {
    /// They can.
    Allowed,
    /// They cannot.
    Denied,
}

/// What a container reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Nothing but itself.
    None,
    /// Itself, and the hosts of a list, through the supervisor.
    Listed(Box<Egress>),
    /// Everything that the host reaches, through the engine's bridge.
    Bridge,
}

/// Which system calls a container may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Seccomp {
    /// Those that the engine allows to each container.
    Default,
    /// All.
    Off,
}

/// Who reaps the orphaned processes of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// A small first process of the engine's, which also passes signals on.
    Engine,
    /// The program itself.
    Own,
}
