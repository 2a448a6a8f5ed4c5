"""LangChain's models of both providers, by their environment alone."""

import json

from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI

texts = []
for model in (ChatOpenAI(model="gpt"), ChatAnthropic(model_name="claude", max_tokens=100)):
    texts.append(model.invoke("Say something.").text)
    texts.append("".join(chunk.text for chunk in model.stream("Say something.")))
print(json.dumps({"texts": texts}))
