//! What agents have used so far, over all their instances.

use std::collections::BTreeMap;
use std::time::Duration;

use claw_core::{AgentName, InstanceId};
use claw_drivers::driver::Usage;

/// Adds up what instances used, so that the sums of an agent only ever grow. An instance's last
/// measurement counts for it; what it used after that, until its end, is not seen.
#[derive(Debug, Default)]
pub(super) struct Used {
    ended: BTreeMap<AgentName, Sum>,
    live: BTreeMap<InstanceId, Sum>,
}

/// What was used.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Sum {
    /// Processor time.
    pub(super) cpu: Duration,
    /// Kills for memory.
    pub(super) oom_kills: u64,
    /// Memory in use, in bytes; of live instances only.
    pub(super) memory: u64,
}

impl Used {
    /// Takes in a measurement of all live instances.
    pub(super) fn measure(&mut self, usage: &BTreeMap<InstanceId, Usage>) {
        let gone: Vec<InstanceId> = self
            .live
            .keys()
            .filter(|instance| !usage.contains_key(*instance))
            .cloned()
            .collect();
        for instance in gone {
            let last = self.live.remove(&instance).unwrap_or_default();
            let sum = self.ended.entry(instance.agent).or_default();
            sum.cpu += last.cpu;
            sum.oom_kills += last.oom_kills;
        }
        for (instance, usage) in usage {
            let live = self.live.entry(instance.clone()).or_default();
            live.cpu = Duration::from_micros(usage.cpu_us).max(live.cpu);
            live.oom_kills = usage.oom_kills.max(live.oom_kills);
            live.memory = usage.memory;
        }
    }

    /// Takes in the kills of an instance that was killed for memory, which may never have been
    /// measured.
    pub(super) fn killed_for_memory(&mut self, instance: &InstanceId, kills: u64) {
        let live = self.live.entry(instance.clone()).or_default();
        live.oom_kills = live.oom_kills.max(kills);
    }

    /// All that an agent has used.
    pub(super) fn of(&self, agent: &AgentName) -> Sum {
        let mut sum = self.ended.get(agent).copied().unwrap_or_default();
        for (_, live) in self.live.range(InstanceId::all_of(agent)) {
            sum.cpu += live.cpu;
            sum.oom_kills += live.oom_kills;
            sum.memory += live.memory;
        }
        sum
    }

    /// Forgets an agent.
    pub(super) fn forget(&mut self, agent: &AgentName) {
        self.ended.remove(agent);
        self.live.retain(|instance, _| instance.agent != *agent);
    }
}

#[cfg(test)]
mod tests {
    use claw_core::Generation;

    use super::*;

    fn instance(generation: u64) -> InstanceId {
        InstanceId {
            agent: "monitor".parse().unwrap(),
            generation: Generation(generation),
        }
    }

    fn usage(cpu_us: u64, oom_kills: u64) -> Usage {
        Usage {
            cpu_us,
            memory: 100,
            pids: 1,
            oom_kills,
        }
    }

    #[test]
    fn sums_grow_over_the_lives_of_an_agent() {
        let mut used = Used::default();
        used.measure(&BTreeMap::from([(instance(1), usage(2_000_000, 0))]));
        used.killed_for_memory(&instance(1), 1);
        used.measure(&BTreeMap::from([(instance(2), usage(500_000, 2))]));
        let expected = Sum {
            cpu: Duration::from_millis(2500),
            oom_kills: 3,
            memory: 100,
        };
        assert_eq!(used.of(&instance(1).agent), expected);
        used.forget(&instance(1).agent);
        assert_eq!(used.of(&instance(1).agent), Sum::default());
    }
}
