//! Money: nobody spends more than there is, whatever happens.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use claw_gateway::llm::budget::{Period, Scope};
use claw_gateway::llm::money::Money;
use claw_gateway::llm::rates::Rates;
use claw_gateway::llm::serve::{OnTight, Price, RefusalStatus, UnknownPrice};
use fakellm::{Behaviour, Gate, OnLimit, Pause, Report};
use serde_json::{Value, json};

use crate::client::Asked;
use crate::world::{ANSWER, PROMPT, Setup, World, budgets, chat, pico, settings, streamed};

/// In pico-USD.
const DOLLAR: u64 = 1_000_000_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn fifty_calls_at_once_never_spend_more_than_the_budget() {
    // A call may cost about 0.06 USD; so some go and most do not.
    let (prompt, answer) = (10_000_000, 500_000_000);
    let setup = Setup {
        daily: Some(Money::from_usd(1)),
        ..Setup::default()
    };
    let world = World::start(setup).await;
    let mut dear = settings(&world.setup, &world.fake);
    let big = dear.models.get_mut("big").expect("a model");
    let rates = Rates::flat(pico(prompt), pico(answer));
    Arc::make_mut(big).price = Price::Known(Arc::new(rates));
    world.gateway.replace(dear);
    world.fake.script("big-1", [Behaviour::tokens(10_000)]);
    let world = Arc::new(world);
    let calls = (0..50).map(|number| {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            let body = if number % 2 == 0 {
                chat("big")
            } else {
                streamed("big")
            };
            let asked = Asked::post("/v1/chat/completions", &body);
            world.ask(asked).await.status
        })
    });
    let mut statuses = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        statuses.push(call.await.expect("an answer"));
    }
    world.settled().await;
    let served = statuses.iter().filter(|status| **status == 200).count();
    let refused = statuses.iter().filter(|status| **status == 402).count();
    assert_eq!(served + refused, 50, "{statuses:?}");
    assert!(
        served > 10 && refused > 10,
        "{served} served, {refused} refused"
    );
    let bill = world.fake.bill(prompt, answer);
    assert!(bill <= DOLLAR, "the provider bills {bill}");
    assert_eq!(world.spent(), bill);
    assert_eq!(
        world.fake.seen().len(),
        served,
        "what is refused reaches nobody"
    );
}

#[tokio::test]
async fn a_refusal_for_want_of_money_says_how_much_there_is() {
    let setup = Setup {
        daily: Some(pico(100 * ANSWER)),
        ..Setup::default()
    };
    let world = World::start(setup).await;
    let answer = world.chat("big").await;
    assert_eq!(
        (answer.status, answer.code()),
        (402, "budget_exceeded".to_owned())
    );
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    let error = &answer.json()["error"];
    assert_eq!(error["type"], "insufficient_quota");
    let numbers = &error["openclaw"];
    assert_eq!(numbers["window"], "daily");
    assert_eq!(numbers["limit_usd"], 0.0002);
    assert_eq!(numbers["spent_usd"], 0.0);
    assert_eq!(numbers["resets_at"], Value::Null, "no wait helps");
    assert!(numbers["needed_usd"].as_f64() > Some(0.0002));
    assert!(
        world
            .book
            .told()
            .contains(&"refused 402 budget_exceeded".to_owned())
    );
    assert!(world.fake.seen().is_empty());
}

#[tokio::test]
async fn an_agent_may_want_another_status_for_want_of_money() {
    let mut setup = Setup {
        daily: Some(Money::ZERO),
        ..Setup::default()
    };
    setup.agent.refusal_status = RefusalStatus::BadRequest;
    let world = World::start(setup).await;
    let answer = world
        .ask(Asked::post("/v1/messages", &chat("claude")))
        .await;
    assert_eq!(
        (answer.status, answer.code()),
        (400, "budget_exceeded".to_owned())
    );
    assert_eq!(answer.json()["error"]["type"], "billing_error");
}

#[tokio::test]
async fn a_model_of_unknown_price_is_refused_before_any_call() {
    let world = World::start(Setup::default()).await;
    let answer = world.chat("unpriced").await;
    assert_eq!(
        (answer.status, answer.code()),
        (400, "unknown_price".to_owned())
    );
    assert!(world.fake.seen().is_empty());

    let without_budget = Setup {
        daily: None,
        ..Setup::default()
    };
    let world = World::start(without_budget).await;
    assert_eq!(world.chat("unpriced").await.status, 200);

    let mut assumed = Setup::default();
    let rates = Rates::flat(pico(PROMPT), pico(ANSWER));
    assumed.agent.unknown_price = UnknownPrice::Assume(Arc::new(rates));
    let world = World::start(assumed).await;
    assert_eq!(world.chat("unpriced").await.status, 200);
    world.settled().await;
    assert_eq!(world.spent(), world.bill());
}

