//! One agent, from its sections.

use std::collections::BTreeMap;

use claw_core::spec::{AgentSpec, Mode, Resources};

use super::diagnostic::Code;
use super::item::{Fields, Item};
use super::keys_agent::AGENT;
use super::limits::usual_of_sandbox;
use super::reader::Reader;
use super::worker::WorkerConfig;

/// The parts of an agent that only the whole fleet can check.
pub(super) struct Agent<'n> {
    pub(super) spec: AgentSpec,
    pub(super) worker: WorkerConfig,
    /// Processes of its kind, 1 to 64.
    pub(super) replicas: u32,
    pub(super) fields: Fields<'n>,
}

impl Reader<'_> {
    /// Reads an agent. What is wrong is reported, and stands in the result as its default.
    pub(super) fn agent<'n>(&mut self, item: &Item<'n>) -> Option<Agent<'n>> {
        let fields = self.fields(&AGENT, item)?;
        let mode = self.mode(&fields);
        let replicas = self.replicas(&fields, mode);
        let (delivery, concurrency) = self.delivery(&fields, mode);
        let mut spec = AgentSpec {
            launch: self.launch(&fields),
            mode,
            schedule: self.schedule(&fields),
            concurrency,
            depends_on: BTreeMap::new(),
            restart: self.restart(&fields, mode),
            probes: self.probes(&fields, mode),
            resources: Resources::default(),
            shutdown: self.shutdown(&fields),
            hooks: self.hooks(&fields),
            logging: self.logging(&fields),
        };
        spec.resources = self.resources(&fields, &spec.launch);
        if let Some(sandbox) = &mut spec.launch.sandbox {
            sandbox.usual = usual_of_sandbox(&spec.resources);
        }
        self.serves_inside(&fields, &spec);
        self.logging_variables(&fields, &mut spec.launch);
        let (sharding, shard_key) = self.sharding(&fields, replicas);
        let worker = WorkerConfig {
            delivery,
            sharding,
            shard_key,
            ..self.worker_config(&fields, &spec)
        };
        Some(Agent {
            spec,
            worker,
            replicas,
            fields,
        })
    }

    fn mode(&mut self, fields: &Fields<'_>) -> Mode {
        let words = [
            ("daemon", Mode::Daemon),
            ("oneshot", Mode::Oneshot),
            ("worker", Mode::Worker),
        ];
        let written = fields.get("mode");
        let mode = written.as_ref().and_then(|item| self.choice(item, &words));
        if fields.get("source").is_some() {
            return self.mode_of_source(mode, written.as_ref());
        }
        match (mode, fields.get("schedule")) {
            (Some(Mode::Daemon), Some(schedule)) => {
                let message = "a schedule starts one process per run, and `mode: daemon` keeps one process for all of them";
                let item = written.unwrap_or(schedule);
                self.error(&item, Code::Conflict, message, "write `mode: oneshot` or remove the mode; runs inside one process are for agents with a `source` and for `mode: worker`");
                Mode::Oneshot
            }
            (Some(mode), _) => mode,
            (None, Some(_)) => Mode::Oneshot,
            (None, None) => Mode::Daemon,
        }
    }

    /// A file of the SDK is one process that asks for its runs, whether the file calls that a
    /// daemon or a worker.
    fn mode_of_source(&mut self, mode: Option<Mode>, written: Option<&Item<'_>>) -> Mode {
        if let (Some(Mode::Oneshot), Some(item)) = (mode, written) {
            self.error(
                item,
                Code::NotSupportedYet,
                "`mode: oneshot` with a `source` is not supported yet",
                "remove the mode: its process stays, and asks for each run",
            );
        }
        Mode::Worker
    }
}
