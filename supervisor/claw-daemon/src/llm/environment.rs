//! What an agent's environment says of models: one address and one key for all libraries, so that
//! programs that know nothing of the supervisor find their way.

use claw_core::spec::{Launch, Secret};

/// What the names of this machine's loopback are for those who would ask a proxy for them.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Where the gateway is, for libraries that add the version of the interface by themselves.
const BASE: [&str; 5] = [
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_API_URL",
    "OLLAMA_HOST",
    "OLLAMA_API_BASE",
    OWN,
];

/// The name of our own making, which no fleet file may set.
const OWN: &str = "OPENCLAW_LLM_URL";

/// The same for libraries that do not.
const BASE_V1: [&str; 2] = ["OPENAI_BASE_URL", "OPENAI_API_BASE"];

/// What libraries show the gateway.
const KEYS: [&str; 3] = ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OLLAMA_API_KEY"];

/// Other credentials of the same libraries, which they would show the gateway instead, or take for
/// a reason not to call it. What names an account is as useless there.
const REMOVED: [&str; 7] = [
    "ANTHROPIC_AUTH_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "OPENAI_ADMIN_KEY",
    "OPENAI_ORGANIZATION",
    "OPENAI_ORG_ID",
    "OPENAI_PROJECT",
    "OPENAI_PROJECT_ID",
];

/// Keeps LiteLLM from asking the Internet for prices, three times and with a warning each.
const LOCAL_PRICES: &str = "LITELLM_LOCAL_MODEL_COST_MAP";

/// The variables of libraries that are the supervisor's at agents that reach models.
pub(crate) fn variables() -> impl Iterator<Item = &'static str> {
    let libraries = BASE.into_iter().filter(|name| *name != OWN);
    let others = BASE_V1.into_iter().chain(KEYS).chain(REMOVED);
    libraries.chain(others).chain([LOCAL_PRICES])
}

/// Tells a program where it finds models on its loopback, in the words of all libraries that were
/// tried. What the fleet file says of the same variables gives way: a provider's key is nothing
/// for an agent.
pub(super) fn describe(launch: &mut Launch, port: u16, token: &str) {
    launch.models = Some(port);
    for name in REMOVED {
        launch.env.remove(name);
        launch.secrets.remove(name);
    }
    let base = format!("http://127.0.0.1:{port}");
    for name in BASE {
        set(launch, name, base.clone());
    }
    for name in BASE_V1 {
        set(launch, name, format!("{base}/v1"));
    }
    set(launch, LOCAL_PRICES, "True".to_owned());
    for name in KEYS {
        launch.env.remove(name);
        let token = Secret::new(token.to_owned());
        launch.secrets.insert(name.to_owned(), token);
    }
    for name in ["NO_PROXY", "no_proxy"] {
        if let Some(kept) = launch.secrets.get_mut(name) {
            *kept = Secret::kept(without_proxy(kept.expose()));
            continue;
        }
        let written = launch.env.get(name).map_or("", String::as_str);
        let value = without_proxy(written);
        launch.env.insert(name.to_owned(), value);
    }
}

fn set(launch: &mut Launch, name: &str, value: String) {
    launch.secrets.remove(name);
    launch.env.insert(name.to_owned(), value);
}

/// The same hosts, and the loopback.
fn without_proxy(written: &str) -> String {
    let hosts = written.split(',').map(str::trim);
    let mut hosts: Vec<&str> = hosts.filter(|host| !host.is_empty()).collect();
    for own in LOOPBACK {
        if !hosts.contains(&own) {
            hosts.push(own);
        }
    }
    hosts.join(",")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Environment, load_str};

    fn launch(agent: &str) -> Launch {
        let text = format!("project: t\nversion: '1.0'\nagents:\n  a: {{command: [x], {agent}}}\n");
        let loaded = load_str(&text, Path::new("openclaw.yaml"), &Environment::with([])).unwrap();
        let mut launch = loaded.fleet.agents["a"].launch.clone();
        describe(&mut launch, 20_001, "oc1.1.ab");
        launch
    }

    #[test]
    fn a_provider_key_and_address_of_the_fleet_file_give_way_to_those_of_the_gateway() {
        let launch = launch(
            "env: {OPENAI_API_KEY: sk-real, OPENAI_BASE_URL: 'https://elsewhere.example', \
             ANTHROPIC_AUTH_TOKEN: sk-other, TONE: kind}",
        );
        assert_eq!(launch.models, Some(20_001));
        assert_eq!(launch.env["OPENAI_BASE_URL"], "http://127.0.0.1:20001/v1");
        assert_eq!(launch.env["ANTHROPIC_BASE_URL"], "http://127.0.0.1:20001");
        assert_eq!(launch.env["TONE"], "kind");
        for key in KEYS {
            assert_eq!(launch.secrets[key].expose(), "oc1.1.ab", "{key}");
            assert!(launch.secrets[key].is_granted(), "{key} is masked");
        }
        let plain = launch.env.values().map(String::as_str);
        let secret = launch.secrets.values().map(Secret::expose);
        let mut all = plain.chain(secret);
        assert!(all.all(|value| !value.contains("sk-")));
    }

    #[test]
    fn the_loopback_is_reached_without_a_proxy_and_so_are_the_hosts_of_the_fleet_file() {
        let none = launch("env: {}");
        assert_eq!(none.env["NO_PROXY"], "localhost,127.0.0.1,::1");
        let some = launch("env: {no_proxy: 'intern.example, 127.0.0.1'}");
        assert_eq!(
            some.env["no_proxy"],
            "intern.example,127.0.0.1,localhost,::1"
        );
    }
}
