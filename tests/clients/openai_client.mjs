// The official client of OpenAI for Node, by its environment alone.

import OpenAI from "openai";

const client = new OpenAI();
const messages = [{ role: "user", content: "Say something." }];
const whole = await client.chat.completions.create({ model: "gpt", messages });
let streamed = "";
for await (const chunk of await client.chat.completions.create({ model: "gpt", messages, stream: true })) {
  streamed += chunk.choices[0]?.delta?.content ?? "";
}
const response = await client.responses.create({ model: "gpt", input: "Say something." });
console.log(JSON.stringify({ texts: [whole.choices[0].message.content, streamed, response.output_text] }));
