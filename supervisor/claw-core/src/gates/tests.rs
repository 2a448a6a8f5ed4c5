use proptest::prelude::*;

use super::*;

const OPENAI: &str = "openai";

fn at(seconds: u64) -> Now {
    Now {
        mono: Mono::new(Duration::from_secs(seconds)),
        wall: Wall::UNIX_EPOCH + Duration::from_secs(seconds),
    }
}

fn agent(number: u64) -> AgentName {
    format!("a{number}").parse().unwrap()
}

struct Outage {
    gates: Gates,
    random: Random,
}

impl Outage {
    /// Of a provider that is left alone until `until`, from the first second on.
    fn until(until: u64) -> Self {
        let mut outage = Self {
            gates: Gates::default(),
            random: Random::new(7),
        };
        outage.down(0, until);
        outage
    }

    fn down(&mut self, now: u64, until: u64) {
        self.gates
            .provider_down(OPENAI.to_owned(), at(until).wall, at(now));
    }

    fn up(&mut self, now: u64) {
        let provider = OPENAI.to_owned();
        self.gates
            .provider_up(&provider, at(now).mono, &mut self.random);
    }

    fn arrives(&mut self, number: u64, now: u64) -> Passage {
        let provider = OPENAI.to_owned();
        self.gates
            .arrive(&agent(number), &provider, at(now).mono, &mut self.random)
    }

    /// Who passes at a time, all of them.
    fn pass(&mut self, now: u64) -> Vec<AgentName> {
        let passes = || self.gates.pass(at(now).mono, &mut self.random);
        std::iter::from_fn(passes).collect()
    }

    fn stages(&mut self) -> Vec<(AgentName, GateStage)> {
        let news = self.gates.take_news();
        news.into_iter()
            .map(|(agent, _, stage)| (agent, stage))
            .collect()
    }
}

#[test]
fn one_tries_first_when_the_provider_may_be_asked_and_the_others_are_told_who() {
    let mut outage = Outage::until(10);
    for number in 1..=3 {
        assert_eq!(outage.arrives(number, 1), Passage::Stands);
    }
    assert_eq!(outage.pass(9), []);
    assert_eq!(outage.stages()[0], (agent(1), GateStage::Shut));
    assert_eq!(outage.gates.deadline(), Some((at(10).mono, Why::Gate)));
    assert_eq!(outage.pass(10), [agent(1)]);
    let tried = GateStage::Tried { by: agent(1) };
    let told = [(agent(2), tried.clone()), (agent(3), tried)];
    assert_eq!(outage.stages(), told);
    assert_eq!(outage.stages(), []);
    assert_eq!(outage.pass(100), []);
}

#[test]
fn when_the_first_one_ends_the_next_one_tries() {
    let mut outage = Outage::until(0);
    outage.arrives(1, 1);
    outage.arrives(2, 1);
    assert_eq!(outage.pass(1), [agent(1)]);
    outage.gates.ended(&agent(2));
    assert_eq!(outage.pass(2), []);
    outage.gates.ended(&agent(1));
    assert_eq!(outage.pass(2), [agent(2)]);
}

#[test]
fn the_answer_to_the_first_one_opens_the_gate_and_no_other_answer_does() {
    let mut outage = Outage::until(0);
    for number in 1..=3 {
        outage.arrives(number, 0);
    }
    assert_eq!(outage.pass(0), [agent(1)]);
    let answered = |outage: &mut Outage, number: u64, provider: &str| {
        let provider = provider.to_owned();
        let now = at(5).mono;
        outage
            .gates
            .answered(&agent(number), &provider, now, &mut outage.random);
        outage.gates.deadline().unwrap().0
    };
    let patience = at(HOLD_LEAST.as_secs()).mono;
    assert!(answered(&mut outage, 9, OPENAI) >= patience);
    assert!(answered(&mut outage, 1, "other") >= patience);
    let next = answered(&mut outage, 1, OPENAI);
    assert!(at(7).mono <= next && next <= at(9).mono);
}

