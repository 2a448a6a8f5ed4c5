//! Language models, as agents call them: by their environment alone, within their budgets, and
//! across the supervisor's death. The provider is a fake one, which keeps its own bill.

use std::fs;

use fakellm::{Behaviour, FakeLlm, Gate, Pause, Seen};
use tokio::runtime::Runtime;

use crate::fleet::{Fleet, until};

/// Calls models as often as the lines of a file say, each line at once, knowing nothing but its
/// environment; and refuses to run with a provider's key in it.
const CALLING: &str = r#"
import json, os, threading, time, urllib.error, urllib.request

KEY = "sk-of-the-provider"
assert not any(KEY in value for value in os.environ.values()), "it has the provider's key"

def call():
    url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    question = {"role": "user", "content": "What is a supervisor of agents good for?"}
    body = {"model": "big", "max_tokens": 100, "messages": [question]}
    headers = {
        "content-type": "application/json",
        "authorization": "Bearer " + os.environ["OPENAI_API_KEY"],
    }
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            said = f"{answer.status}"
    except urllib.error.HTTPError as error:
        said = f"{error.code} {json.load(error)['error']['code']}"
    except OSError:
        said = "nothing"
    print("answered", said, flush=True)

asked = 0
while True:
    with open("scripts/asks") as file:
        lines = file.read().splitlines()
    for count in lines[asked:]:
        for _ in range(int(count)):
            threading.Thread(target=call).start()
    asked = len(lines)
    time.sleep(0.02)
"#;

const KEY: &str = "sk-of-the-provider";

/// Pico-USD of a token of a prompt and of an answer, by the prices of the fleet file.
const PROMPT: u64 = 1_000_000;
const ANSWER: u64 = 2_000_000;

/// A provider on a runtime of its own.
pub(crate) struct Hub {
    runtime: Runtime,
    fake: FakeLlm,
}

impl Hub {
    pub(crate) fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let fake = runtime.block_on(FakeLlm::start()).unwrap();
        Self { runtime, fake }
    }

    /// Waits until it has seen so many calls.
    fn seen(&self, calls: usize) -> Vec<Seen> {
        let seen = || Some(self.fake.seen()).filter(|seen| seen.len() >= calls);
        until(&format!("{calls} calls arrive"), seen)
    }

    pub(crate) fn bill(&self) -> u64 {
        self.fake.bill(PROMPT, ANSWER)
    }
}

/// Writes a fleet of one agent that may spend so much a day.
fn write(fleet: &Fleet, hub: &Hub, sandbox: &str, daily: &str) {
    fleet.write_raw(&format!(
        "project: test\nversion: \"1.0\"\n\
         supervisor: {{listen: \"off\"}}\n\
         defaults: {{env: {{{mark}}}}}\n\
         agents:\n  calling:\n    command: [python3, scripts/calling.py]\n    \
             sandbox: {{mode: {sandbox}}}\n    \
             graceful_shutdown: {{timeout: 1s}}\n\
         llm:\n  providers:\n    hub:\n      kind: openai\n      base_url: \"{url}\"\n      \
             api_key: \"${{HUB_KEY}}\"\n      free: false\n      \
             models: [{{name: big, id: big-1, input: 1, output: 2, max_output: 1000, context: 100000}}]\n  \
           budgets: {{per_agent: {{calling: {{daily_limit_usd: {daily}}}}}}}\n",
        mark = fleet.mark(),
        url = hub.fake.url(),
    ));
}

/// A fleet whose agent asks when it is told to.
pub(crate) fn fleet(hub: &Hub, sandbox: &str, daily: &str) -> Fleet {
    let mut fleet = Fleet::new("");
    fleet.set_env("HUB_KEY", KEY);
    fs::create_dir(fleet.path("scripts")).unwrap();
    fs::write(fleet.path("scripts/calling.py"), CALLING).unwrap();
    fs::write(fleet.path("scripts/asks"), "").unwrap();
    write(&fleet, hub, sandbox, daily);
    fleet
}

/// Has the agent make so many calls at once.
pub(crate) fn ask(fleet: &Fleet, calls: usize) {
    let path = fleet.path("scripts/asks");
    let before = fs::read_to_string(&path).unwrap();
    // Written beside, so that half a line is never read.
    let fresh = fleet.path("scripts/asks.new");
    fs::write(&fresh, format!("{before}{calls}\n")).unwrap();
    fs::rename(fresh, path).unwrap();
}

/// What the agent was answered, once it was so often.
pub(crate) fn answered(fleet: &Fleet, count: usize) -> Vec<String> {
    until(&format!("{count} answers came"), || {
        let output = fleet.output("calling");
        let lines = output.lines();
        let answers: Vec<String> = lines
            .filter_map(|line| line.strip_prefix("answered ").map(str::to_owned))
            .collect();
        (answers.len() >= count).then_some(answers)
    })
}

/// What of today's money of the agent is spent and uncertain, in pico-USD.
pub(crate) fn money(fleet: &Fleet) -> (u64, u64) {
    let budgets: serde_json::Value = fleet.api().get("/api/llm/budget?agent=calling");
    let windows = budgets["windows"].as_array().unwrap().iter();
    let mut own = windows.filter(|window| window["scope"] == "agent" && window["window"] == "day");
    let day = own.next().unwrap();
    let amount = |name: &str| pico(day[name].as_str().unwrap());
    (amount("spent_usd"), amount("uncertain_usd"))
}

