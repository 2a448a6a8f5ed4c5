"""How often the clients ask when there is no money: the reason's class, by client."""

import json

import anthropic
import openai

messages = [{"role": "user", "content": "Say something."}]
told = {}
try:
    openai.OpenAI().chat.completions.create(model="gpt", messages=messages)
except openai.APIStatusError as error:
    told["openai"] = [error.status_code, error.code, error.message]
try:
    anthropic.Anthropic().messages.create(model="claude", max_tokens=9, messages=messages)
except anthropic.APIStatusError as error:
    told["anthropic"] = [error.status_code, error.body["error"]["type"], error.message]
print(json.dumps(told))
