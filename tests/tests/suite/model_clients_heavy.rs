//! The clients that agents are written with reach their models by the environment alone, through a
//! supervisor that meters them.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use claw_daemon::api::State;
use fakellm::{FakeLlm, Seen};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::fleet::{Fleet, root, within};

/// What the clients of Python import takes seconds of a processor, and there are several at once.
const IMPORTS: Duration = Duration::from_secs(180);

/// The key that the provider wants.
const KEY: &str = "sk-of-the-operator";

/// Where the clients are installed; `None`, and said, where they are not.
fn clients(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("CLAW_CLIENTS").map(PathBuf::from);
    if folder.is_none() {
        let why = std::env::var("CLAW_NO_CLIENTS").unwrap_or_else(|_unset| {
            "CLAW_CLIENTS names no folder made by scripts/clients".to_owned()
        });
        eprintln!("SKIP {test}: {why}");
    }
    folder
}

struct World {
    fleet: Fleet,
    fake: FakeLlm,
    _runtime: Runtime,
}

/// A fleet of these clients, each an agent that ends, with models of one provider in both of its
/// interfaces.
fn world(budget: &str, commands: &[(&str, Vec<String>)]) -> World {
    let runtime = Runtime::new().unwrap();
    let fake = runtime.block_on(FakeLlm::start()).unwrap();
    let url = fake.url();
    let fleet = Fleet::new("");
    let agents: String = commands
        .iter()
        .map(|(name, command)| {
            let command = serde_json::to_string(command).unwrap();
            format!("  {name}: {{mode: oneshot, command: {command}}}\n")
        })
        .collect();
    fleet.write_raw(&format!(
        "project: test\nversion: \"1.0\"\nsupervisor: {{listen: \"off\"}}\n\
         defaults: {{sandbox: {{mode: none}}, env: {{{}}}, restart_policy: {{max_retries: 0}}}}\n\
         llm:\n  providers:\n\
         \x20   hub: {{kind: openai, base_url: {url}, api_key: {KEY}, models: [\n\
         \x20     {{name: gpt, id: gpt-1, input: 1, output: 2, max_output: 1000, context: 100000}},\n\
         \x20     {{name: vectors, id: vectors-1, input: 1, output: 0, max_output: 1, context: 100000}}]}}\n\
         \x20   other: {{kind: anthropic, base_url: {url}, api_key: {KEY}, models: [\n\
         \x20     {{name: claude, id: claude-1, input: 1, output: 2, max_output: 1000, context: 100000}}]}}\n\
         \x20 budgets: {{global: {{daily_limit_usd: {budget}}}}}\n\
         agents:\n{agents}",
        fleet.mark()
    ));
    World {
        fleet,
        fake,
        _runtime: runtime,
    }
}

/// What an agent printed last, once it is done.
fn printed(fleet: &Fleet, name: &str) -> Value {
    let stopped = || {
        let agent = fleet.find(name)?;
        (agent.state == State::Stopped).then_some(())
    };
    within(IMPORTS, &format!("{name} is done"), stopped);
    let output = fleet.output(name);
    let object = |line: &&str| line.starts_with('{');
    let last = output.lines().rev().find(object).unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{name}: {error}: {output}"))
}

fn python(clients: &std::path::Path, script: &str) -> Vec<String> {
    let script = root().join("tests/clients").join(script);
    [clients.join("python/bin/python"), script]
        .map(|path| path.to_str().unwrap().to_owned())
        .into()
}

/// Whole or streamed, in whatever interface, the model says the same.
fn assert_same_texts(name: &str, said: &Value) {
    let texts = said["texts"].as_array().unwrap();
    assert!(texts.len() >= 2, "{name}: {said}");
    for text in texts {
        assert_eq!(text, &texts[0], "{name}: {said}");
        assert!(
            text.as_str().is_some_and(|text| text.len() > 10),
            "{name}: {said}"
        );
    }
}

