//! What happens on the machine by itself, and what follows from it.

use std::time::Duration;

use claw_core::event::Freeze;
use claw_core::{ExitReport, ExitStatus, Fact, InstanceId};

use crate::host::{Clock, Happening, Host, Life, Then, end_of, heed_signal, pid_of};
use crate::random::Random;
use crate::temper::{Spawning, Temper};

impl Host {
    /// Something happens; returns what follows.
    pub(crate) fn happen(
        &mut self,
        happening: Happening,
        clock: Clock,
        random: &mut Random,
    ) -> Vec<Then> {
        match happening {
            Happening::Starts(id) => self.starts(&id, clock, random),
            Happening::Ends(id, status) => self.ends(&id, status, random),
            Happening::TreeGone(id) => self.tree_gone(&id, clock, random),
            Happening::ShimDies(id) => self.shim_dies(&id, random),
            Happening::Beats(id) => self.beats(&id, clock, random),
            Happening::SaysReady(id) => self.says_ready(&id, random),
            Happening::Calls(id) => self.calls(&id, clock, random),
            Happening::Does(id, deed) => self.does(&id, deed, clock, random),
            Happening::HookEnds(instance, hook, outcome) => {
                let Some(process) = self.processes.get_mut(&instance) else {
                    return Vec::new();
                };
                if process.hook.take().is_none() {
                    return Vec::new();
                }
                let done = Fact::HookDone {
                    instance,
                    hook,
                    outcome,
                };
                vec![Then::Told(random.millis(0, 20), done)]
            }
            Happening::ProbeEnds(instance, probe, sequence) => {
                let Some(process) = self.processes.get(&instance) else {
                    return Vec::new();
                };
                let outcome = process.temper.probed(process, probe, clock, random);
                let probed = Fact::Probed {
                    instance,
                    probe,
                    sequence,
                    outcome,
                };
                vec![Then::Told(random.millis(0, 20), probed)]
            }
        }
    }

    fn starts(&mut self, id: &InstanceId, clock: Clock, random: &mut Random) -> Vec<Then> {
        let Some(process) = self.processes.get_mut(id) else {
            return Vec::new();
        };
        if process.life != Life::Starting {
            return Vec::new();
        }
        let mut follows = process.live(id, clock, random);
        if process.temper.spawning == Spawning::Works {
            let fact = Fact::Started {
                instance: id.clone(),
                pid: pid_of(id),
                at: clock.wall,
                image: None,
            };
            follows.push(Then::Told(random.millis(0, 50), fact));
        }
        if process.signalled {
            follows.extend(heed_signal(process, id, random));
        }
        follows
    }

    fn ends(&mut self, id: &InstanceId, status: ExitStatus, random: &mut Random) -> Vec<Then> {
        let Some(process) = self.processes.get_mut(id) else {
            return Vec::new();
        };
        if !matches!(process.life, Life::Running) {
            return Vec::new();
        }
        if process.frozen == Freeze::Yes {
            let ends = Happening::Ends(id.clone(), status);
            return vec![Then::Happens(Duration::from_secs(1), ends)];
        }
        process.life = Life::Ending { status };
        let mut follows = Vec::new();
        if random.chance(90) {
            let instance = id.clone();
            let exited = Fact::MainExited { instance, status };
            follows.push(Then::Told(random.millis(0, 20), exited));
        }
        let gone = Happening::TreeGone(id.clone());
        follows.push(Then::Happens(process.temper.leftovers_last, gone));
        follows
    }

    fn tree_gone(&mut self, id: &InstanceId, clock: Clock, random: &mut Random) -> Vec<Then> {
        let Some(process) = self.processes.get_mut(id) else {
            return Vec::new();
        };
        let Life::Ending { status } = process.life else {
            return Vec::new();
        };
        process.life = Life::Gone(Box::new(ExitReport {
            status,
            at: clock.wall,
            oom_kills: process.temper.oom_kills(status),
            leftovers: 0,
            cpu_us: 0,
            memory_peak: 0,
            log: None,
        }));
        let told_late = !self.calm && process.kills == 1 && random.rarely(50);
        if told_late {
            return Vec::new();
        }
        vec![Then::Told(
            random.millis(0, 20),
            end_of(id, &process.life, clock),
        )]
    }

    fn shim_dies(&mut self, id: &InstanceId, random: &mut Random) -> Vec<Then> {
        let Some(process) = self.processes.get_mut(id) else {
            return Vec::new();
        };
        if !process.lives() {
            return Vec::new();
        }
        process.life = Life::Lost;
        let instance = id.clone();
        vec![Then::Told(random.millis(0, 500), Fact::Lost { instance })]
    }

    fn beats(&mut self, id: &InstanceId, clock: Clock, random: &mut Random) -> Vec<Then> {
        let Some(process) = self.processes.get(id) else {
            return Vec::new();
        };
        if !matches!(process.life, Life::Running) {
            return Vec::new();
        }
        process.temper.beat(id, process, clock, random)
    }

    fn says_ready(&mut self, id: &InstanceId, random: &mut Random) -> Vec<Then> {
        match self.processes.get(id) {
            Some(process)
                if matches!(process.life, Life::Running) && process.frozen == Freeze::No =>
            {
                vec![Then::Told(random.millis(0, 20), Temper::ready(id))]
            }
            // It says so when it is thawed.
            Some(process) if matches!(process.life, Life::Running) => {
                let later = Happening::SaysReady(id.clone());
                vec![Then::Happens(Duration::from_secs(1), later)]
            }
            Some(_) | None => Vec::new(),
        }
    }
}
