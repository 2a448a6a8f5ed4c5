"""PydanticAI with both providers, by their environment alone."""

import json

from pydantic_ai import Agent

texts = []
for model in ("openai:gpt", "openai-chat:gpt", "anthropic:claude"):
    agent = Agent(model)
    texts.append(agent.run_sync("Say something.").output)
print(json.dumps({"texts": texts}))
