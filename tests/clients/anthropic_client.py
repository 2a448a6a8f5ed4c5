"""The official client of Anthropic, by its environment alone."""

import json

from anthropic import Anthropic

client = Anthropic()
messages = [{"role": "user", "content": "Say something."}]
whole = client.messages.create(model="claude", max_tokens=100, messages=messages)
with client.messages.stream(model="claude", max_tokens=100, messages=messages) as stream:
    streamed = stream.get_final_text()
models = [model.id for model in client.models.list()]
print(json.dumps({"texts": [whole.content[0].text, streamed], "models": models}))