#[tokio::test]
async fn a_limit_that_is_lowered_counts_from_the_next_call_on() {
    let world = World::start(Setup::default()).await;
    assert_eq!(world.chat("big").await.status, 200);
    world.settled().await;
    let spent = world.spent();
    world
        .gateway
        .set_budgets(budgets(Some(pico(spent / 2)), None));
    let answer = world.chat("big").await;
    assert_eq!(
        (answer.status, answer.code()),
        (402, "budget_exceeded".to_owned())
    );
    assert!(world.book.told().contains(&"alert Reached".to_owned()));
    world
        .gateway
        .set_budgets(budgets(Some(Money::from_usd(1)), None));
    assert_eq!(world.chat("big").await.status, 200);
}

#[tokio::test]
async fn a_call_belongs_to_the_day_on_which_it_was_admitted() {
    let world = World::start(Setup::default()).await;
    let gate = Gate::default();
    let slow = Behaviour {
        before_head: Pause::Until(gate.clone()),
        ..Behaviour::tokens(50)
    };
    world.fake.script("big-1", [slow]);
    let address = world.address;
    let body = chat("big");
    let asking = tokio::spawn(async move {
        let asked = Asked::post("/v1/chat/completions", &body);
        crate::client::begin(address, asked).await.whole().await
    });
    world.fake.until(|seen| seen.len() == 1).await;
    world.clock.pass(Duration::from_secs(24 * 60 * 60));
    assert_eq!(world.chat("spare").await.status, 200);
    let new_day = world.spent();
    gate.open();
    assert_eq!(asking.await.expect("an answer").status, 200);
    world.settled().await;
    assert_eq!(world.spent(), new_day, "the new day has its own call alone");
    let days: Vec<u64> = world.gateway.with_ledger(|ledger| {
        let days = ledger
            .accounts()
            .filter(|(window, _)| window.period == Period::Day && window.scope != Scope::Fleet);
        days.map(|(_, account)| u64::try_from(account.settled().pico()).expect("an amount"))
            .collect()
    });
    assert_eq!(days.len(), 2);
    assert_eq!(days.iter().sum::<u64>(), world.bill());
}

#[tokio::test]
async fn an_answer_is_limited_to_what_is_left_where_that_is_wanted() {
    let mut setup = Setup {
        daily: Some(pico(1000 * PROMPT)),
        ..Setup::default()
    };
    setup.agent.on_tight = OnTight::Clamp { min_output: 100 };
    let world = World::start(setup).await;
    world.fake.script("big-1", [Behaviour::tokens(10_000)]);
    let mut body = chat("big");
    body["max_tokens"] = json!(900);
    let answer = world.ask(Asked::post("/v1/chat/completions", &body)).await;
    assert_eq!(answer.status, 200);
    let clamped = answer.header("x-openclaw-clamped-to").expect("it is told");
    let sent = world.fake.seen().remove(0).json();
    assert_eq!(sent["max_completion_tokens"].to_string(), clamped);
    assert!(sent.get("max_tokens").is_none(), "{sent}");
    assert_eq!(answer.json()["choices"][0]["finish_reason"], "length");
    world.settled().await;
    assert_eq!(world.spent(), world.bill());
    assert!(world.bill() <= 1000 * PROMPT);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_limited_calls_at_once_never_spend_more_than_the_budget() {
    let mut setup = Setup {
        daily: Some(pico(2500 * ANSWER)),
        ..Setup::default()
    };
    setup.agent.on_tight = OnTight::Clamp { min_output: 10 };
    let limit = 2500 * ANSWER;
    let world = World::start(setup).await;
    world.fake.script("big-1", [Behaviour::tokens(10_000)]);
    let world = Arc::new(world);
    let calls = (0..50).map(|_number| {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            let mut body = chat("big");
            body["max_tokens"] = json!(900);
            world.ask(Asked::post("/v1/chat/completions", &body)).await
        })
    });
    let mut limited = 0;
    for call in calls.collect::<Vec<_>>() {
        let answer = call.await.expect("an answer");
        assert!([200, 402].contains(&answer.status), "{}", answer.body);
        limited += u64::from(answer.header("x-openclaw-clamped-to").is_some());
    }
    world.settled().await;
    assert!(limited > 0, "none was limited");
    assert!(world.bill() <= limit, "the provider bills {}", world.bill());
    assert_eq!(world.spent(), world.bill());
}

