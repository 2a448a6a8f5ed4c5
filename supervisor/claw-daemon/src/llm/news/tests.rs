use claw_gateway::llm::money::Money;
use claw_gateway::llm::wire::Api;
use jiff::Timestamp;
use tokio::time::advance;

use super::*;

const LIFE: &str = "coder#3";

/// The clock of the runtime, which the test moves.
struct Paused(tokio::time::Instant);

impl Clock for Paused {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

fn news() -> (News, mpsc::Receiver<Fact>) {
    let (sender, receiver) = mpsc::channel(64);
    let clock = Arc::new(Paused(tokio::time::Instant::now()));
    (News::new(sender, clock, Handle::current()), receiver)
}

fn call(id: u64) -> CallRecord {
    CallRecord {
        id: claw_gateway::llm::budget::CallId(id),
        request: "r".into(),
        agent: "coder".into(),
        instance: LIFE.into(),
        run: None,
        api: Api::ChatCompletions,
        admitted_at: Timestamp::UNIX_EPOCH,
        day: "2026-11-22".parse().unwrap(),
        provider: "hub".into(),
        model_asked: "big".into(),
        model: "big-1".into(),
        request_hash: [0; 32],
        rates: None,
        held: Money::ZERO,
        estimate: Money::ZERO,
        clamped_to: None,
        attempts: Vec::new(),
        first_byte_at: None,
        end: None,
    }
}

/// What the core was told since the last time, of the one life.
fn told(receiver: &mut mpsc::Receiver<Fact>) -> Vec<String> {
    std::iter::from_fn(|| receiver.try_recv().ok())
        .map(|fact| {
            let Fact::ModelCall { instance, call } = fact else {
                panic!("{fact:?}");
            };
            assert_eq!(instance.to_string(), LIFE);
            match call {
                ModelCall::Began { call, .. } => format!("began {}", call.0),
                ModelCall::Progressed { call } => format!("progressed {}", call.0),
                ModelCall::Ended { call } => format!("ended {}", call.0),
                ModelCall::Answered { provider } => format!("answered by {provider}"),
                ModelCall::Failed { .. } => "failed".to_owned(),
                ModelCall::ProviderOut { provider } => format!("{provider} is out"),
            }
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn of_many_short_calls_one_a_second_is_told_and_of_long_ones_all() {
    let (news, mut facts) = news();
    for id in 1..=50 {
        news.observe(&Event::Begun(&call(id)));
        news.observe(&Event::Ended(&call(id)));
    }
    news.observe(&Event::Begun(&call(51)));
    assert_eq!(told(&mut facts), ["began 1", "ended 1"]);
    tokio::time::sleep(SHORT * 2).await;
    assert_eq!(told(&mut facts), ["began 51"]);
    news.observe(&Event::FirstByte(&call(51)));
    advance(PACE).await;
    news.observe(&Event::FirstByte(&call(51)));
    news.observe(&Event::Begun(&call(52)));
    news.observe(&Event::Ended(&call(51)));
    let expected = ["progressed 51", "began 52", "ended 51"];
    assert_eq!(told(&mut facts), expected);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_told_again_once_something_else_was() {
    let (news, mut facts) = news();
    let answered = || {
        let provider = "hub".to_owned();
        ModelCall::Answered { provider }
    };
    let out = || {
        let provider = "hub".to_owned();
        ModelCall::ProviderOut { provider }
    };
    let life = Arc::from(LIFE);
    for call in [answered(), answered(), out(), out(), answered(), answered()] {
        news.0.concluded(&life, call);
    }
    let expected = [
        "answered by hub",
        "hub is out",
        "hub is out",
        "answered by hub",
    ];
    assert_eq!(told(&mut facts), expected);
    news.observe(&Event::ProviderDown {
        provider: "hub",
        until: Timestamp::UNIX_EPOCH,
    });
    assert!(matches!(facts.try_recv(), Ok(Fact::ProviderDown { .. })));
    news.0.concluded(&life, answered());
    assert_eq!(told(&mut facts), ["answered by hub"]);
}

#[tokio::test(start_paused = true)]
async fn a_life_that_calls_nothing_is_forgotten() {
    let (news, _facts) = news();
    for generation in 0..1000 {
        let life = Arc::from(format!("coder#{generation}"));
        let provider = "hub".to_owned();
        news.0.concluded(&life, ModelCall::Answered { provider });
        advance(FORGOTTEN / 10).await;
    }
    assert!(news.0.told().lives.len() <= 11);
}

#[test]
fn a_life_is_known_again_by_its_name() {
    let life = InstanceId {
        agent: "coder-1".parse().unwrap(),
        generation: Generation(12),
    };
    assert_eq!(instance(&life.to_string()), Some(life));
    assert_eq!(instance("coder"), None);
    assert_eq!(instance("coder#"), None);
}