#[test]
fn an_open_gate_lets_them_pass_one_by_one_and_those_who_come_late_too() {
    let mut outage = Outage::until(0);
    outage.up(0);
    for number in 1..=4 {
        assert_eq!(outage.arrives(number, 0), Passage::Stands);
    }
    let mut passed = Vec::new();
    for second in 0..20 {
        let now = outage.pass(second);
        assert!(now.len() <= 1, "{now:?} at {second} s");
        passed.extend(now.into_iter().map(|agent| (agent, second)));
    }
    let order: Vec<&AgentName> = passed.iter().map(|(agent, _)| agent).collect();
    assert_eq!(order, [&agent(1), &agent(2), &agent(3), &agent(4)]);
    assert!(passed.windows(2).all(|two| two[1].1 - two[0].1 >= 2));
    assert_eq!(outage.arrives(5, 599), Passage::Stands);
    assert_eq!(outage.pass(599), [agent(5)]);
    assert_eq!(outage.arrives(6, 600), Passage::Free);
}

#[test]
fn who_stood_long_enough_passes_and_not_all_at_once() {
    let mut outage = Outage::until(0);
    for number in 0..100 {
        outage.arrives(number, 0);
    }
    assert_eq!(outage.pass(0), [agent(0)]);
    let mut most = 0;
    let mut passed = 1;
    for second in 1..=600 {
        outage.down(second, second + 10);
        let now = outage.pass(second);
        assert!(now.is_empty() || second >= 300);
        most = most.max(now.len());
        passed += now.len();
    }
    assert_eq!(passed, 100);
    assert!(most < 10, "{most} in one second");
}

#[test]
fn a_second_outage_shuts_the_gate_again_and_has_its_own_beginning() {
    let mut outage = Outage::until(0);
    outage.up(10);
    outage.arrives(1, 10);
    outage.arrives(2, 10);
    outage.down(11, 11);
    assert_eq!(outage.pass(11), [agent(1)]);
    let news = outage.gates.take_news();
    let tried = GateStage::Tried { by: agent(1) };
    assert_eq!(news, [(agent(2), at(11).wall, tried)]);
}

#[test]
fn a_time_in_which_the_supervisor_was_away_lets_nobody_pass() {
    let mut outage = Outage::until(0);
    outage.arrives(1, 0);
    outage.arrives(2, 0);
    assert_eq!(outage.pass(0), [agent(1)]);
    outage.gates.shift(Duration::from_secs(3600));
    assert_eq!(outage.pass(3600), []);
    assert_eq!(outage.pass(3600 + 600), [agent(2)]);
}

#[derive(Debug, Clone)]
enum Step {
    Down { left: u64 },
    Up,
    Arrives(u64),
    Leaves(u64),
    Ends(u64),
    Waits(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..100_u64).prop_map(|left| Step::Down { left }),
        Just(Step::Up),
        (0..5_u64).prop_map(Step::Arrives),
        (0..5_u64).prop_map(Step::Leaves),
        (0..5_u64).prop_map(Step::Ends),
        (0..200_u64).prop_map(Step::Waits),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #[test]
    fn whatever_is_heard_nobody_stands_longer_than_the_bound_and_no_deadline_is_past(
        steps in steps(),
    ) {
        let mut outage = Outage::until(0);
        let mut since = BTreeMap::new();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Down { left } => outage.down(now, now + left),
                Step::Up => outage.up(now),
                Step::Arrives(number) => {
                    if outage.arrives(number, now) == Passage::Stands {
                        since.entry(agent(number)).or_insert(now);
                    }
                }
                Step::Leaves(number) => {
                    outage.gates.leave(&agent(number));
                    since.remove(&agent(number));
                }
                Step::Ends(number) => outage.gates.ended(&agent(number)),
                Step::Waits(seconds) => now += seconds,
            }
            for agent in outage.pass(now) {
                prop_assert!(since.remove(&agent).is_some(), "{agent} did not stand there");
            }
            let bound = (HOLD_LEAST + HOLD_SPREAD).as_secs();
            prop_assert!(since.values().all(|from| now < from + bound));
            let due = outage.gates.deadline();
            prop_assert!(due.is_none_or(|(due, _)| due > at(now).mono), "{due:?} at {now}");
            prop_assert_eq!(due.is_some(), !since.is_empty());
        }
    }
}
