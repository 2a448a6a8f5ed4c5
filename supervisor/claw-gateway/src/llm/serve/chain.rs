//! The targets of a request, in the order in which they are tried.

use std::sync::Arc;

use super::denial::Denial;
use super::settings::{AgentSettings, Model, Provider, Settings};

/// One model of one provider that may serve a request.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) provider_name: Arc<str>,
    pub(super) provider: Arc<Provider>,
    pub(super) model: Arc<Model>,
}

/// The model that was asked for, by its alias or by its provider's id, and after it the agent's
/// fallbacks. `default` stands for the agent's primary model.
pub(super) fn chain(
    settings: &Settings,
    agent: &AgentSettings,
    asked: &str,
) -> Result<Vec<Target>, Denial> {
    let unknown = || Denial::UnknownModel {
        asked: asked.into(),
        known: agent.models.iter().map(|name| name.to_string()).collect(),
    };
    let first = named(settings, agent, asked).ok_or_else(unknown)?;
    let fallback = agent.fallback.iter().filter(|name| **name != first);
    let mut targets: Vec<Target> = Vec::new();
    for name in std::iter::once(&first).chain(fallback) {
        let Some(target) = target(settings, name) else {
            tracing::warn!(model = %name, "a model of an agent is no model of the fleet");
            continue;
        };
        let is_there = |other: &Target| other.model == target.model;
        if !targets.iter().any(is_there) {
            targets.push(target);
        }
    }
    if targets.is_empty() {
        return Err(unknown());
    }
    Ok(targets)
}

fn named(settings: &Settings, agent: &AgentSettings, asked: &str) -> Option<Arc<str>> {
    let allowed = agent.models.iter();
    if let Some(name) = allowed.clone().find(|name| &***name == asked) {
        return Some(Arc::clone(name));
    }
    let by_id = |name: &&Arc<str>| {
        let model = settings.models.get(*name);
        model.is_some_and(|model| &*model.id == asked)
    };
    if let Some(name) = allowed.clone().find(by_id) {
        return Some(Arc::clone(name));
    }
    let primary = agent.models.first().filter(|_name| asked == "default");
    primary.map(Arc::clone)
}

fn target(settings: &Settings, name: &str) -> Option<Target> {
    let model = settings.models.get(name)?;
    let (provider_name, provider) = settings.providers.get_key_value(&model.provider)?;
    Some(Target {
        provider_name: Arc::clone(provider_name),
        provider: Arc::clone(provider),
        model: Arc::clone(model),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::serve::{OnHangUp, Price, ProviderKind};
    use crate::llm::wire::ChatLimit;

    fn settings() -> Settings {
        let provider = Provider {
            kind: ProviderKind::OpenAi,
            base_url: "http://127.0.0.1:1".parse().expect("a URL"),
            key: None,
            rate_limit: None,
            on_hang_up: OnHangUp::Cancel,
            chat_limit: ChatLimit::MaxTokens,
        };
        let model = |id: &str| {
            Arc::new(Model {
                provider: "hub".into(),
                id: id.into(),
                price: Price::Free,
                max_output: None,
                context: None,
                image_tokens: None,
            })
        };
        Settings {
            providers: [("hub".into(), Arc::new(provider))].into(),
            models: [
                ("big".into(), model("big-2026")),
                ("small".into(), model("small-2026")),
                ("twin".into(), model("small-2026")),
                ("other".into(), model("other-2026")),
            ]
            .into(),
            ..Settings::default()
        }
    }

    fn ids(asked: &str) -> Result<Vec<String>, String> {
        let agent = AgentSettings {
            models: vec!["big".into(), "small".into(), "gone".into()],
            fallback: vec!["small".into(), "twin".into()],
            ..AgentSettings::default()
        };
        let targets = chain(&settings(), &agent, asked).map_err(|denial| denial.to_string())?;
        let id = |target: Target| target.model.id.to_string();
        Ok(targets.into_iter().map(id).collect())
    }

    #[test]
    fn a_model_is_found_by_its_alias_its_id_and_as_the_default() {
        let both = ["big-2026".to_owned(), "small-2026".to_owned()];
        for asked in ["big", "big-2026", "default"] {
            assert_eq!(ids(asked).expect("targets"), both, "{asked}");
        }
    }

    #[test]
    fn no_target_is_tried_twice() {
        assert_eq!(ids("small").expect("targets"), ["small-2026"]);
    }

    #[test]
    fn what_an_agent_may_not_call_is_not_found() {
        for asked in ["other", "other-2026", ""] {
            let told = ids(asked).expect_err("a refusal");
            let known = "is not among those of this agent: big, small, gone";
            assert_eq!(told, format!("model {asked} {known}"));
        }
        assert_eq!(ids("gone").expect("the fallbacks"), ["small-2026"]);
    }
}
