// Vercel's AI SDK with both providers, by their environment alone.

import { anthropic } from "@ai-sdk/anthropic";
import { openai } from "@ai-sdk/openai";
import { generateText, streamText } from "ai";

const texts = [];
for (const model of [openai("gpt"), openai.chat("gpt"), anthropic("claude")]) {
  texts.push((await generateText({ model, prompt: "Say something." })).text);
  let streamed = "";
  for await (const piece of streamText({ model, prompt: "Say something." }).textStream) streamed += piece;
  texts.push(streamed);
}
console.log(JSON.stringify({ texts }));
