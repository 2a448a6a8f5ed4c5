//! Black-box tests over the real executable, and the checks of the tree itself.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "all of this is tests: a failure is a panic, and a skipped check is said"
)]

mod abuse;
mod agent_protocol;
mod anomalies;
mod battery_table;
mod caller;
mod chains;
mod clocks;
mod commands;
mod conformance_table;
mod container_escapes;
mod containers;
mod containers_heavy;
mod crash_points;
mod crashes_heavy;
mod dice;
mod durability_heavy;
mod escapes;
mod examples;
mod exec;
mod exit_codes;
mod fault_proxy;
mod faulty_ways;
mod fleet;
mod gathering;
mod guide_heavy;
mod halts;
mod handovers;
mod health;
mod images_heavy;
mod limits_heavy;
mod lockdown;
mod model_budget;
mod model_clients_heavy;
mod model_outages;
mod models;
mod obstacles;
mod output;
mod own_limits;
mod pipeline_heavy;
mod process_escapes;
mod process_sandbox;
mod rates;
mod reach;
mod registries;
mod reload;
mod repairs;
mod repeats;
mod replicas;
mod requirements_heavy;
mod restarts;
mod rights;
mod rolling;
mod rotation;
mod sandbox_leftovers;
mod sandboxes;
mod schedules;
mod simulate;
mod small_disk;
mod soak_heavy;
mod stalls;
mod stopping;
mod stored;
mod takeover;
mod tidy;
mod upgrades;
mod webhooks;
mod workers;
