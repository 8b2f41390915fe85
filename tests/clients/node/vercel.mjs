// The Vercel AI SDK, with the options it is used with: one line of JSON with a result for each, or the error.
import { createOpenAI } from "@ai-sdk/openai";
import { experimental_transcribe as transcribe } from "ai";
import { readFile } from "node:fs/promises";

const [url, file] = process.argv.slice(2);
const openai = createOpenAI({ baseURL: `${url}/v1`, apiKey: "none" });
const audio = await readFile(file);
const asked = [
  ["whisper-1", {}],
  ["whisper-1", { language: "en" }],
  ["whisper-1", { timestampGranularities: ["word"] }],
  ["gpt-4o-transcribe", {}],
  ["gpt-4o-transcribe", { language: "en" }],
  ["gpt-4o-mini-transcribe", { prompt: "Nancy" }],
  ["granite-speech-tiny", { timestampGranularities: ["word"] }],
];
const results = [];
for (const [model, options] of asked) {
  try {
    const answer = await transcribe({
      model: openai.transcription(model),
      audio,
      maxRetries: 0,
      providerOptions: { openai: options },
    });
    results.push({ model, options, text: answer.text, segments: answer.segments.length });
  } catch (error) {
    results.push({ model, options, error: String(error) });
  }
}
console.log(JSON.stringify(results));
