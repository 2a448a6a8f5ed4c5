"""LiteLLM used as a library, by its environment alone."""

import json

import litellm

texts = []
messages = [{"role": "user", "content": "Say something."}]
for model in ("openai/gpt", "anthropic/claude"):
    whole = litellm.completion(model=model, messages=messages, max_tokens=100)
    texts.append(whole.choices[0].message.content)
    stream = litellm.completion(model=model, messages=messages, max_tokens=100, stream=True)
    texts.append("".join(chunk.choices[0].delta.content or "" for chunk in stream))
print(json.dumps({"texts": texts}))
