//! One world: a machine, a journal, a supervisor that now and then dies, and one clock for all.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use claw_core::spec::FleetSpec;
use claw_core::{Action, Event, Fact, Inheritance, InstanceId, Mono, Now, Order, Wall};
use jiff::SignedDuration;

use crate::host::{Clock, Happening, Host, Then};
use crate::invariants::{Seen, Verdict, Watch};
use crate::journal::{Answer, Journal, Mood};
use crate::planted::Plant;
use crate::random::Random;
use crate::sut::Sut;
use crate::{chaos, fleets, providers};

/// When the worlds begin: a day before a change of the clock in Berlin.
const BEGIN: SignedDuration = SignedDuration::from_secs(1_774_742_400);

/// A step this late means that the supervisor was away.
const LATE: Duration = Duration::from_secs(1);

/// Facts that are kept to be told again when they are stale.
const MOST_OLD_FACTS: usize = 30;

/// What waits for its time.
#[derive(Debug)]
pub(crate) enum Item {
    Happens(Happening),
    Told(Fact),
    JournalWrites,
    JournalRecovers,
    Chaos,
    /// A provider of models fails, or comes back.
    Outage,
    Restore,
}

pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) time: Duration,
    pub(crate) wall_ahead: SignedDuration,
    queue: BTreeMap<(Duration, u64), (u64, Item)>,
    sequence: u64,
    pub(crate) spec: Arc<FleetSpec>,
    pub(crate) sut: Option<Sut>,
    /// Which supervisor this is; what was under way for another is lost.
    life: u64,
    born: Duration,
    pub(crate) away_until: Duration,
    away_total: Duration,
    last_step: Duration,
    pub(crate) host: Host,
    pub(crate) journal: Journal,
    pub(crate) watch: Watch,
    pub(crate) plant: Plant,
    pub(crate) steps: u64,
    pub(crate) stopped: bool,
    pub(crate) next_ticket: u64,
    pub(crate) old_facts: VecDeque<Fact>,
    told_until: BTreeMap<InstanceId, Duration>,
    /// Print every step from this one on.
    pub(crate) trace_from: Option<u64>,
}

impl World {
    pub(crate) fn new(seed: u64, plant: Plant) -> Self {
        let mut random = Random::new(seed);
        let spec = Arc::new(fleets::fleet(&mut random));
        let wall_ahead = BEGIN + SignedDuration::from_secs(random.between(0, 90_000).cast_signed());
        let mut world = Self {
            random,
            time: Duration::ZERO,
            wall_ahead,
            queue: BTreeMap::new(),
            sequence: 0,
            spec,
            sut: None,
            life: 0,
            born: Duration::ZERO,
            away_until: Duration::ZERO,
            away_total: Duration::ZERO,
            last_step: Duration::ZERO,
            host: Host::default(),
            journal: Journal::new(),
            watch: Watch::default(),
            plant,
            steps: 0,
            stopped: false,
            next_ticket: 0,
            old_facts: VecDeque::new(),
            told_until: BTreeMap::new(),
            trace_from: None,
        };
        world.after(Duration::ZERO, Item::Restore);
        world.after(Duration::from_secs(1), Item::Chaos);
        world.after(Duration::from_secs(60), Item::Outage);
        world
    }

    pub(crate) fn wall(&self) -> Wall {
        let time = SignedDuration::try_from(self.time).expect("worlds end before the year 9999");
        Wall::UNIX_EPOCH + self.wall_ahead + time
    }

    pub(crate) fn now(&self) -> Now {
        Now {
            mono: Mono::new(self.time - self.born),
            wall: self.wall(),
        }
    }

    pub(crate) fn clock(&self) -> Clock {
        Clock {
            time: self.time,
            wall: self.wall(),
        }
    }

    pub(crate) fn after(&mut self, delay: Duration, item: Item) {
        self.sequence += 1;
        self.queue
            .insert((self.time + delay, self.sequence), (self.life, item));
    }

    /// One thing happens: whatever is next.
    pub(crate) fn advance(&mut self) -> Verdict {
        let next = self.queue.first_key_value().map(|((at, _), _)| *at);
        let wake = self.wake_up();
        match (next, wake) {
            (Some(next), Some(wake)) if wake <= next => self.tick_at(wake),
            (None, Some(wake)) => self.tick_at(wake),
            (Some(_), _) => {
                let Some(((at, _), (life, item))) = self.queue.pop_first() else {
                    return Ok(());
                };
                self.time = self.time.max(at);
                self.take(life, item)
            }
            (None, None) => Ok(()),
        }
    }

