//! `supervisor:` — the supervisor itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::item::Fields;
use super::keys::SUPERVISOR;
use super::reader::Reader;
use super::value::{address, engine};

/// Where state is kept when the file does not say.
pub(super) const DATA_DIR: &str = ".openclaw";
const PORT: u16 = 8400;
const CONCURRENT_STARTS: NonZeroU32 = NonZeroU32::new(10).expect("ten is not zero");

/// How the supervisor itself runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SupervisorConfig {
    /// Where the control API listens beside its unix socket.
    pub listen: Option<SocketAddr>,
    /// Where state, logs and the socket are kept; absolute.
    pub data_dir: PathBuf,
    /// What a change of the file does.
    pub reload: Reload,
    /// What a plain SIGTERM does to agents.
    pub on_exit: OnExit,
    /// Where the container engine listens, as `DOCKER_HOST` has it; `None`: that, or the usual
    /// sockets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
}

/// What a change of the file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reload {
    /// What can be changed in a running agent is; the rest restarts it.
    Hybrid,
    /// Only what can be changed in running agents is.
    Hot,
    /// Changed agents are restarted.
    Restart,
    /// Nothing, until asked.
    Off,
}

/// What a plain SIGTERM of the supervisor does to agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExit {
    /// They are stopped.
    Stop,
    /// They run on and are adopted by the next supervisor.
    Keep,
}

/// Whether the supervisor gives up system calls that it has no use for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lockdown {
    /// It does.
    On,
    /// It does not, so that it can be traced.
    Off,
}

impl Reader<'_> {
    /// Reads the supervisor's own settings.
    pub(super) fn supervisor(&mut self, fleet: &Fields<'_>) -> (SupervisorConfig, NonZeroU32) {
        let mut config = SupervisorConfig {
            listen: Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT)),
            data_dir: self.folder.join(DATA_DIR),
            reload: Reload::Hybrid,
            on_exit: OnExit::Stop,
            engine: None,
        };
        let Some(fields) = self.inner(fleet, "supervisor", &SUPERVISOR) else {
            return (config, CONCURRENT_STARTS);
        };
        if let Some(item) = fields.get("listen") {
            let listen = self.parsed(&item, "an address to listen on", address::listen);
            config.listen = listen.unwrap_or(config.listen);
        }
        if let Some(path) = fields.get("data_dir").and_then(|item| self.path(&item)) {
            config.data_dir = path;
        }
        let reloads = [
            ("hybrid", Reload::Hybrid),
            ("hot", Reload::Hot),
            ("restart", Reload::Restart),
            ("off", Reload::Off),
        ];
        if let Some(reload) = fields
            .get("reload")
            .and_then(|item| self.choice(&item, &reloads))
        {
            config.reload = reload;
        }
        let exits = [("stop", OnExit::Stop), ("keep", OnExit::Keep)];
        if let Some(on_exit) = fields
            .get("on_exit")
            .and_then(|item| self.choice(&item, &exits))
        {
            config.on_exit = on_exit;
        }
        let engine = fields.get("engine");
        config.engine =
            engine.and_then(|item| self.parsed(&item, "the address of an engine", engine::address));
        let starts = fields.get("max_concurrent_starts");
        let starts = starts.and_then(|item| self.whole(&item, (1, 10_000)));
        let starts = starts.and_then(|starts| u32::try_from(starts).ok());
        (
            config,
            starts
                .and_then(NonZeroU32::new)
                .unwrap_or(CONCURRENT_STARTS),
        )
    }
}

/// Where the data folder is, told from its text alone.
pub(super) fn data_dir(folder: &Path, text: Option<&str>) -> PathBuf {
    folder.join(text.unwrap_or(DATA_DIR))
}