#[tokio::test]
async fn a_provider_that_charges_more_than_was_held_ends_the_budget() {
    let limit = 2000 * ANSWER;
    let setup = Setup {
        daily: Some(pico(limit)),
        ..Setup::default()
    };
    let world = World::start(setup).await;
    let boundless = Behaviour {
        limit: OnLimit::Ignored,
        ..Behaviour::tokens(10_000)
    };
    world.fake.script("big-1", [boundless]);
    assert_eq!(world.chat("big").await.status, 200);
    world.settled().await;
    let settled = world.book.settled().remove(0);
    let overrun = settled.end.expect("an end").settled.overrun;
    assert_eq!(overrun, pico(world.bill()).minus(settled.held));
    assert!(world.spent() > limit);
    for model in ["big", "spare", "claude"] {
        let answer = world.chat(model).await;
        assert_eq!(answer.code(), "budget_exceeded", "{model}");
    }
    assert_eq!(world.asked(), ["big-1"]);
}

#[tokio::test]
async fn a_call_that_cannot_be_recorded_is_not_made() {
    let world = World::start(Setup::default()).await;
    world.book.broken.store(true, Ordering::SeqCst);
    let answer = world.chat("big").await;
    assert_eq!(
        (answer.status, answer.code()),
        (503, "journal_unavailable".to_owned())
    );
    assert!(world.fake.seen().is_empty());
    world.settled().await;
    assert_eq!(world.spent_or_uncertain(), 0);
    assert_eq!(world.book.told(), ["refused 503 journal_unavailable"]);
    assert!(world.book.settled().is_empty());
}

#[tokio::test]
async fn a_call_is_recorded_before_it_leaves_and_once_more_at_its_end() {
    let world = World::start(Setup::default()).await;
    let gate = Gate::default();
    let slow = Behaviour {
        before_head: Pause::Until(gate.clone()),
        ..Behaviour::default()
    };
    world.fake.script("big-1", [slow]);
    let asked = Asked::post("/v1/chat/completions", &chat("big"));
    let address = world.address;
    let asking = tokio::spawn(async move { crate::client::begin(address, asked).await.status });
    world.fake.until(|seen| seen.len() == 1).await;
    let reserved = world.book.reserved();
    assert_eq!(
        reserved.len(),
        1,
        "what has reached the provider is in the journal"
    );
    assert!(world.book.settled().is_empty());
    gate.open();
    assert_eq!(asking.await.expect("an answer"), 200);
    world.settled().await;
    let settled = world.book.settled();
    assert_eq!(settled.len(), 1);
    assert_eq!(settled[0].id, reserved[0].id);
    let told = ["begun big-1", "first byte big-1", "ended big-1"];
    assert_eq!(world.book.told(), told);
}

#[tokio::test]
async fn a_request_may_tighten_its_agents_limits_and_never_loosen_them() {
    let world = World::start(Setup::default()).await;
    let asked = Asked::post("/v1/chat/completions", &chat("big"));
    let limited = |daily: Value| {
        let router = json!({"budget": {"daily_limit_usd": daily}});
        asked.clone().with("x-openclaw-router", &router.to_string())
    };
    let tight = limited(json!(0.000_000_1));
    assert_eq!(world.ask(tight).await.status, 402);
    assert_eq!(world.ask(limited(json!("some"))).await.status, 400);
    world.gateway.set_budgets(budgets(Some(Money::ZERO), None));
    assert_eq!(world.ask(limited(json!(1000))).await.status, 402);
    assert!(world.fake.seen().is_empty());
}

#[tokio::test]
async fn what_all_agents_spend_together_is_limited_too() {
    let setup = Setup {
        daily: None,
        fleet_daily: Some(pico(100 * ANSWER)),
        ..Setup::default()
    };
    let world = World::start(setup).await;
    let answer = world.chat("big").await;
    assert_eq!(answer.status, 402);
    assert_eq!(answer.json()["error"]["openclaw"]["scope"], "the fleet");
}

