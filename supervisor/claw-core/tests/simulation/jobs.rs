//! What worker agents do with the runs they are given: take, finish, fail, forget, lose, repeat
//! and die over them, and what they say of it.

use std::time::Duration;

use claw_core::event::Freeze;
use claw_core::order::RunContext;
use claw_core::spec::Mode;
use claw_core::{ExitStatus, Fact, InstanceId, RunId, WorkOutcome};

use crate::host::{Clock, Happening, Host, Life, Process, Then};
use crate::random::Random;

/// Whoever cannot do something now tries again after this.
const AGAIN: Duration = Duration::from_secs(3);

/// A run in the hands of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) run: RunId,
    pub(crate) attempt: u32,
    /// It has left the supervisor's memory and is in the agent's.
    taken: bool,
}

/// What a worker does by itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Deed {
    /// It takes a run that waits for it.
    Takes(RunId, u32),
    /// It gives evidence of work on one.
    Progresses(RunId),
    /// It is done with one.
    Finishes(RunId, u32, WorkOutcome),
    /// It connects to a new supervisor and says what it works on.
    Resumes,
}

/// How a worker behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manners {
    Wild,
    Calm,
}

/// Whether there is a supervisor to speak to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Supervision {
    #[default]
    Nobody,
    Somebody,
}

impl Host {
    const fn manners(&self) -> Manners {
        if self.calm {
            Manners::Calm
        } else {
            Manners::Wild
        }
    }

    /// A run is given to a worker.
    pub(crate) fn deliver(
        &mut self,
        id: &InstanceId,
        run: &RunContext,
        random: &mut Random,
    ) -> Vec<Then> {
        let Some(process) = self.processes.get_mut(id) else {
            return Vec::new();
        };
        process.jobs.retain(|job| job.run != run.run);
        process.jobs.push(Job {
            run: run.run,
            attempt: run.attempt,
            taken: false,
        });
        let takes = Deed::Takes(run.run, run.attempt);
        vec![does(random.millis(1, 400), id, takes)]
    }

    /// A worker is told to drop a run.
    pub(crate) fn cancel_run(
        &mut self,
        id: &InstanceId,
        run: RunId,
        random: &mut Random,
    ) -> Vec<Then> {
        let calm = self.calm;
        let Some(process) = self.processes.get(id) else {
            return Vec::new();
        };
        let job = process.jobs.iter().find(|job| job.run == run).copied();
        let heeds = calm || random.chance(60);
        let Some(job) = job.filter(|_| heeds) else {
            return Vec::new();
        };
        let dropped = WorkOutcome::Failed {
            message: "cancelled".to_owned(),
            retryable: false,
        };
        let finishes = Deed::Finishes(run, job.attempt, dropped);
        vec![does(random.millis(1, 3000), id, finishes)]
    }

    pub(crate) fn does(
        &mut self,
        id: &InstanceId,
        deed: Deed,
        clock: Clock,
        random: &mut Random,
    ) -> Vec<Then> {
        let manners = self.manners();
        let unsupervised = self.supervision == Supervision::Nobody;
        let Some(process) = self.processes.get_mut(id) else {
            return Vec::new();
        };
        if !matches!(process.life, Life::Running) {
            return Vec::new();
        }
        let able = process.frozen == Freeze::No && process.temper.works(clock);
        if !able || unsupervised {
            return vec![does(AGAIN, id, deed)];
        }
        match deed {
            Deed::Takes(run, attempt) => takes(process, id, (run, attempt), manners, random),
            Deed::Progresses(run) => {
                let instance = id.clone();
                vec![told(random, Fact::RunProgressed { instance, run })]
            }
            Deed::Finishes(run, attempt, outcome) => {
                let job = |job: &Job| (job.run, job.attempt) == (run, attempt);
                if !process.jobs.iter().any(job) {
                    return Vec::new();
                }
                process.jobs.retain(|other| !job(other));
                says_finished(id, (run, attempt), outcome, manners, random)
            }
            Deed::Resumes => vec![resumes(process, id, manners, random)],
        }
    }

    /// Workers that live connect to a new supervisor, in their own time, or not at all.
    pub(crate) fn workers_again(&mut self, random: &mut Random) -> Vec<Then> {
        self.supervision = Supervision::Somebody;
        let calm = self.calm;
        let running = self.processes.iter().filter(|(_, process)| {
            matches!(process.life, Life::Running) && process.spec.mode == Mode::Worker
        });
        let mut again = Vec::new();
        for (id, _) in running {
            let most = random.pick(&[50, 2000, 40_000]);
            if calm || !random.chance(10) {
                again.push(does(random.millis(2, most), id, Deed::Resumes));
            }
        }
        again
    }

