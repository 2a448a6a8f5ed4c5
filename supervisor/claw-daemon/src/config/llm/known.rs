//! Providers whose address, interface and habits are known, and the names of models that are no
//! provider's ids.

use claw_gateway::llm::prices::PriceTable;
use claw_gateway::llm::serve::{OnHangUp, ProviderKind};
use claw_gateway::llm::wire::ChatLimit;

/// A provider that is known by its name.
#[derive(Debug)]
pub(super) struct Known {
    /// Its name, also in the table of prices.
    pub(super) name: &'static str,
    pub(super) kind: ProviderKind,
    pub(super) base_url: &'static str,
    pub(super) on_hang_up: OnHangUp,
    pub(super) chat_limit: ChatLimit,
}

/// The addresses are those of the providers' own pages on their interfaces. Who stops to charge for
/// a stream that is closed is told by <https://openrouter.ai/docs/api-reference/streaming>; of
/// others it is not assumed. The older name of an answer's limit is the one that all understand but
/// OpenAI's newer models.
static KNOWN: [Known; 11] = [
    Known {
        name: "openai",
        kind: ProviderKind::OpenAi,
        base_url: "https://api.openai.com/v1",
        on_hang_up: OnHangUp::Cancel,
        chat_limit: ChatLimit::MaxCompletionTokens,
    },
    Known {
        name: "anthropic",
        kind: ProviderKind::Anthropic,
        base_url: "https://api.anthropic.com/v1",
        on_hang_up: OnHangUp::Cancel,
        chat_limit: ChatLimit::MaxTokens,
    },
    Known {
        name: "ollama",
        kind: ProviderKind::Ollama,
        base_url: "http://127.0.0.1:11434/v1",
        on_hang_up: OnHangUp::Cancel,
        chat_limit: ChatLimit::MaxTokens,
    },
    compatible(
        "cohere",
        "https://api.cohere.ai/compatibility/v1",
        OnHangUp::Drain,
    ),
    compatible("deepseek", "https://api.deepseek.com/v1", OnHangUp::Cancel),
    compatible(
        "fireworks",
        "https://api.fireworks.ai/inference/v1",
        OnHangUp::Cancel,
    ),
    compatible(
        "google",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        OnHangUp::Drain,
    ),
    compatible("groq", "https://api.groq.com/openai/v1", OnHangUp::Drain),
    compatible("mistral", "https://api.mistral.ai/v1", OnHangUp::Drain),
    compatible("together", "https://api.together.xyz/v1", OnHangUp::Cancel),
    compatible("xai", "https://api.x.ai/v1", OnHangUp::Cancel),
];

/// A provider with OpenAI's interface.
const fn compatible(name: &'static str, base_url: &'static str, on_hang_up: OnHangUp) -> Known {
    Known {
        name,
        kind: ProviderKind::OpenAi,
        base_url,
        on_hang_up,
        chat_limit: ChatLimit::MaxTokens,
    }
}

impl Known {
    /// Whether it is asked with a key.
    pub(super) fn wants_key(&self) -> bool {
        self.kind != ProviderKind::Ollama
    }
}

/// The names of all of them.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|known| known.name)
}

/// The provider of a name.
pub(super) fn of_name(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name == name)
}

/// The provider whose interface a kind is named after.
pub(super) fn of_kind(kind: ProviderKind) -> Option<&'static Known> {
    of_name(match kind {
        ProviderKind::OpenAi => "openai",
        ProviderKind::Anthropic => "anthropic",
        ProviderKind::Ollama => "ollama",
    })
}

/// The provider at a public host.
pub(super) fn of_host(host: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| {
        let address = known.base_url.strip_prefix("https://");
        let its = address.and_then(|address| address.split('/').next());
        its.is_some_and(|its| its.eq_ignore_ascii_case(host))
    })
}

/// Ollama's tags of models that are known by other names (<https://ollama.com/library/llama3.1/tags>,
/// <https://ollama.com/library/mistral/tags>).
const OLLAMA_TAGS: [(&str, &str); 4] = [
    ("llama-3.1-8b", "llama3.1:8b"),
    ("llama-3.1-70b", "llama3.1:70b"),
    ("llama-3.1-405b", "llama3.1:405b"),
    ("mistral-7b", "mistral:7b"),
];

/// A provider's id of a model that is named as people name it; any other name is an id.
pub(super) fn id_of(kind: ProviderKind, name: &str, table: &PriceTable) -> String {
    let id = match kind {
        ProviderKind::OpenAi => None,
        ProviderKind::Anthropic => anthropic_id(name, table),
        ProviderKind::Ollama => {
            let tag = OLLAMA_TAGS.iter().find(|(known, _)| *known == name);
            tag.map(|(_, tag)| (*tag).to_owned())
        }
    };
    id.unwrap_or_else(|| name.to_owned())
}

/// Anthropic's ids have dashes for dots, and older ones a date at their end, of which the last one
/// is meant.
fn anthropic_id(name: &str, table: &PriceTable) -> Option<String> {
    let plain = name.replace('.', "-");
    let ids = || {
        let rows = table.entries().filter(|row| row.provider == "anthropic");
        rows.flat_map(|row| row.aliases.iter().chain([&row.model]))
    };
    let same = ids().find(|id| **id == plain);
    let dated = || {
        let dated = ids().filter(|id| {
            let date = id.strip_prefix(plain.as_str());
            let date = date.and_then(|rest| rest.strip_prefix('-'));
            date.is_some_and(|date| date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit()))
        });
        dated.max()
    };
    same.or_else(dated).cloned()
}

#[cfg(test)]
mod tests {
    use claw_gateway::llm::upstream::BaseUrl;

    use super::*;

    #[test]
    fn names_of_people_become_ids_of_providers() {
        let table = PriceTable::shipped();
        let anthropic = |name| id_of(ProviderKind::Anthropic, name, &table);
        assert_eq!(anthropic("claude-3.5-sonnet"), "claude-3-5-sonnet-20241022");
        assert_eq!(anthropic("claude-3-haiku"), "claude-3-haiku-20240307");
        assert_eq!(anthropic("claude-sonnet-4.5"), "claude-sonnet-4-5");
        assert_eq!(anthropic("claude-9"), "claude-9");
        let ollama = |name| id_of(ProviderKind::Ollama, name, &table);
        assert_eq!(ollama("llama-3.1-70b"), "llama3.1:70b");
        assert_eq!(ollama("mistral-7b"), "mistral:7b");
        assert_eq!(ollama("qwen3:8b"), "qwen3:8b");
        let openai = id_of(ProviderKind::OpenAi, "gpt-4o", &table);
        assert_eq!(openai, "gpt-4o");
    }

    #[test]
    fn every_known_provider_has_an_address_and_prices() {
        let table = PriceTable::shipped();
        for known in &KNOWN {
            let url: Result<BaseUrl, _> = known.base_url.parse();
            assert!(url.is_ok(), "{}", known.name);
            let priced = table.entries().any(|row| row.provider == known.name);
            assert!(priced, "{}", known.name);
        }
        let found = of_host("API.openai.com").map(|known| known.name);
        assert_eq!(found, Some("openai"));
        assert!(of_host("127.0.0.1:11434").is_none());
    }
}
