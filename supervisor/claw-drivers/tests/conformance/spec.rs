//! The plainest agent there is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use claw_core::AgentSpec;
use claw_core::spec::{
    Backoff, ExitCodes, Hooks, Launch, LogPolicy, Mode, OnFull, Probes, Program, Resources,
    Restart, RestartPolicy, Shutdown,
};

/// An agent that runs `command` and has no wishes.
pub(crate) fn agent(command: Vec<String>) -> AgentSpec {
    AgentSpec {
        launch: Launch {
            command,
            program: Program::Any,
            container: None,
            sandbox: None,
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            working_dir: PathBuf::from("/"),
            user: None,
            data_dirs: Vec::new(),
            config: serde_json::Value::Null,
            models: None,
        },
        mode: Mode::Daemon,
        schedule: None,
        concurrency: std::num::NonZeroU32::MIN,
        depends_on: BTreeMap::new(),
        restart: Restart {
            policy: RestartPolicy::Always,
            max_retries: None,
            backoff: Backoff::Immediate,
            initial_delay: Duration::ZERO,
            max_delay: Duration::ZERO,
            reset_after: Duration::from_secs(1),
            jitter_percent: 0,
            exit_codes: ExitCodes {
                success: BTreeSet::new(),
                retry: BTreeSet::new(),
                fatal: BTreeSet::new(),
                again: BTreeSet::new(),
            },
        },
        probes: Probes::default(),
        resources: Resources::default(),
        shutdown: Shutdown {
            timeout: Duration::from_secs(30),
            signal: 15,
            clean: Vec::new(),
        },
        hooks: Hooks::default(),
        logging: LogPolicy {
            max_size: 64 << 20,
            max_files: 2,
            retention: Duration::ZERO,
            on_full: OnFull::Drop,
        },
    }
}