    /// What only the supervisor had in its memory is gone with it.
    pub(crate) fn lose_untaken(&mut self) {
        self.supervision = Supervision::Nobody;
        for process in self.processes.values_mut() {
            process.jobs.retain(|job| job.taken);
        }
    }

    /// Whatever was forgotten is remembered and done.
    pub(crate) fn finish_all(&self) -> Vec<Then> {
        let mut follows = Vec::new();
        for (id, process) in &self.processes {
            for job in &process.jobs {
                let finishes = Deed::Finishes(job.run, job.attempt, WorkOutcome::Succeeded);
                follows.push(does(AGAIN, id, finishes));
            }
        }
        follows
    }
}

fn does(delay: Duration, id: &InstanceId, deed: Deed) -> Then {
    Then::Happens(delay, Happening::Does(id.clone(), deed))
}

fn told(random: &mut Random, fact: Fact) -> Then {
    Then::Told(random.millis(0, 20), fact)
}

fn takes(
    process: &mut Process,
    id: &InstanceId,
    (run, attempt): (RunId, u32),
    manners: Manners,
    random: &mut Random,
) -> Vec<Then> {
    let mut jobs = process.jobs.iter_mut();
    let Some(job) = jobs.find(|job| (job.run, job.attempt) == (run, attempt)) else {
        return Vec::new();
    };
    job.taken = true;
    let mut follows = Vec::new();
    if random.chance(80) {
        let instance = id.clone();
        follows.push(told(random, Fact::RunTaken { instance, run }));
    }
    if random.chance(30) {
        follows.push(does(random.millis(1, 20_000), id, Deed::Progresses(run)));
    }
    let finishes = Deed::Finishes(run, attempt, outcome(manners, random));
    match random.below(100) {
        _ if manners == Manners::Calm => follows.push(does(random.millis(5, 5000), id, finishes)),
        0..70 => follows.push(does(random.millis(5, 20_000), id, finishes)),
        70..85 => follows.push(does(random.seconds(20, 300), id, finishes)),
        85..92 => {
            let dies = Happening::Ends(id.clone(), ExitStatus::Code(1));
            follows.push(Then::Happens(random.millis(5, 20_000), dies));
        }
        // It forgets what it had in its hands, or waits for something that never comes.
        _ => {}
    }
    follows
}

fn outcome(manners: Manners, random: &mut Random) -> WorkOutcome {
    match random.below(10) {
        _ if manners == Manners::Calm => WorkOutcome::Succeeded,
        0..7 => WorkOutcome::Succeeded,
        number => WorkOutcome::Failed {
            message: "no route to host".to_owned(),
            retryable: number < 9,
        },
    }
}

/// The truth, soon or late, and now and then something else beside it.
fn says_finished(
    id: &InstanceId,
    (run, attempt): (RunId, u32),
    outcome: WorkOutcome,
    manners: Manners,
    random: &mut Random,
) -> Vec<Then> {
    let fact = |attempt: u32, outcome: WorkOutcome| Fact::RunFinished {
        instance: id.clone(),
        run,
        attempt,
        outcome,
    };
    let mut follows = Vec::new();
    if manners == Manners::Wild && random.chance(3) {
        // It says so once more, and has changed its mind; or it counts wrongly.
        let other = WorkOutcome::Failed {
            message: "on second thoughts".to_owned(),
            retryable: true,
        };
        let attempt = attempt + u32::from(random.chance(30));
        follows.push(Then::Told(random.millis(20, 60_000), fact(attempt, other)));
    }
    let delay = if manners == Manners::Wild && random.chance(4) {
        random.seconds(5, 600)
    } else {
        random.millis(0, 20)
    };
    follows.push(Then::Told(delay, fact(attempt, outcome)));
    follows
}

fn resumes(process: &Process, id: &InstanceId, manners: Manners, random: &mut Random) -> Then {
    let taken = process.jobs.iter().filter(|job| job.taken);
    let mut running: Vec<(RunId, u32)> = taken.map(|job| (job.run, job.attempt)).collect();
    match random.below(20) {
        _ if manners == Manners::Calm => {}
        0 => running.clear(),
        1 => running.push((RunId::new(random.next(), 0), 1)),
        2 => running.iter_mut().for_each(|(_, attempt)| *attempt += 1),
        _ => {}
    }
    let instance = id.clone();
    told(random, Fact::Resumed { instance, running })
}
