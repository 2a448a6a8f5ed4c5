//! Row 27 of the fault matrix, from outside: whatever the way to a provider does to a call, the
//! agent is answered, no money is forgotten, and the next call over a good way is an answer.

use std::fs;
use std::time::Duration;

use fakellm::{Behaviour, FakeLlm};
use tokio::runtime::Runtime;

use crate::fault_proxy::{Fault, FaultProxy};
use crate::fleet::{Fleet, until};

/// Makes a call for each line of a file, whole or as a stream as the line says, and prints what
/// came of it.
const CALLING: &str = r#"
import json, os, time, urllib.error, urllib.request

def call(kind):
    url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    question = {"role": "user", "content": "What is a way good for?"}
    body = {"model": "big", "max_tokens": 100, "messages": [question], "stream": kind == "stream"}
    headers = {
        "content-type": "application/json",
        "authorization": "Bearer " + os.environ["OPENAI_API_KEY"],
    }
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read().decode()
    except urllib.error.HTTPError as error:
        return f"{error.code} {json.load(error)['error']['code']}"
    except Exception as error:
        return type(error).__name__
    if kind == "stream":
        return "whole" if text.rstrip().endswith("data: [DONE]") else "cut"
    return "whole" if json.loads(text)["choices"] else "nothing"

asked = 0
while True:
    with open("asks") as file:
        lines = file.read().splitlines()
    for kind in lines[asked:]:
        print("answered", call(kind), flush=True)
    asked = len(lines)
    time.sleep(0.02)
"#;

/// Pico-USD of a token of a prompt and of an answer, by the prices of the fleet file.
const PROMPT: u64 = 1_000_000;
const ANSWER: u64 = 2_000_000;

struct Course {
    fleet: Fleet,
    fake: FakeLlm,
    way: FaultProxy,
    asked: usize,
    _runtime: Runtime,
}

impl Course {
    fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let fake = runtime.block_on(FakeLlm::start()).unwrap();
        fake.script("big-1", [Behaviour::tokens(50)]);
        let url = fake.url();
        let address = url.split('/').nth(2).unwrap();
        let way = FaultProxy::to(address.parse().unwrap());
        let fleet = Fleet::new("");
        fs::write(fleet.path("calling.py"), CALLING).unwrap();
        fs::write(fleet.path("asks"), "").unwrap();
        fleet.write_raw(&format!(
            "project: test\nversion: \"1.0\"\n\
             supervisor: {{listen: \"off\"}}\n\
             defaults: {{env: {{{mark}}}, sandbox: {{mode: none}}}}\n\
             agents:\n  calling: {{command: [python3, calling.py]}}\n\
             llm:\n  providers:\n    hub:\n      kind: openai\n      base_url: \"{url}\"\n      free: false\n      \
                 models: [{{name: big, id: big-1, input: 1, output: 2, max_output: 1000, context: 100000}}]\n  \
               defaults: {{max_retries: 0, timeout: 2s, idle_timeout: 2s}}\n  \
               budgets: {{per_agent: {{calling: {{daily_limit_usd: 5}}}}}}\n",
            mark = fleet.mark(),
            url = url.replace(address, &way.address().to_string()),
        ));
        let asked = 0;
        Self {
            fleet,
            fake,
            way,
            asked,
            _runtime: runtime,
        }
    }

    /// What a call over such a way comes to.
    fn call(&mut self, kind: &str, fault: Fault) -> String {
        self.way.set(fault);
        self.asked += 1;
        let path = self.fleet.path("asks");
        let before = fs::read_to_string(&path).unwrap();
        fs::write(self.fleet.path("asks.new"), format!("{before}{kind}\n")).unwrap();
        fs::rename(self.fleet.path("asks.new"), path).unwrap();
        until("the call is answered", || {
            let output = self.fleet.output("calling");
            let mut answers = output
                .lines()
                .filter_map(|line| line.strip_prefix("answered "));
            answers.nth(self.asked - 1).map(str::to_owned)
        })
    }

    /// What is booked on today's money of the agent, certain or not, in pico-USD.
    fn booked(&self) -> u64 {
        let budgets: serde_json::Value = self.fleet.api().get("/api/llm/budget?agent=calling");
        let windows = budgets["windows"].as_array().unwrap().iter();
        let mut own =
            windows.filter(|window| window["scope"] == "agent" && window["window"] == "day");
        let day = own.next().unwrap();
        ["spent_usd", "uncertain_usd"]
            .map(|name| {
                let usd = day[name].as_str().unwrap();
                let (whole, part) = usd.split_once('.').unwrap_or((usd, ""));
                format!("{whole}{part:0<12}").parse::<u64>().unwrap()
            })
            .iter()
            .sum()
    }

    fn assert_booked(&self) {
        let bill = self.fake.bill(PROMPT, ANSWER);
        let booked = self.booked();
        assert!(booked >= bill, "{booked} is booked of a bill of {bill}");
    }
}

#[test]
fn a_bad_way_to_a_provider_forgets_no_money_and_outlives_itself() {
    let slow = Fault::Slow(16, Duration::from_millis(1));
    let mut course = Course::start();
    course.fleet.up();
    for kind in ["answer", "stream"] {
        assert_eq!(course.call(kind, Fault::None), "whole");
        for fault in [
            Fault::Refuse,
            Fault::Stall,
            Fault::Cut(0),
            Fault::Cut(100),
            Fault::Reset(100),
            Fault::Cut(400),
            Fault::Reset(400),
        ] {
            let said = course.call(kind, fault);
            assert_ne!(said, "whole", "{kind} over {fault:?}");
            course.assert_booked();
            assert_eq!(
                course.call(kind, Fault::None),
                "whole",
                "{kind} after {fault:?}"
            );
        }
        assert_eq!(course.call(kind, slow), "whole");
        course.assert_booked();
    }
    let main = course.fleet.agent("calling");
    assert_eq!(main.restarts, 0, "{main:?}");
    course.fleet.down();
}
