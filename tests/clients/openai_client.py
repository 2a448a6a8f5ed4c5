"""The official client of OpenAI, by its environment alone."""

import json

from openai import OpenAI

client = OpenAI()
messages = [{"role": "user", "content": "Say something."}]
whole = client.chat.completions.create(model="gpt", messages=messages)
stream = client.chat.completions.create(model="gpt", messages=messages, stream=True)
streamed = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
response = client.responses.create(model="gpt", input="Say something.")
vectors = client.embeddings.create(model="vectors", input="one")
print(
    json.dumps(
        {
            "texts": [whole.choices[0].message.content, streamed, response.output_text],
            "cost": whole.usage.cost_usd,
            "vectors": len(vectors.data),
            "models": [model.id for model in client.models.list()],
        }
    )
)
