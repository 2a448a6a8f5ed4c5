"""Asks the model for two lines about the hour. Any library that reads OPENAI_BASE_URL would do."""

import datetime
import json
import os
import sys
import urllib.error
import urllib.request

question = f"Two lines of verse about {datetime.datetime.now():%H:%M} o'clock."
request = urllib.request.Request(
    os.environ["OPENAI_BASE_URL"] + "/chat/completions",
    data=json.dumps(
        {"model": "default", "messages": [{"role": "user", "content": question}], "max_tokens": 100}
    ).encode(),
    headers={
        "Authorization": "Bearer " + os.environ["OPENAI_API_KEY"],
        "Content-Type": "application/json",
    },
)
try:
    with urllib.request.urlopen(request, timeout=60) as response:
        answer = json.load(response)
        cost = response.headers["x-openclaw-cost-usd"]
except urllib.error.HTTPError as refusal:
    told = json.load(refusal)
    if refusal.code == 402:
        # The budget of today is spent. That is no failure: tomorrow there is another one.
        print("nothing today:", told["error"]["message"])
        sys.exit(0)
    sys.exit(f"{refusal.code}: {told['error']['message']}")

print(answer["choices"][0]["message"]["content"])
print(f"cost {cost} USD")
