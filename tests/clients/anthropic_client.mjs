// The official client of Anthropic for Node, by its environment alone.

import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic();
const asked = {
  model: "claude",
  max_tokens: 100,
  messages: [{ role: "user", content: "Say something." }],
};
const whole = await client.messages.create(asked);
const streamed = await client.messages.stream(asked).finalText();
console.log(JSON.stringify({ texts: [whole.content[0].text, streamed] }));
