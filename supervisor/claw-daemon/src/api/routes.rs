//! The paths of the control API, once for server and clients.

/// Health of the supervisor.
pub const HEALTH: &str = "/api/health";
/// Readiness of the supervisor.
pub const READY: &str = "/api/ready";
/// All agents.
pub const AGENTS: &str = "/api/agents";
/// One agent.
pub const AGENT: &str = "/api/agents/{name}";
/// Goal up.
pub const START: &str = "/api/agents/{name}/start";
/// Goal down.
pub const STOP: &str = "/api/agents/{name}/stop";
/// Stop, then start.
pub const RESTART: &str = "/api/agents/{name}/restart";
/// No new work.
pub const PAUSE: &str = "/api/agents/{name}/pause";
/// Undo pause.
pub const RESUME: &str = "/api/agents/{name}/resume";
/// The kill switch: what is halted, and more.
pub const HALT: &str = "/api/halt";
/// Let go of what is halted.
pub const RESUME_ALL: &str = "/api/resume-all";
/// One run, now.
pub const TRIGGER: &str = "/api/agents/{name}/trigger";
/// Runs of an agent.
pub const RUNS: &str = "/api/agents/{name}/runs";
/// Cancel a run.
pub const CANCEL: &str = "/api/agents/{name}/runs/{id}/cancel";
/// One run.
pub const RUN: &str = "/api/runs/{id}";
/// The log of an agent.
pub const LOGS: &str = "/api/agents/{name}/logs";
/// The evidence behind `why`.
pub const TRANSITIONS: &str = "/api/agents/{name}/transitions";
/// What an agent was not allowed to reach.
pub const DENIALS: &str = "/api/agents/{name}/denials";
/// The system calls of an agent that its list does not have.
pub const LEARNED: &str = "/api/agents/{name}/learned";
/// A command beside an agent.
pub const EXEC: &str = "/api/agents/{name}/exec";
/// The keys of an agent's state.
pub const STATE: &str = "/api/agents/{name}/state";
/// One key of an agent's state.
pub const STATE_KEY: &str = "/api/agents/{name}/state/{key}";
/// The versions of an agent's state.
pub const STATE_VERSIONS: &str = "/api/agents/{name}/state/versions";
/// What differs between two of them.
pub const STATE_DIFF: &str = "/api/agents/{name}/state/diff";
/// Back to one of them.
pub const STATE_ROLLBACK: &str = "/api/agents/{name}/state/rollback";
/// An agent's state in a form that outlives the store.
pub const STATE_EXPORT: &str = "/api/agents/{name}/state/export";
/// The way back.
pub const STATE_IMPORT: &str = "/api/agents/{name}/state/import";
/// The keys of the state that agents share.
pub const SHARED_STATE: &str = "/api/shared/state";
/// One key of it.
pub const SHARED_STATE_KEY: &str = "/api/shared/state/{key}";
/// Its versions.
pub const SHARED_STATE_VERSIONS: &str = "/api/shared/state/versions";
/// What differs between two of them.
pub const SHARED_STATE_DIFF: &str = "/api/shared/state/diff";
/// Back to one of them.
pub const SHARED_STATE_ROLLBACK: &str = "/api/shared/state/rollback";
/// It in a form that outlives the store.
pub const SHARED_STATE_EXPORT: &str = "/api/shared/state/export";
/// The way back.
pub const SHARED_STATE_IMPORT: &str = "/api/shared/state/import";
/// In what code is run once.
pub const SANDBOXES: &str = "/api/sandboxes";
/// A command in one of them.
pub const SANDBOX_RUN: &str = "/api/sandboxes/{name}/run";
/// A command in an image that the fleet file does not name.
pub const IMAGE_RUN: &str = "/api/sandboxes/run";
/// A call from outside.
pub const HOOK: &str = "/api/hooks/{name}";
/// Events again, from a point on.
pub const EVENTS_REPLAY: &str = "/api/events/replay";
/// Events that agents have given up.
pub const DEAD_LETTERS: &str = "/api/events/dead";
/// Deliver them again.
pub const DEAD_LETTERS_REPLAY: &str = "/api/events/dead/replay";
/// Delete them.
pub const DEAD_LETTERS_DROP: &str = "/api/events/dead/drop";
/// How the budgets of calls to models stand.
pub const LLM_BUDGET: &str = "/api/llm/budget";
/// What calls to models used.
pub const LLM_USAGE: &str = "/api/llm/usage";
/// Calls to models.
pub const LLM_CALLS: &str = "/api/llm/calls";
/// What providers have billed.
pub const LLM_RECONCILE: &str = "/api/llm/reconcile";
/// What models cost.
pub const LLM_PRICES: &str = "/api/llm/prices";
/// Lifecycle events.
pub const EVENTS: &str = "/api/events";
/// The configuration in force.
pub const CONFIG: &str = "/api/config";
/// What applying a configuration would do.
pub const CONFIG_PLAN: &str = "/api/config/plan";
/// Apply a configuration.
pub const CONFIG_APPLY: &str = "/api/config/apply";
/// End the supervisor.
pub const SHUTDOWN: &str = "/api/shutdown";
/// Another executable in place of the supervisor's.
pub const UPGRADE: &str = "/api/upgrade";
/// Metrics.
pub const METRICS: &str = "/api/metrics";
/// Metrics, where Prometheus looks by default.
pub const METRICS_ROOT: &str = "/metrics";
/// The OpenAPI document.
pub const OPENAPI: &str = "/api/openapi.json";
/// The readable page.
pub const DOCS: &str = "/docs";

/// The name of the control socket in the data directory.
pub const SOCKET_NAME: &str = "control.sock";

/// Fills `{name}` of a path.
#[must_use]
pub fn for_agent(path: &str, agent: &claw_core::AgentName) -> String {
    path.replace("{name}", agent.as_str())
}

/// The path of the shared state that is like one of an agent's state.
#[must_use]
pub fn for_shared(path: &str) -> String {
    path.replace(STATE, SHARED_STATE)
}

/// Fills `{id}` of a path.
#[must_use]
pub fn for_run(path: &str, run: claw_core::RunId) -> String {
    path.replace("{id}", &run.to_string())
}