    /// When the host would wake the fleet by itself: now and then a bit late.
    fn wake_up(&self) -> Option<Duration> {
        let (at, _) = self.sut.as_ref()?.deadline()?;
        let at = self.born + at.since_origin();
        Some(at.max(self.time).max(self.away_until))
    }

    fn tick_at(&mut self, at: Duration) -> Verdict {
        self.time = at;
        if !self.host.calm && self.random.chance(3) {
            self.time += self.random.millis(1, 300);
        }
        self.tick()
    }

    pub(crate) fn tick(&mut self) -> Verdict {
        self.step(&Event::Tick)?;
        let now = self.now();
        match &self.sut {
            Some(sut) => self.watch.after_tick(sut, self.time, now),
            None => Ok(()),
        }
    }

    fn take(&mut self, life: u64, item: Item) -> Verdict {
        match item {
            Item::Happens(happening) => {
                let clock = self.clock();
                let follows = self.host.happen(happening, clock, &mut self.random);
                self.follow(follows);
                Ok(())
            }
            Item::Chaos => chaos::strike(self),
            Item::Outage => {
                providers::toggle(self);
                Ok(())
            }
            Item::Restore if self.sut.is_none() => self.restore(),
            Item::Restore => Ok(()),
            Item::JournalRecovers => {
                self.journal.mood = Mood::Well;
                Ok(())
            }
            Item::Told(_) | Item::JournalWrites if life != self.life => Ok(()),
            Item::Told(fact) => self.tell(fact),
            Item::JournalWrites => {
                match self.journal.write_next() {
                    Answer::None => {}
                    Answer::Recorded(id) => self.told_after(Fact::Recorded(id), 10),
                    Answer::Failed(record) => {
                        let reason = "disk full".to_owned();
                        self.told_after(Fact::RecordFailed { record, reason }, 10);
                    }
                }
                Ok(())
            }
        }
    }

    fn told_after(&mut self, fact: Fact, most_ms: u64) {
        let delay = self.random.millis(0, most_ms);
        self.after(delay, Item::Told(fact));
    }

    /// A fact reaches the supervisor, unless it is away: then later.
    fn tell(&mut self, fact: Fact) -> Verdict {
        if self.sut.is_none() {
            return Ok(());
        }
        if self.time < self.away_until {
            let delay = self.away_until - self.time;
            self.after(delay, Item::Told(fact));
            return Ok(());
        }
        if self.old_facts.len() == MOST_OLD_FACTS {
            self.old_facts.pop_front();
        }
        self.old_facts.push_back(fact.clone());
        self.step(&Event::Fact(fact))
    }

    pub(crate) fn follow(&mut self, follows: Vec<Then>) {
        for then in follows {
            match then {
                Then::Happens(delay, happening) => self.after(delay, Item::Happens(happening)),
                Then::Told(delay, fact) => self.tell_in_order(delay, fact),
            }
        }
    }

    /// A driver tells of the life of one instance in order; all else may overtake. Now and then
    /// it says something twice.
    fn tell_in_order(&mut self, delay: Duration, fact: Fact) {
        let mut at = self.time + delay;
        if let Fact::Started { instance, .. }
        | Fact::MainExited { instance, .. }
        | Fact::SpawnFailed { instance, .. }
        | Fact::Gone { instance, .. }
        | Fact::Lost { instance } = &fact
        {
            let until = self.told_until.entry(instance.clone()).or_default();
            at = at.max(*until);
            *until = at;
        }
        let delay = at - self.time;
        if !self.host.calm && self.random.chance(1) {
            let again = delay + self.random.millis(0, 5000);
            self.after(again, Item::Told(fact.clone()));
        }
        self.after(delay, Item::Told(fact));
    }

    pub(crate) fn step(&mut self, event: &Event) -> Verdict {
        let now = self.now();
        let Some(sut) = &mut self.sut else {
            return Ok(());
        };
        let due = sut.deadline();
        if due.is_some_and(|(at, _)| now.mono.since(at) > LATE) {
            self.away_total += self.time - self.last_step;
        }
        self.last_step = self.time;
        let actions = sut.step(now, event.clone());
        self.steps += 1;
        self.trace(event, &actions);
        self.act(Some(event), actions)
    }

