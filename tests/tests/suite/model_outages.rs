//! What the supervisor makes of the calls it sees: agents that die of a provider's outage do not
//! come back all at once, and one that repeats a call that cannot succeed is ended for it.

use std::fs;

use fakellm::{Behaviour, FakeLlm, Gate, Pause};
use tokio::runtime::Runtime;

use crate::fleet::{Fleet, until};

/// Asks once; ends with a failure when there is no answer, and else stays. All but one wait before
/// until there is a file `all`.
const ONCE: &str = r#"
import json, os, sys, time, urllib.error, urllib.request

def ask(text):
    url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    body = {"model": "big", "max_tokens": 100, "messages": [{"role": "user", "content": text}]}
    headers = {
        "content-type": "application/json",
        "authorization": "Bearer " + os.environ["OPENAI_API_KEY"],
    }
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code

if __name__ == "__main__":
    while sys.argv[1] != "ann" and not os.path.exists("all"):
        time.sleep(0.02)
    if ask("I am " + sys.argv[1]) != 200:
        sys.exit(1)
    time.sleep(100000)
"#;

/// Asks the same for ever, whatever is answered.
const STUBBORN: &str = r#"
import time
import once

while True:
    print("answered", once.ask("Once more."), flush=True)
    time.sleep(0.05)
"#;

fn provider() -> (Runtime, FakeLlm) {
    let runtime = Runtime::new().unwrap();
    let fake = runtime.block_on(FakeLlm::start()).unwrap();
    (runtime, fake)
}

fn fleet(fake: &FakeLlm, agents: &str) -> Fleet {
    let fleet = Fleet::new("");
    fs::write(fleet.path("once.py"), ONCE).unwrap();
    fs::write(fleet.path("stubborn.py"), STUBBORN).unwrap();
    fleet.write_raw(&format!(
        "project: test\nversion: \"1.0\"\n\
         supervisor: {{listen: \"off\"}}\n\
         defaults:\n  env: {{{mark}}}\n  sandbox: {{mode: none}}\n  \
           restart_policy: {{initial_delay: 50ms, max_delay: 200ms, max_retries: unlimited}}\n\
         agents:\n{agents}\
         llm:\n  providers:\n    hub:\n      kind: openai\n      base_url: \"{url}\"\n      \
             models: [{{name: big, id: big-1}}]\n  \
           defaults: {{max_retries: 0}}\n",
        mark = fleet.mark(),
        url = fake.url(),
    ));
    fleet
}

#[test]
fn of_agents_that_died_of_an_outage_one_tries_before_the_others_start() {
    const AGENTS: [&str; 3] = ["ann", "ben", "cleo"];
    let (_runtime, fake) = provider();
    let gate = Gate::default();
    // So long it lasts that the others find it in time.
    let limited = Behaviour::status(429).with_header("retry-after", "8");
    let held = Behaviour {
        before_head: Pause::Until(gate.clone()),
        ..Behaviour::tokens(5)
    };
    fake.script("big-1", [limited, held, Behaviour::tokens(5)]);
    let agents = AGENTS.map(|name| format!("  {name}: {{command: [python3, once.py, {name}]}}\n"));
    let mut fleet = fleet(&fake, &agents.concat());
    fleet.up();
    fleet.await_agent("ann", "waits for the provider", |agent| {
        agent.reason.text.contains("the provider hub")
    });
    fs::write(fleet.path("all"), "").unwrap();

    // The others died of an outage without a call that arrived, so the next one comes after it.
    let seen = || (fake.seen().len() >= 2).then_some(());
    until("one agent tries", seen);
    let waiting = |name: &&&str| {
        let agent = fleet.agent(name);
        let text = agent.reason.text;
        text.contains("the provider hub") && text.contains("tries first")
    };
    until("the others wait for it", || {
        (AGENTS.iter().filter(waiting).count() == AGENTS.len() - 1).then_some(())
    });
    assert_eq!(fake.seen().len(), 2);
    gate.open();
    until("all are answered", || {
        (fake.seen().len() > AGENTS.len()).then_some(())
    });
    for name in AGENTS {
        fleet.await_main(name);
    }
    fleet.down();
}

#[test]
fn an_agent_that_repeats_a_call_that_is_refused_is_ended_for_it() {
    let (_runtime, fake) = provider();
    fake.script("big-1", [Behaviour::status(422)]);
    let mut fleet = fleet(
        &fake,
        "  stubborn: {command: [python3, stubborn.py], \
         health_check: {breaker: {calls: 5, within: 1m}}}\n",
    );
    fleet.up();
    fleet.await_agent("stubborn", "was ended", |agent| agent.restarts >= 2);
    let why = fleet.run(&["why", "stubborn"]);
    let why = why.ok();
    assert!(why.contains("no progress"), "{why}");
    assert!(why.contains("5 times"), "{why}");
    fleet.down();
}
