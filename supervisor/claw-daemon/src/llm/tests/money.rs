use std::sync::Arc;

use claw_gateway::llm::budget::{CallId, Scope};
use claw_gateway::llm::money::Money;
use claw_gateway::llm::serve::Caching;
use claw_store::llm::{CallFilter, Tokens};
use fakellm::{Behaviour, FakeLlm, Gate, Pause};
use jiff::civil::date;
use tempfile::TempDir;

use super::PLENTY;
use super::world::{ANSWER, Host, PROMPT, TestClock, fleet};
use crate::http::ports::{NotReconciled, Reconciliation};

fn bill(fake: &FakeLlm) -> i64 {
    let [prompt, answer] = [PROMPT, ANSWER].map(i64::unsigned_abs);
    i64::try_from(fake.bill(prompt, answer)).unwrap()
}

#[tokio::test]
async fn an_answer_from_the_cache_is_a_row_without_tokens_and_cost() {
    let (dir, fake) = (
        tempfile::tempdir().unwrap(),
        FakeLlm::start().await.unwrap(),
    );
    let mut loaded = fleet(&fake, PLENTY);
    let llm = Arc::make_mut(loaded.llm.as_mut().unwrap());
    for agent in llm.settings.agents.values_mut() {
        Arc::make_mut(agent).cache = Caching::On;
    }
    let host = Host::up(dir.path(), loaded).await;
    let life = host.life(1);
    let first = life.chat().await;
    assert!(first.text.contains("x-openclaw-cache: miss"), "{first:?}");
    host.models().gateway().unwrap().settled().await;
    let again = life.chat().await;
    assert!(again.text.contains("x-openclaw-cache: hit"), "{again:?}");
    assert_eq!(host.money(), (bill(&fake), 0));
    let filter = CallFilter {
        limit: 10,
        ..CallFilter::default()
    };
    let store = &host.models().shared.started.get().unwrap().store;
    let rows = store.llm_calls(filter).await.unwrap();
    let row = &rows[0];
    let ended = row.ended.as_ref().unwrap();
    assert_eq!((ended.outcome.as_str(), ended.spent), ("cached", 0));
    assert_eq!(ended.tokens, Tokens::default());
    assert_eq!((rows.len(), row.admitted.model_id.as_str()), (2, "big-1"));
    assert_eq!(row.admitted.request_hash, rows[1].admitted.request_hash);
    host.down(&dir).await;
}

#[tokio::test]
async fn money_and_ports_are_the_same_under_the_next_supervisor() {
    let (dir, fake) = (
        tempfile::tempdir().unwrap(),
        FakeLlm::start().await.unwrap(),
    );
    let host = Host::up(dir.path(), fleet(&fake, PLENTY)).await;
    let life = host.life(1);
    let port = life.port();
    assert_eq!(life.chat().await.status, 200);
    assert_eq!(life.chat().await.status, 200);
    let dir = host.down(&dir).await;

    let host = Host::up(dir.path(), fleet(&fake, PLENTY)).await;
    assert_eq!(host.money(), (bill(&fake), 0));
    let life = host.life(2);
    assert_eq!(life.port(), port);
    assert_eq!(life.chat().await.status, 200);
    let dir = host.down(&dir).await;

    let host = Host::up(dir.path(), fleet(&fake, PLENTY)).await;
    assert_eq!(host.money(), (bill(&fake), 0));
    host.down(&dir).await;
}

