//! An agent spends its money, is told so, and has some again on the next day.

use std::fs;

use claw_daemon::api::RunState;
use fakellm::FakeLlm;
use jiff::{SignedDuration, Timestamp, ToSpan, Unit, tz::TimeZone};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::clocks::faketime;
use crate::fleet::{Fleet, until};

/// Asks until there is no answer, and says what it was told.
const SPENDER: &str = r#"
import json, os, urllib.error, urllib.request

def ask():
    body = {"model": "gpt", "max_tokens": 16, "messages": [{"role": "user", "content": "Go on."}]}
    request = urllib.request.Request(
        os.environ["OPENAI_BASE_URL"] + "/chat/completions",
        json.dumps(body).encode(),
        {"content-type": "application/json",
         "authorization": "Bearer " + os.environ["OPENAI_API_KEY"]},
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return [answer.status, json.load(answer)["usage"]["cost_usd"]]
    except urllib.error.HTTPError as error:
        return [error.code, json.load(error)["error"]]

while True:
    told = ask()
    print(json.dumps(told), flush=True)
    if told[0] != 200:
        break
"#;

/// How much later than now it is noon of a day in UTC.
fn noon(days: i64) -> SignedDuration {
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    let noon = now.start_of_day().unwrap() + days.days() + 12.hours();
    noon.duration_since(&now)
}

struct World {
    fleet: Fleet,
    _fake: FakeLlm,
    _runtime: Runtime,
}

impl World {
    /// Each call costs a cent, of which there are five a day.
    fn new(faketime: &std::path::Path) -> Self {
        let runtime = Runtime::new().unwrap();
        let fake = runtime.block_on(FakeLlm::start()).unwrap();
        let mut fleet = Fleet::new("");
        fs::write(fleet.path("spender.py"), SPENDER).unwrap();
        fleet.write_raw(&format!(
            "project: test\nversion: \"1.0\"\nsupervisor: {{listen: \"off\"}}\n\
             defaults: {{sandbox: {{mode: none}}, env: {{{}}}}}\n\
             llm:\n  providers:\n\
             \x20   hub: {{kind: openai, base_url: {}, api_key: sk-of-the-operator, models: [\n\
             \x20     {{name: gpt, id: gpt-1, input: 0, output: 625, max_output: 1000, context: 100000}}]}}\n\
             \x20 budgets: {{per_agent: {{spender: {{daily_limit_usd: 0.05}}}}}}\n\
             agents:\n  spender: {{mode: oneshot, schedule: {{every: 1h, run_on_start: false}}, command: [python3, spender.py]}}\n",
            fleet.mark(),
            fake.url(),
        ));
        fleet.set_env("LD_PRELOAD", faketime.to_str().unwrap());
        fleet.set_env("FAKETIME_TIMESTAMP_FILE", &fleet.place("clock"));
        fleet.set_env("FAKETIME_NO_CACHE", "1");
        fleet.set_env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        Self {
            fleet,
            _fake: fake,
            _runtime: runtime,
        }
    }

    /// Puts the supervisor's clock at noon of a day from today on.
    fn at_noon(&self, days: i64) {
        let seconds = noon(days).round(Unit::Second).unwrap().as_secs();
        let fresh = self.fleet.path("clock.new");
        fs::write(&fresh, format!("{seconds:+}s\n")).unwrap();
        fs::rename(fresh, self.fleet.path("clock")).unwrap();
    }

    /// Has the agent spend what there is; what it was told since.
    fn spent(&self, runs: usize) -> Vec<Value> {
        let before = self.fleet.output("spender").lines().count();
        self.fleet.run(&["trigger", "spender"]).ok();
        until("the agent has spent what there was", || {
            let all = self.fleet.runs("spender");
            let ended = all.iter().filter(|run| run.state == RunState::Succeeded);
            (ended.count() == runs).then_some(())
        });
        let output = self.fleet.output("spender");
        let told = output.lines().skip(before);
        told.map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// A window of the agent's budget, as an operator sees it.
    fn window(&self, name: &str) -> Value {
        let budget: Value = self
            .fleet
            .run(&["llm", "budget", "spender", "--output", "json"])
            .json();
        let windows = budget["windows"].as_array().unwrap().clone();
        let wanted = |window: &Value| window["scope"] == "agent" && window["window"] == name;
        windows
            .into_iter()
            .find(wanted)
            .unwrap_or_else(|| panic!("{budget}"))
    }
}

fn assert_spent(told: &[Value]) {
    assert_eq!(told.len(), 6, "{told:?}");
    for answer in &told[..5] {
        assert_eq!(answer, &serde_json::json!([200, 0.01]));
    }
    let refused = &told[5];
    assert_eq!(refused[0], 402);
    assert_eq!(refused[1]["code"], "budget_exceeded");
    let message = refused[1]["message"].as_str().unwrap();
    for part in ["daily", "0.05"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_day_ends_with_the_money_and_the_next_one_has_some_again() {
    let Some(faketime) = faketime("a_day_ends_with_the_money_and_the_next_one_has_some_again")
    else {
        return;
    };
    let mut world = World::new(&faketime);
    world.at_noon(0);
    world.fleet.up();
    assert_spent(&world.spent(1));
    let today = world.window("day");
    assert_eq!(
        (&today["spent_usd"], &today["limit_usd"]),
        (&"0.05".into(), &"0.05".into())
    );
    assert_eq!(today["alert"], "reached", "{today}");
    let table = world.fleet.run(&["llm", "budget"]).ok();
    assert!(
        table.contains("spender") && table.contains("0.05"),
        "{table}"
    );
    let alerts = |world: &World| world.fleet.said().matches("llm_budget_alert").count();
    assert_eq!(alerts(&world), 2, "{}", world.fleet.said());
    // What was spent is not forgotten, and its alerts are not given again.
    world.fleet.kill();
    world.fleet.up();
    assert_eq!(world.spent(2).len(), 1);
    assert_eq!(alerts(&world), 2, "{}", world.fleet.said());
    world.at_noon(1);
    assert_spent(&world.spent(3));
    assert_eq!(world.window("day")["spent_usd"], "0.05");
    assert_eq!(world.window("month")["limit_usd"], Value::Null);
    world.fleet.down();
}