    /// Judges the actions and carries them out; the supervisor may die in between.
    fn act(&mut self, event: Option<&Event>, mut actions: Vec<Action>) -> Verdict {
        let dies = !self.host.calm && self.random.rarely(1) && self.random.chance(20);
        if dies {
            let most = actions.len() as u64;
            let done = self.random.between(0, most);
            actions.truncate(usize::try_from(done).unwrap());
        }
        self.watch.step(&Seen {
            time: self.time,
            event,
            actions: &actions,
            spec: &self.spec,
            journal: &self.journal,
            host: &self.host,
            paused: self.away_total,
        })?;
        for action in actions {
            self.carry_out(action);
        }
        if dies {
            chaos::supervisor_dies(self);
            return Ok(());
        }
        self.check_faces(event)
    }

    fn check_faces(&mut self, event: Option<&Event>) -> Verdict {
        let agent = match event {
            Some(Event::Command { command, .. }) => command.agent().clone(),
            Some(_) | None => fleets::name(self.random.below(7)),
        };
        let now = self.now();
        match &self.sut {
            Some(sut) => self.watch.check_face(sut, &agent, now),
            None => Ok(()),
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Record { id, record } => {
                self.journal.hand_over(id, record);
                let slow = !self.host.calm && self.random.chance(2);
                let delay = self.random.millis(0, if slow { 8000 } else { 5 });
                self.after(delay, Item::JournalWrites);
            }
            Action::Order(order) => {
                if let Order::Release { instance } = &order {
                    self.told_until.remove(instance);
                }
                let clock = self.clock();
                let follows = self.host.order(&order, clock, &mut self.random);
                self.follow(follows);
            }
            Action::AllStopped => self.stopped = true,
            Action::Reply { .. } | Action::Announce(_) => {}
        }
    }

    fn restore(&mut self) -> Verdict {
        self.life += 1;
        self.born = self.time;
        self.last_step = self.time;
        self.stopped = false;
        let inheritance = self.inheritance();
        self.watch
            .inherit(&self.spec, &inheritance, &self.journal, self.time)?;
        let heir = self.describe(&inheritance);
        let seed = self.random.next();
        let now = self.now();
        let plant = self.plant;
        let mut again = self.host.ready_again(self.clock());
        again.extend(self.host.workers_again(&mut self.random));
        let (sut, actions) = Sut::restore(&self.spec, inheritance, seed, now, plant);
        self.sut = Some(sut);
        self.trace_takeover(&heir);
        self.trace_actions(&actions);
        self.act(None, actions)?;
        self.follow(again);
        Ok(())
    }

    fn inheritance(&self) -> Inheritance {
        let contents = &self.journal.contents;
        let open = contents
            .intents
            .iter()
            .filter(|(id, _)| !contents.outcomes.contains_key(*id));
        // Generations are never reused, whatever was lost of the memories.
        let mut agents = contents.agents.clone();
        let outcomes = contents.outcomes.keys();
        for (InstanceId { agent, generation }, intent) in &contents.intents {
            let memory = agents.entry(agent.clone()).or_default();
            if *generation >= memory.last_generation {
                memory.last_generation = *generation;
                memory.started_with = Some(intent.spec_hash.clone());
            }
        }
        for InstanceId { agent, generation } in outcomes {
            let memory = agents.entry(agent.clone()).or_default();
            memory.last_generation = memory.last_generation.max(*generation);
        }
        Inheritance {
            agents,
            instances: open
                .map(|(id, intent)| (id.clone(), intent.run, self.host.find(id)))
                .collect(),
            runs: self.journal.open_runs(),
            ..Inheritance::default()
        }
    }

    /// The supervisor is gone; whatever was under way for it goes with it.
    pub(crate) fn end_supervisor(&mut self, back_after: Duration) {
        self.sut = None;
        self.life += 1;
        // What another supervisor had asked for is answered to nobody.
        let of_the_shim = |fact: &Fact| {
            matches!(
                fact,
                Fact::Started { .. }
                    | Fact::MainExited { .. }
                    | Fact::Gone { .. }
                    | Fact::Lost { .. }
            )
        };
        self.old_facts.retain(of_the_shim);
        self.away_until = Duration::ZERO;
        self.journal.supervisor_died();
        self.watch.supervisor_died();
        let clock = self.clock();
        let follows = self.host.supervisor_died(clock, &mut self.random);
        self.follow(follows);
        self.after(back_after, Item::Restore);
    }
}