fn assert_keys(seen: &[Seen]) {
    for request in seen {
        let own = format!("Bearer {KEY}");
        let key = [request.header("authorization"), request.header("x-api-key")];
        assert!(
            key == [Some(own.as_str()), None] || key == [None, Some(KEY)],
            "{}: {key:?}",
            request.path
        );
        assert!(
            // Tokens of agents begin so.
            !format!("{:?}", request.headers).contains("oc1."),
            "{:?}",
            request.headers
        );
    }
}

#[test]
fn the_clients_of_python_need_nothing_but_their_environment_heavy() {
    let Some(clients) = clients("the_clients_of_python_need_nothing_but_their_environment_heavy")
    else {
        return;
    };
    let all = ["openai", "anthropic", "langchain", "litellm", "pydantic_ai"];
    let command = |name: &&'static str| (*name, python(&clients, &format!("{name}_client.py")));
    let commands: Vec<_> = all.iter().map(command).collect();
    let mut world = world("1", &commands);
    world.fleet.up();
    for name in all {
        let said = printed(&world.fleet, name);
        assert_same_texts(name, &said);
    }
    let openai = printed(&world.fleet, "openai");
    assert_eq!(openai["vectors"], 1);
    assert_eq!(
        openai["models"],
        serde_json::json!(["gpt", "vectors", "claude"])
    );
    assert!(
        openai["cost"].as_f64().is_some_and(|cost| cost > 0.0),
        "{openai}"
    );
    let seen = world.fake.seen();
    assert_keys(&seen);
    for path in [
        "/v1/chat/completions",
        "/v1/responses",
        "/v1/embeddings",
        "/v1/messages",
    ] {
        assert!(seen.iter().any(|request| request.path == path), "{path}");
    }
    world.fleet.down();
}

#[test]
fn the_clients_of_node_need_nothing_but_their_environment_heavy() {
    let test = "the_clients_of_node_need_nothing_but_their_environment_heavy";
    let Some(clients) = clients(test) else {
        return;
    };
    let modules = clients.join("node/node_modules");
    if !modules.exists() {
        eprintln!("SKIP {test}: there is no npm");
        return;
    }
    let all = ["openai", "anthropic", "ai"];
    let script = |name: &str| format!("{name}_client.mjs");
    let command = |name: &&'static str| (*name, vec!["node".to_owned(), script(name)]);
    let commands: Vec<_> = all.iter().map(command).collect();
    let mut world = world("1", &commands);
    // Modules are found from where a script lies.
    std::os::unix::fs::symlink(modules, world.fleet.path("node_modules")).unwrap();
    for name in all {
        let from = root().join("tests/clients").join(script(name));
        fs::copy(from, world.fleet.path(&script(name))).unwrap();
    }
    world.fleet.up();
    for name in all {
        let said = printed(&world.fleet, name);
        assert_same_texts(name, &said);
    }
    assert_keys(&world.fake.seen());
    world.fleet.down();
}

#[test]
fn a_client_without_money_asks_once_and_is_told_why_heavy() {
    let Some(clients) = clients("a_client_without_money_asks_once_and_is_told_why_heavy") else {
        return;
    };
    let mut world = world("0.000001", &[("refused", python(&clients, "refused.py"))]);
    world.fleet.up();
    let said = printed(&world.fleet, "refused");
    assert_eq!(said["openai"][0], 402, "{said}");
    assert_eq!(said["openai"][1], "budget_exceeded", "{said}");
    assert_eq!(said["anthropic"][0], 402, "{said}");
    assert_eq!(said["anthropic"][1], "billing_error", "{said}");
    for client in ["openai", "anthropic"] {
        let message = said[client][2].as_str().unwrap();
        assert!(
            message.contains("daily") && message.contains("USD"),
            "{message}"
        );
    }
    assert!(world.fake.seen().is_empty(), "no provider was asked");
    // One request of each of the two clients: neither tried again.
    let (_, metrics) = world.fleet.api().ask("/metrics").unwrap();
    let refused = r#"openclaw_llm_refusals_total{agent="refused",code="budget_exceeded"} 2"#;
    assert!(metrics.contains(refused), "{metrics}");
    world.fleet.down();
}