#[tokio::test]
async fn what_was_under_way_when_a_supervisor_was_killed_counts_whole_until_it_is_reconciled() {
    const CALLS: usize = 5;
    let (dir, fake) = (
        tempfile::tempdir().unwrap(),
        FakeLlm::start().await.unwrap(),
    );
    let gate = Gate::default();
    fake.script(
        "big-1",
        [Behaviour {
            before_head: Pause::Until(gate.clone()),
            ..Behaviour::tokens(16)
        }],
    );
    let host = Host::up(dir.path(), fleet(&fake, PLENTY)).await;
    let life = Arc::new(host.life(1));
    for _ in 0..CALLS {
        let life = Arc::clone(&life);
        tokio::spawn(async move { life.chat().await });
    }
    fake.until(|seen| seen.len() == CALLS).await;
    let dir = host.killed(&dir).await;
    gate.open();
    let seen = fake.until(|seen| seen.iter().all(|call| call.ended)).await;
    assert_eq!(seen.len(), CALLS);

    let host = Host::up(dir.path(), fleet(&fake, PLENTY)).await;
    let (spent, uncertain) = host.money();
    assert!(spent > 0 && uncertain > 0, "{spent} and {uncertain}");
    assert!(spent + uncertain >= bill(&fake));
    assert!(spent + uncertain <= PLENTY);

    let billed = Money::from_pico(7);
    for id in 1..=CALLS as u64 {
        let id = CallId(id);
        let wanted = Reconciliation::Call { id, billed };
        let changed = host.models().reconcile(wanted).await.unwrap();
        assert_eq!(
            changed.len(),
            4,
            "the agent's and the fleet's day and month"
        );
    }
    assert_eq!(host.money(), (7 * CALLS as i64, 0));
    let again = Reconciliation::Call {
        id: CallId(1),
        billed,
    };
    let again = host.models().reconcile(again).await.unwrap_err();
    assert!(matches!(again, NotReconciled::NotUncertain(_)), "{again}");
    let dir = host.down(&dir).await;

    let host = Host::up(dir.path(), fleet(&fake, PLENTY)).await;
    assert_eq!(host.money(), (7 * CALLS as i64, 0));
    let window = (host.models().ports()().unwrap().balances)().windows[0]
        .window
        .clone();
    let reconciled = Reconciliation::Window { window, billed };
    let changed = host.models().reconcile(reconciled).await.unwrap();
    assert_eq!(changed[0].account.settled(), billed);
    host.down(&dir).await;
}

#[tokio::test]
async fn an_alert_is_given_once_for_a_window_across_restarts() {
    let (dir, fake) = (
        tempfile::tempdir().unwrap(),
        FakeLlm::start().await.unwrap(),
    );
    let clock = Arc::new(TestClock::default());
    let up = async |dir: &TempDir, daily| {
        Host::at(dir.path(), fleet(&fake, daily), Arc::clone(&clock)).await
    };
    let host = up(&dir, PLENTY).await;
    assert_eq!(host.life(1).chat().await.status, 200);
    let spent = host.money().0;
    let dir = host.down(&dir).await;

    // 80 % of the limit are spent, and that is told as the limit comes into force.
    let daily = spent * 100 / 85;
    let host = up(&dir, daily).await;
    let mut head = host.api.store().head();
    head.wait_for(|head| *head >= 1).await.unwrap();
    let dir = host.down(&dir).await;

    let mut host = up(&dir, daily).await;
    let mut head = host.api.store().head();
    host.reload(fleet(&fake, daily)).await;
    // What follows another alert would be told after it.
    host.reload(fleet(&fake, spent)).await;
    head.wait_for(|head| *head >= 2).await.unwrap();
    assert_eq!(*head.borrow(), 2, "nearing and reached were told once each");
    host.down(&dir).await;
}

#[tokio::test]
async fn an_alert_that_did_not_reach_the_bus_is_given_by_the_next_supervisor() {
    let (dir, fake) = (
        tempfile::tempdir().unwrap(),
        FakeLlm::start().await.unwrap(),
    );
    let clock = Arc::new(TestClock::default());
    let up = async |dir: &TempDir, daily| {
        Host::at(dir.path(), fleet(&fake, daily), Arc::clone(&clock)).await
    };
    let host = up(&dir, PLENTY).await;
    assert_eq!(host.life(1).chat().await.status, 200);
    let daily = host.money().0 * 100 / 85;
    let dir = host.down(&dir).await;

    // The alert is due as the limit comes into force, and nobody takes it.
    let host = Host::without_bus(dir.path(), fleet(&fake, daily), Arc::clone(&clock)).await;
    host.models().close().await;
    let dir = host.killed(&dir).await;

    let host = up(&dir, daily).await;
    let mut head = host.api.store().head();
    head.wait_for(|head| *head >= 1).await.unwrap();
    host.down(&dir).await;
}