/// An amount in USD, in pico-USD.
pub(crate) fn pico(usd: &str) -> u64 {
    let (whole, part) = usd.split_once('.').unwrap_or((usd, ""));
    format!("{whole}{part:0<12}").parse().unwrap()
}

/// The whole course: an answer, a budget that is lowered and raised, and a supervisor that dies.
fn course(hub: &Hub, sandbox: &str) {
    let mut fleet = fleet(hub, sandbox, "5");
    fleet.up();
    ask(&fleet, 1);
    assert_eq!(answered(&fleet, 1), ["200"], "{}", fleet.said());
    assert_eq!(money(&fleet), (hub.bill(), 0));
    let seen = hub.seen(1);
    let shown = format!("Bearer {KEY}");
    assert_eq!(seen[0].header("authorization"), Some(&*shown));
    let mut headers = seen[0].headers.values();
    assert!(headers.all(|value| !value.contains("oc1.")), "{seen:?}");

    write(&fleet, hub, sandbox, "0.00001");
    fleet.run(&["apply"]).ok();
    ask(&fleet, 1);
    assert_eq!(answered(&fleet, 2)[1], "402 budget_exceeded");
    assert_eq!(hub.fake.seen().len(), 1, "no call was made");

    write(&fleet, hub, sandbox, "5");
    fleet.run(&["apply"]).ok();
    let before = fleet.await_main("calling").pid;
    fleet.crash_and_up();
    ask(&fleet, 1);
    assert_eq!(answered(&fleet, 3)[2], "200", "{}", fleet.said());
    assert_eq!(fleet.await_main("calling").pid, before, "it was taken over");
    until("all is settled", || {
        (money(&fleet) == (hub.bill(), 0)).then_some(())
    });
    fleet.down();
}

#[test]
fn a_process_calls_models_by_its_environment_through_reloads_and_deaths_of_the_supervisor() {
    course(&Hub::start(), "none");
}

#[test]
fn a_process_without_a_network_calls_models_just_the_same() {
    let hub = Hub::start();
    let name = "a_process_without_a_network_calls_models_just_the_same";
    if !Fleet::new("").confines(name) {
        return;
    }
    course(&hub, "process");
}

#[test]
fn a_supervisor_that_is_killed_with_calls_in_flight_forgets_none_of_their_money() {
    const CALLS: usize = 20;
    const DAILY: &str = "0.009";
    let hub = Hub::start();
    let gate = Gate::default();
    let held = Behaviour {
        before_head: Pause::Until(gate.clone()),
        ..Behaviour::tokens(100)
    };
    hub.fake.script("big-1", [held]);
    // Room for a little more than twenty calls, by what each may cost at most.
    let mut fleet = fleet(&hub, "none", DAILY);
    fleet.up();
    ask(&fleet, CALLS);
    hub.seen(CALLS);
    fleet.kill();
    gate.open();
    assert_eq!(answered(&fleet, CALLS), vec!["nothing"; CALLS]);
    let ended = |seen: &Vec<Seen>| seen.iter().all(|call| call.ended);
    hub.runtime.block_on(hub.fake.until(ended));

    fleet.up();
    let (spent, uncertain) = money(&fleet);
    assert!(spent + uncertain >= hub.bill(), "{spent} and {uncertain}");
    assert!(spent + uncertain <= pico(DAILY), "{spent} and {uncertain}");
    // What is uncertain counts: of twenty more calls only those go that fit beside it.
    ask(&fleet, CALLS);
    let answers = answered(&fleet, 2 * CALLS);
    assert!(answers.iter().any(|answer| answer == "402 budget_exceeded"));
    assert!(hub.bill() <= pico(DAILY), "{} is billed", hub.bill());
    until("all is settled", || {
        let (spent, uncertain) = money(&fleet);
        (spent + uncertain >= hub.bill()).then_some(())
    });
    fleet.down();
}

#[test]
fn an_agent_whose_way_out_is_halted_calls_no_model_and_what_cannot_be_cut_is_said() {
    let hub = Hub::start();
    let mut fleet = fleet(&hub, "none", "5");
    fleet.up();
    ask(&fleet, 1);
    assert_eq!(answered(&fleet, 1), ["200"], "{}", fleet.said());
    let gate = Gate::default();
    let held = Behaviour {
        before_head: Pause::Until(gate.clone()),
        ..Behaviour::tokens(100)
    };
    hub.fake.script("big-1", [held]);
    ask(&fleet, 1);
    hub.seen(2);
    let halted = fleet.run(&["halt", "calling", "--level", "egress"]);
    let uncut = "egress of calling is not ours to cut: sandbox mode none";
    assert!(halted.err.contains(uncut), "{halted:?}");
    halted.ok();
    assert_eq!(answered(&fleet, 2)[1], "403 halted");
    gate.open();
    until("the call that was cut is paid for", || {
        (money(&fleet) == (hub.bill(), 0)).then_some(())
    });

    fleet.crash_and_up();
    ask(&fleet, 1);
    assert_eq!(answered(&fleet, 3)[2], "403 halted");
    let review = fleet.run(&["resume-all"]);
    assert!(review.err.contains(uncut), "{review:?}");
    review.exits(2);
    fleet.run(&["resume-all", "--yes"]).ok();
    assert_eq!(hub.fake.seen().len(), 2, "no call was made");
    ask(&fleet, 1);
    assert_eq!(answered(&fleet, 4)[3], "200");
    fleet.down();
}