#[tokio::test]
async fn a_free_model_serves_though_a_limit_is_overdrawn() {
    let world = World::start(Setup::default()).await;
    assert_eq!(world.chat("big").await.status, 200);
    world.settled().await;
    let lower = pico(world.spent() / 2);
    world.gateway.set_budgets(budgets(Some(lower), None));
    assert_eq!(world.chat("big").await.status, 402);
    assert_eq!(world.chat("free").await.status, 200);
}

/// What a stream of messages may cost before it begins, and once it has.
async fn held_around_the_first_event(body: &Value, report: Report) -> (Money, Money) {
    let world = World::start(Setup::default()).await;
    let gate = Gate::default();
    let slow = Behaviour {
        between: Pause::Until(gate.clone()),
        report,
        ..Behaviour::tokens(10)
    };
    world.fake.script("claude-1", [slow]);
    let mut begun = world.begin(Asked::post("/v1/messages", body)).await;
    assert_eq!(begun.status, 200);
    begun.piece().await.expect("the first event");
    gate.open();
    begun.whole().await;
    world.settled().await;
    let before = world.book.reserved()[0].held;
    let shrunk = world.book.shrunk.borrow();
    (before, shrunk.last().map_or(before, |(_call, held)| *held))
}

#[tokio::test]
async fn what_a_call_turns_out_not_to_need_is_free_once_it_is_in_the_journal() {
    let world = World::start(Setup::default()).await;
    let (first, rest) = (Gate::default(), Gate::default());
    let slow = Behaviour {
        before_first: Pause::Until(first.clone()),
        between: Pause::Until(rest.clone()),
        report: Report::Told {
            prompt: 40,
            answer: 10,
        },
        ..Behaviour::tokens(10)
    };
    world.fake.script("claude-1", [slow]);
    let (address, asked) = (
        world.address,
        Asked::post("/v1/messages", &streamed("claude")),
    );
    let asking = tokio::spawn(crate::client::begin(address, asked));
    world.fake.until(|seen| seen.len() == 1).await;
    let before = world.book.reserved()[0].held;
    let writing = world.book.busy.write().await;
    first.open();
    let mut begun = asking.await.expect("an answer");
    begun.piece().await.expect("the first event");
    assert_eq!(world.today().held(), before);
    drop(writing);
    let mut shrunk = world.book.shrunk.subscribe();
    let less = shrunk.wait_for(|shrunk| !shrunk.is_empty()).await;
    let less = less.expect("the book is there")[0].1;
    assert!(less < before);
    assert_eq!(world.today().held(), less);
    rest.open();
    begun.whole().await;
    world.settled().await;
}

#[tokio::test]
async fn money_is_released_early_only_for_a_prompt_that_is_told_and_final() {
    let told = |prompt| Report::Told { prompt, answer: 10 };
    let plain = streamed("claude");
    let (before, after) = held_around_the_first_event(&plain, told(40)).await;
    assert_eq!(after, pico(40 * PROMPT / 4 * 5 + 100 * ANSWER));
    assert!(after < before);

    let (before, after) = held_around_the_first_event(&plain, told(0)).await;
    assert_eq!(after, before, "none told is not a prompt of none");

    let (_, after) = held_around_the_first_event(&plain, told(1)).await;
    assert!(
        after > pico(2 * PROMPT + 100 * ANSWER),
        "a prompt is not taken for less than its text says"
    );

    let mut searching = plain;
    searching["tools"] =
        json!([{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}]);
    let (before, after) = held_around_the_first_event(&searching, told(40)).await;
    assert_eq!(after, before, "each search adds to the prompt");
}

#[tokio::test]
async fn an_agent_asks_for_its_own_money_and_sees_nobody_elses() {
    let setup = Setup {
        fleet_daily: Some(Money::from_usd(20)),
        ..Setup::default()
    };
    let world = World::start(setup).await;
    assert_eq!(world.chat("big").await.status, 200);
    world.settled().await;
    let answer = world.ask(Asked::get("/v1/budget")).await;
    let told = answer.json();
    let windows = told["windows"].as_array().expect("windows");
    assert_eq!(windows.len(), 2, "{told}");
    assert_eq!(windows[0]["window"], "daily");
    assert_eq!(windows[0]["limit_usd"], 10.0);
    let spent = pico(world.spent()).as_usd();
    assert!(spent > 0.0);
    for window in windows {
        assert_eq!(window["spent_usd"], spent);
        assert_eq!(window["held_usd"], 0.0);
    }
}
