//! Providers of models that come and go, and agents that call them.

use std::time::Duration;

use claw_core::event::Freeze;
use claw_core::{
    CallFailure, CallId, ExitStatus, Fact, InstanceId, ModelCall, ProviderName, RequestHash,
};

use crate::host::{Clock, Happening, Host, Life, Then};
use crate::random::Random;
use crate::world::{Item, World};

/// How many there are.
const PROVIDERS: u64 = 2;

/// No call goes to a provider so soon after it was found to be out.
const COOLING: Duration = Duration::from_secs(10);

/// What a life does with models.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habit {
    provider: u64,
    every: Duration,
    /// It makes the same call over and over, which is refused.
    stubborn: Stubborn,
    /// In per cent, how often it ends when it meets an outage.
    frail: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stubborn {
    Yes,
    No,
}

impl Habit {
    /// Most have none.
    pub(crate) fn sample(random: &mut Random) -> Option<Self> {
        if !random.chance(30) {
            return None;
        }
        let stubborn = random.chance(15);
        Some(Self {
            provider: random.below(PROVIDERS),
            every: if stubborn {
                random.seconds(1, 8)
            } else {
                random.seconds(5, 60)
            },
            stubborn: if stubborn {
                Stubborn::Yes
            } else {
                Stubborn::No
            },
            frail: random.pick(&[0, 50, 100]),
        })
    }

    /// Its first call.
    pub(crate) fn first(&self, id: &InstanceId, random: &mut Random) -> Then {
        let calls = Happening::Calls(id.clone());
        Then::Happens(random.millis(10, 5000), calls)
    }
}

fn name(provider: u64) -> ProviderName {
    format!("p{provider}")
}

impl Host {
    /// An agent calls a model, and will again.
    pub(crate) fn calls(
        &mut self,
        id: &InstanceId,
        clock: Clock,
        random: &mut Random,
    ) -> Vec<Then> {
        let Some(process) = self.processes.get(id) else {
            return Vec::new();
        };
        let habit = process.temper.habit;
        let Some(habit) = habit.filter(|_| matches!(process.life, Life::Running)) else {
            return Vec::new();
        };
        let again = Then::Happens(habit.every, Happening::Calls(id.clone()));
        if process.frozen == Freeze::Yes {
            return vec![again];
        }
        let call = CallId(u64::try_from(clock.time.as_nanos()).unwrap_or(u64::MAX));
        let limit = random.seconds(1, 120);
        let takes = random.millis(1, 4000);
        let mut follows = vec![again];
        let mut told = |delay: Duration, call: ModelCall| {
            let instance = id.clone();
            follows.push(Then::Told(delay, Fact::ModelCall { instance, call }));
        };
        told(Duration::ZERO, ModelCall::Began { call, limit });
        if random.chance(30) {
            told(takes / 2, ModelCall::Progressed { call });
        }
        told(takes, ModelCall::Ended { call });
        let provider = name(habit.provider);
        if habit.stubborn == Stubborn::Yes {
            told(takes, refused(id));
            return follows;
        }
        if !self.outages.contains(&habit.provider) {
            told(takes, ModelCall::Answered { provider });
            return follows;
        }
        told(takes, ModelCall::ProviderOut { provider });
        if random.chance(40) {
            follows.push(down(habit.provider, takes, clock));
        }
        if random.chance(habit.frail) {
            let dies = Happening::Ends(id.clone(), ExitStatus::Code(1));
            follows.push(Then::Happens(takes + random.millis(20, 2000), dies));
        }
        follows
    }
}

fn refused(id: &InstanceId) -> ModelCall {
    let resets_at = claw_core::Wall::UNIX_EPOCH;
    let detail = "no".to_owned();
    ModelCall::Failed {
        request: RequestHash([7; 32]),
        failure: if id.generation.0.is_multiple_of(2) {
            CallFailure::Refused { detail }
        } else {
            CallFailure::OverBudget {
                detail,
                resets_at: Some(resets_at),
            }
        },
    }
}

fn down(provider: u64, delay: Duration, clock: Clock) -> Then {
    let provider = name(provider);
    let until = clock.wall + delay + COOLING;
    Then::Told(delay, Fact::ProviderDown { provider, until })
}

/// A provider fails or comes back, and not always anybody says so.
pub(crate) fn toggle(world: &mut World) {
    if world.host.calm {
        world.host.outages.clear();
        return;
    }
    let lasts = world.random.seconds(20, 1200);
    world.after(lasts, Item::Outage);
    let provider = world.random.below(PROVIDERS);
    let follows = if world.host.outages.remove(&provider) {
        let provider = name(provider);
        Then::Told(Duration::ZERO, Fact::ProviderUp { provider })
    } else {
        world.host.outages.insert(provider);
        down(provider, Duration::ZERO, world.clock())
    };
    if world.random.chance(80) {
        world.follow(vec![follows]);
    }
}
