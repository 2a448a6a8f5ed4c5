use std::path::Path;

use claw_gateway::llm::money::Money;
use claw_gateway::llm::serve::{
    CacheScope, CacheSettings, Caching, OnHangUp, OnTight, Price, ProviderKind, RefusalStatus,
};
use claw_gateway::llm::validate::pii::{Action, Kind};
use claw_gateway::llm::wire::ChatLimit;

use super::*;
use crate::config::{Environment, Loaded, ProviderKeys, Style, load_str};

const PROVIDERS: &str = "
llm:
  providers:
    openai: {api_key: \"${OPENAI_API_KEY}\", models: [gpt-4o, gpt-4o-mini], rate_limit: 500/min}
    anthropic:
      api_key: ${ANTHROPIC_API_KEY}
      models:
        - claude-3.5-sonnet
        - {name: fast, id: claude-3-haiku-20240307, input: 0.5, output: 2, max_output: 100, context: 7}
    ollama: {base_url: \"http://ollama:11434\", models: [llama-3.1-70b]}
    other: {base_url: \"https://llm.example.com\", api_key: \"${X}\", free: true, on_hang_up: cancel, models: [big]}
  aliases: {cheap: small, small: gpt-4o-mini}
";

fn read(agents: &str, llm: &str) -> Result<Loaded, String> {
    let environment = Environment::with([
        ("OPENAI_API_KEY", "sk-hunter2"),
        ("ANTHROPIC_API_KEY", "hunter2"),
        ("X", "hunter2"),
    ]);
    let text = format!("project: p\nversion: \"1.0\"\nagents:\n{agents}{llm}");
    load_str(&text, Path::new("/nonexistent/openclaw.yaml"), &environment)
        .map_err(|problems| problems.render(Style::Plain))
}

fn loaded(agents: &str, llm: &str) -> Loaded {
    read(agents, llm).unwrap_or_else(|problems| panic!("{problems}"))
}

fn config(agents: &str, llm: &str) -> Arc<LlmConfig> {
    loaded(agents, llm).llm.expect("there is such a section")
}

const ONE: &str = "  a: {command: run}\n";

#[test]
fn without_the_section_no_agent_has_access() {
    let loaded = loaded("  a: {command: run}\n  b: {command: run, llm: false}\n", "");
    assert!(loaded.llm.is_none());
    let agents = loaded.fleet.agents.values();
    assert!(agents.clone().all(|agent| agent.launch.models.is_none()));
}

#[test]
fn with_it_every_agent_has_access_unless_it_says_otherwise() {
    let agents = "  a: {command: run}\n  b: {command: run, llm: false}\n  c: {command: run, llm: {timeout: 1s}}\n";
    let loaded = loaded(agents, PROVIDERS);
    let port = |name: &str| loaded.fleet.agents[name].launch.models;
    assert_eq!(
        (port("a"), port("b"), port("c")),
        (Some(MODELS_PORT), None, Some(MODELS_PORT))
    );
    let config = loaded.llm.expect("there is such a section");
    let names: Vec<&str> = config.settings.agents.keys().map(|name| &**name).collect();
    assert_eq!(names, ["a", "c"]);
}

#[test]
fn providers_are_reached_where_and_how_they_are_known_to_be() {
    let config = config(ONE, PROVIDERS);
    let provider = |name: &str| &config.settings.providers[name];
    let openai = provider("openai");
    assert_eq!(openai.kind, ProviderKind::OpenAi);
    assert_eq!(openai.base_url.to_string(), "https://api.openai.com/v1");
    assert_eq!(openai.chat_limit, ChatLimit::MaxCompletionTokens);
    assert_eq!(openai.on_hang_up, OnHangUp::Cancel);
    assert_eq!(openai.rate_limit.map(|rate| rate.count.get()), Some(500));
    assert_eq!(provider("anthropic").kind, ProviderKind::Anthropic);
    let ollama = provider("ollama");
    assert_eq!(ollama.kind, ProviderKind::Ollama);
    assert_eq!(ollama.base_url.to_string(), "http://ollama:11434/v1");
    assert!(ollama.key.is_none());
    let other = provider("other");
    assert_eq!(other.kind, ProviderKind::OpenAi);
    assert_eq!(other.chat_limit, ChatLimit::MaxTokens);
    assert_eq!(other.on_hang_up, OnHangUp::Cancel);
}

#[test]
fn models_have_ids_prices_and_limits() {
    let config = config(ONE, PROVIDERS);
    let model = |name: &str| &config.settings.models[name];
    assert_eq!(
        &*model("claude-3.5-sonnet").id,
        "claude-3-5-sonnet-20241022"
    );
    assert_eq!(&*model("llama-3.1-70b").id, "llama3.1:70b");
    assert_eq!(model("llama-3.1-70b").price, Price::Free);
    assert_eq!(model("big").price, Price::Free);
    assert!(Arc::ptr_eq(model("cheap"), model("gpt-4o-mini")));
    let gpt = model("gpt-4o");
    assert_eq!((gpt.max_output, gpt.context), (Some(16_384), Some(128_000)));
    let fast = model("fast");
    assert_eq!(&*fast.id, "claude-3-haiku-20240307");
    assert_eq!((fast.max_output, fast.context), (Some(100), Some(7)));
    let Price::Known(rates) = &fast.price else {
        panic!("it has a price");
    };
    assert_eq!(rates.standard.base().input, Money::from_pico(500_000));
    assert_eq!(rates.standard.base().output, Money::from_pico(2_000_000));
    assert!(config.unpriced.is_empty());
}

#[test]
fn an_agent_calls_as_it_says_and_else_as_the_fleet_says() {
    let agents = "  a: {command: run}\n  b:\n    command: run\n    resources: {llm_tokens_per_hour: 1000}\n    llm: {models: [fast, cheap], on_tight: clamp, refusal_status: 400, max_retries: 0}\n";
    let llm = format!(
        "{PROVIDERS}  defaults: {{primary: gpt-4o-mini, fallback: [gpt-4o, fast], timeout: 5s, idle_timeout: 6s, min_output: 7, default_output_cap: 8}}\n"
    );
    let config = config(agents, &llm);
    let a = &config.settings.agents["a"];
    assert_eq!(&*a.models[0], "gpt-4o-mini");
    assert_eq!(a.models.len(), config.settings.models.len());
    let fallback: Vec<&str> = a.fallback.iter().map(|name| &**name).collect();
    assert_eq!(fallback, ["gpt-4o", "fast"]);
    assert_eq!((a.timeout.as_secs(), a.idle_timeout.as_secs()), (5, 6));
    assert_eq!((a.on_tight, a.max_retries), (OnTight::Reject, 2));
    assert_eq!(a.refusal_status, RefusalStatus::PaymentRequired);
    let b = &config.settings.agents["b"];
    let models: Vec<&str> = b.models.iter().map(|name| &**name).collect();
    assert_eq!(models, ["fast", "cheap"]);
    let fallback: Vec<&str> = b.fallback.iter().map(|name| &**name).collect();
    assert_eq!(fallback, ["fast"], "it is given none but its own");
    assert_eq!(b.on_tight, OnTight::Clamp { min_output: 7 });
    assert_eq!(b.refusal_status, RefusalStatus::BadRequest);
    assert_eq!((b.max_retries, b.default_output_cap), (0, Some(8)));
    assert_eq!(b.tokens_per_hour.map(std::num::NonZeroU64::get), Some(1000));
}

#[test]
fn each_agent_without_a_budget_of_its_own_has_that_of_the_others() {
    let agents = "  a: {command: run}\n  b: {command: run}\n  c: {command: run, llm: false}\n";
    let llm = format!(
        "{PROVIDERS}  budgets:\n    timezone: Europe/Berlin\n    alert_at_pct: 50\n    global: {{daily_limit_usd: 200, monthly_limit_usd: 5000}}\n    per_agent: {{a: {{daily_limit_usd: 50.5}}, \"*\": {{monthly_limit_usd: 10}}}}\n  durability: full\n"
    );
    let config = config(agents, &llm);
    let budgets = &config.budgets;
    assert_eq!(budgets.timezone.iana_name(), Some("Europe/Berlin"));
    assert_eq!(budgets.alert_at_pct, 50);
    assert_eq!(budgets.fleet.daily, Some(Money::from_usd(200)));
    assert_eq!(budgets.fleet.monthly, Some(Money::from_usd(5000)));
    let a = budgets.agents["a"];
    assert_eq!(a.daily, Some(Money::from_pico(50_500_000_000_000)));
    assert_eq!(a.monthly, None);
    assert_eq!(budgets.agents["b"].monthly, Some(Money::from_usd(10)));
    assert!(!budgets.agents.contains_key("c"));
    assert_eq!(config.durability, Level::Disk);
}

#[test]
fn validators_of_an_agent_stand_in_the_place_of_those_of_the_fleet() {
    let agents = "  a: {command: run}\n  b: {command: run, llm: {validators: {pii_filter: false, json_schema: {requested: repair}}}}\n";
    let llm = format!(
        "{PROVIDERS}  validators:\n    pii_filter: {{action: block, fields: [email, credit_card], answers: \"off\"}}\n    content_safety: {{categories: [hate_speech, violence]}}\n"
    );
    let config = config(agents, &llm);
    let a = &config.settings.agents["a"];
    let prompts = a.prompts.as_ref().expect("prompts are looked at");
    assert_eq!(prompts.action, Action::Block);
    assert_eq!(prompts.kinds, [Kind::Email, Kind::Card].into());
    assert!(a.answers.is_none());
    let judge = a.content_safety.as_ref().expect("texts are judged");
    assert_eq!(&*judge.provider, "openai");
    assert!(judge.categories.contains("hate"));
    let b = &config.settings.agents["b"];
    assert!(b.prompts.is_none() && b.answers.is_none());
    assert!(b.requested_schema.is_some() && b.content_safety.is_some());
}

#[test]
fn answers_are_kept_where_the_fleet_or_the_agent_says_so() {
    let agents = "  a: {command: run}\n  b: {command: run, llm: {cache: true}}\n  c: {command: run, llm: {cache: false}}\n";
    let kept = |cache: &str| {
        let config = config(agents, &format!("{PROVIDERS}{cache}"));
        let of = |name: &str| config.settings.agents[name].cache == Caching::On;
        ([of("a"), of("b"), of("c")], config.settings.cache)
    };
    let usual = CacheSettings::default();
    assert_eq!(kept(""), ([false, true, false], usual));
    assert_eq!(kept("  cache: false\n"), ([false, true, false], usual));
    assert_eq!(kept("  cache: true\n"), ([true, true, false], usual));
    let own = CacheSettings {
        ttl: std::time::Duration::from_secs(300),
        max_size: 8 * 1024 * 1024,
        scope: CacheScope::Fleet,
    };
    let said = "  cache: {ttl: 5m, max_size: 8Mi, shared: true}\n";
    assert_eq!(kept(said), ([true, true, false], own));
    let some = format!("{said}  defaults: {{cache: false}}\n");
    assert_eq!(kept(&some), ([false, true, false], own));
}

#[test]
fn mistakes_about_the_cache_are_told_with_what_to_do() {
    for (cache, told) in [
        ("  cache: {ttl: 0s}\n", "write `cache: false` to keep none"),
        ("  cache: {ttl: 31d}\n", "it is more than 30d"),
        ("  cache: {max_size: 100Ki}\n", "it is not from 1Mi to 16Gi"),
        ("  cache: {max_size: 17Gi}\n", "it is not from 1Mi to 16Gi"),
        ("  cache: {size: 64Mi}\n", "did you mean `max_size`?"),
        ("  cache: on\n", "did you mean `true`?"),
        (
            "  defaults: {cache: {ttl: 5m}}\n",
            "write `cache: true` or `cache: false` here",
        ),
    ] {
        let refused = read(ONE, &format!("{PROVIDERS}{cache}")).expect_err(cache);
        assert!(refused.contains(told), "{refused}");
    }
}

#[test]
fn keys_of_providers_are_shown_nowhere() {
    let loaded = loaded(ONE, PROVIDERS);
    let config = loaded.llm.as_ref().expect("there is such a section");
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(!format!("{loaded:?}").contains("hunter2"));
    assert!(loaded.resolved.contains("${OPENAI_API_KEY}"));
    let llm = "llm: {providers: {openai: {api_key: sk-hunter2, modles: [gpt-4o]}, other: {base_url: \"https://sk-hunter2@llm\", models: []}}}\n";
    let refused = read(ONE, llm).expect_err("it has an unknown key");
    assert!(!refused.contains("hunter2"), "{refused}");
    assert!(refused.contains("modles: [gpt-4o]"), "{refused}");
    let llm = "llm: {providers: {openai: {api_key: sk-hunter2, models: [gpt-4o]}}}\n";
    let loaded = self::loaded(ONE, llm);
    assert!(!loaded.resolved.contains("hunter2"), "{}", loaded.resolved);
    let said = loaded.warnings.render(Style::Plain);
    assert!(said.contains("stands in the file"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn prices_of_a_file_go_before_those_of_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let row = r#"[{"provider":"openai","model":"gpt-4o","rates":{"tokens":[{"input":7,"output":8}]},"checked_on":"2026-11-22"}]"#;
    std::fs::write(folder.path().join("prices.json"), row).unwrap();
    let text = "project: p\nversion: \"1.0\"\nagents: {a: {command: run}}\nllm:\n  providers: {openai: {api_key: \"${K}\", models: [gpt-4o, gpt-4o-mini, gpt-99]}}\n  prices: {file: prices.json, unknown: {input: 3, output: 15}}\n";
    let file = folder.path().join("openclaw.yaml");
    let environment = Environment::with([("K", "hunter2")]);
    let loaded = load_str(text, &file, &environment).expect("it is right");
    let config = loaded.llm.expect("there is such a section");
    let Price::Known(rates) = &config.settings.models["gpt-4o"].price else {
        panic!("it has a price");
    };
    assert_eq!(rates.standard.base().input, Money::from_pico(7_000_000));
    assert!(config.prices.lookup("openai", "gpt-4o-mini").is_some());
    let unpriced: Vec<&str> = config.unpriced.iter().map(|one| &*one.model).collect();
    assert_eq!(unpriced, ["gpt-99"]);
    assert!(loaded.files.contains(&folder.path().join("prices.json")));
}

#[test]
fn no_key_of_a_provider_is_needed_where_none_is_called() {
    let text = format!(
        "project: p\nversion: \"1.0\"\nagents:\n{ONE}llm:\n  providers:\n    openai: {{api_key: \"${{OPENAI_API_KEY:?get one}}\", models: [gpt-4o]}}\n"
    );
    let load = |provider_keys| {
        let environment = Environment {
            provider_keys,
            ..Environment::with([])
        };
        load_str(&text, Path::new("/nonexistent/openclaw.yaml"), &environment)
    };
    let loaded = load(ProviderKeys::Unneeded).expect("no key is looked for");
    let llm = loaded.llm.expect("there is such a section");
    assert!(llm.settings.providers["openai"].key.is_none());
    let problems = load(ProviderKeys::Needed).unwrap_err();
    assert!(problems.render(Style::Plain).contains("get one"));
}

#[test]
fn a_proxy_on_loopback_with_a_key_is_told_of_where_a_limit_would_not_hold() {
    let llm = |provider: &str| {
        format!(
            "llm:\n  providers:\n    proxy: {{base_url: \"http://127.0.0.1:4000\", {provider}}}\n  budgets: {{global: {{daily_limit_usd: 1}}}}\n"
        )
    };
    let warned = |provider: &str| {
        let warnings = loaded(ONE, &llm(provider)).warnings.render(Style::Plain);
        warnings.contains("`proxy` is on loopback, so `m` is taken for free")
    };
    assert!(warned("api_key: \"${X}\", models: [m]"));
    for quiet in [
        "models: [m]",
        "api_key: \"${X}\", free: true, models: [m]",
        "api_key: \"${X}\", models: [{name: m, input: 1, output: 2, max_output: 9}]",
    ] {
        assert!(!warned(quiet), "{quiet}");
    }
}

#[test]
fn a_key_crosses_no_foreign_network_in_clear() {
    let llm = |host: &str| {
        format!(
            "llm:\n  providers:\n    other: {{base_url: \"http://{host}/v1\", api_key: \"${{X}}\", free: true, models: [m]}}\n"
        )
    };
    for host in ["llm.example.com", "8.8.8.8"] {
        let problems = read(ONE, &llm(host)).unwrap_err();
        assert!(
            problems.contains("error[invalid_value]: the key would cross"),
            "{problems}"
        );
    }
    for host in ["localhost:8000", "10.0.0.1", "gateway", "llm.local"] {
        assert!(read(ONE, &llm(host)).is_ok(), "{host}");
    }
}
