//! The list of models that an agent may call.

use serde_json::{Value, json};

use super::settings::{AgentSettings, Settings};
use crate::llm::wire::Side;

/// The list in the form of a side.
pub(super) fn list(settings: &Settings, agent: &AgentSettings, side: Side) -> Value {
    let models = agent.models.iter().filter_map(|name| {
        let model = settings.models.get(name)?;
        Some(match side {
            Side::OpenAi => json!({
                "id": name,
                "object": "model",
                "created": 0,
                "owned_by": model.provider,
            }),
            Side::Anthropic => json!({
                "type": "model",
                "id": name,
                "display_name": name,
                "created_at": "1970-01-01T00:00:00Z",
            }),
        })
    });
    let models: Vec<Value> = models.collect();
    match side {
        Side::OpenAi => json!({"object": "list", "data": models}),
        Side::Anthropic => json!({
            "first_id": models.first().map(|model| &model["id"]),
            "last_id": models.last().map(|model| &model["id"]),
            "has_more": false,
            "data": models,
        }),
    }
}
