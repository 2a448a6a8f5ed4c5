//! What agents may publish.

use std::fs;

use serde_json::{Value, json};

use crate::caller::{answers, caller};
use crate::fleet::{Fleet, until};

/// Publishes in every way there is, each once with a name that is allowed and once without.
const WAYS: &str = r#"
def ways(name):
    told("one", call("POST", "/v1/events", {"name": name}))
    told("many", call("POST", "/v1/events:batch", {"events": [{"name": "reported"}, {"name": name}]}))
    writes = [{"op": "set", "key": "k", "value": 1}]
    told("state", call("POST", "/v1/state:batch", {"state": writes, "events": [{"name": name}]}))
    work = call("GET", "/v1/work?wait=30")["body"][0]["work"]
    told("done", call("POST", f"/v1/work/{work}/done", {"attempt": 1, "ok": True, "events": [{"name": name}]}))
    call("POST", f"/v1/work/{work}/done", {"attempt": 1, "ok": True})
ways("alerts.disk.full")
ways("other")
told("state", call("GET", "/v1/state/k"))
"#;

fn refusal(agent: &str, event: &str, line: &str) -> Value {
    json!({
        "code": "topic_not_allowed",
        "message": format!(
            "`{agent}` may not publish `{event}`; the fleet file allows it with `{line}` under `agents: {agent}:`"
        ),
        "detail": {"event": event, "line": line},
    })
}

#[test]
fn statement_64_an_agent_publishes_only_its_topics() {
    let keys = "subscribe: [job], publishes: [reported, \"alerts.>\"]";
    let mut fleet = caller(keys, WAYS);
    for _ in 0..2 {
        fleet.run(&["events", "publish", "job"]).ok();
    }
    let answers = answers(&fleet, 9);
    let line = "publishes: [reported, \"alerts.>\", other]";
    let refused = refusal("caller", "other", line);
    for (n, answer) in answers.iter().enumerate() {
        if n < 4 || n == 8 {
            assert_eq!(answer["status"], 200, "{n}: {answer}");
            continue;
        }
        assert_eq!(answer["status"], 403, "{n}: {answer}");
        for part in ["code", "message", "detail"] {
            assert_eq!(answer["body"][part], refused[part], "{n}: {answer}");
        }
    }
    assert_eq!(answers[8]["body"], 1, "written by what was allowed");
    let said = fleet.said();
    let audited = said
        .lines()
        .filter(|line| line.contains("refused: ") && line.contains("topic_not_allowed"));
    assert_eq!(audited.count(), 4);
    fleet.down();
}

const SCRIPT: &str = "until clawctl agent emit found; do sleep 0.05; done; sleep 600";

#[test]
fn a_reload_changes_at_once_what_an_agent_may_publish() {
    let program = crate::fleet::program();
    let folder = program.parent().unwrap().display().to_string();
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap());
    let agents = |publishes: &str| {
        let command = format!("command: [sh, find.sh], mode: worker, env: {{PATH: \"{path}\"}}");
        format!("  finder: {{{command}, {publishes}}}\n")
    };
    let mut fleet = Fleet::new(&agents("publishes: []"));
    fs::write(fleet.path("find.sh"), SCRIPT).unwrap();
    fleet.up();
    until("it is refused", || {
        let lines = fleet.log("finder");
        let refused = |text: &str| text.contains("may not publish `found`");
        lines.iter().any(|line| refused(&line.text)).then_some(())
    });
    let before = fleet.find("finder").unwrap().instance.unwrap().pid;
    fleet.write("", &agents("publishes: [found]"));
    fleet.run(&["apply"]).ok();
    until("it is published", || {
        let found = fleet
            .run(&["events", "--topic", "found", "-o", "json"])
            .ok();
        found.contains("\"finder\"").then_some(())
    });
    assert_eq!(fleet.find("finder").unwrap().instance.unwrap().pid, before);
    fleet.down();
}