#[tokio::test]
async fn a_limit_that_is_lowered_refuses_at_once_and_says_why() {
    let (dir, fake) = (
        tempfile::tempdir().unwrap(),
        FakeLlm::start().await.unwrap(),
    );
    let mut host = Host::up(dir.path(), fleet(&fake, PLENTY)).await;
    let life = host.life(1);
    assert_eq!(life.chat().await.status, 200);

    host.reload(fleet(&fake, host.money().0)).await;
    let refused = life.chat().await;
    assert_eq!(refused.status, 402, "{refused:?}");
    assert!(refused.text.contains("daily budget"), "{refused:?}");
    assert_eq!(fake.seen().len(), 1);

    host.reload(fleet(&fake, PLENTY)).await;
    assert_eq!(life.chat().await.status, 200);
    host.down(&dir).await;
}

#[tokio::test]
async fn a_new_day_has_its_own_money() {
    let (dir, fake) = (
        tempfile::tempdir().unwrap(),
        FakeLlm::start().await.unwrap(),
    );
    let clock = Arc::new(TestClock::default());
    let mut host = Host::at(dir.path(), fleet(&fake, PLENTY), Arc::clone(&clock)).await;
    let life = host.life(1);
    assert_eq!(life.chat().await.status, 200);
    let day = host.money().0;
    host.reload(fleet(&fake, day)).await;
    assert_eq!(life.chat().await.status, 402);
    // The call is bounded by a little more than it comes to.
    clock.pass(std::time::Duration::from_secs(24 * 3600));
    host.reload(fleet(&fake, 10 * day)).await;
    assert_eq!(host.money(), (0, 0));
    assert_eq!(life.chat().await.status, 200);
    assert_eq!(host.money(), (day, 0));
    host.down(&dir).await;
}

#[tokio::test]
async fn what_is_corrected_while_calls_end_is_the_same_under_the_next_supervisor() {
    const CALLS: i64 = 40;
    let (dir, fake) = (
        tempfile::tempdir().unwrap(),
        FakeLlm::start().await.unwrap(),
    );
    let host = Host::up(dir.path(), fleet(&fake, PLENTY)).await;
    let life = Arc::new(host.life(1));
    assert_eq!(life.chat().await.status, 200);
    let each = host.money().0;
    let window = (host.models().ports()().unwrap().balances)().windows;
    let window = window
        .into_iter()
        .find(|of| of.window.scope != Scope::Fleet);
    let window = window.unwrap().window;
    let calls: Vec<_> = (0..CALLS)
        .map(|_| {
            let life = Arc::clone(&life);
            tokio::spawn(async move { life.chat().await.status })
        })
        .collect();
    while !calls.iter().all(|call| call.is_finished()) {
        let billed = Money::from_pico(0);
        let window = window.clone();
        let wanted = Reconciliation::Window { window, billed };
        host.models().reconcile(wanted).await.unwrap();
    }
    for call in calls {
        assert_eq!(call.await.unwrap(), 200);
    }
    assert_eq!(life.chat().await.status, 200);
    let money = host.money();
    assert!(money.0 >= each, "the last call came after all corrections");
    let dir = host.down(&dir).await;
    let host = Host::up(dir.path(), fleet(&fake, PLENTY)).await;
    assert_eq!(host.money(), money);
    host.down(&dir).await;
}

#[tokio::test]
async fn a_clock_that_was_far_ahead_once_does_not_end_the_days_of_budgets() {
    let (dir, fake) = (
        tempfile::tempdir().unwrap(),
        FakeLlm::start().await.unwrap(),
    );
    let clock = Arc::new(TestClock::default());
    let up =
        async |dir: &TempDir| Host::at(dir.path(), fleet(&fake, PLENTY), Arc::clone(&clock)).await;
    let host = up(&dir).await;
    let calls = host.models().shared.started.get().unwrap().store.clone();
    calls.prune_llm(date(2039, 1, 1)).await.unwrap();
    let dir = host.down(&dir).await;

    let host = up(&dir).await;
    assert_eq!(host.life(1).chat().await.status, 200);
    assert!(host.money().0 > 0);
    clock.pass(std::time::Duration::from_secs(24 * 3600));
    assert_eq!(host.money(), (0, 0), "another day has begun");
    let calls = host.models().shared.started.get().unwrap().store.clone();
    let kept_since = calls.restore_llm().await.unwrap().kept_since;
    assert!(kept_since < Some(date(2026, 3, 5)), "{kept_since:?}");
    host.down(&dir).await;
}
