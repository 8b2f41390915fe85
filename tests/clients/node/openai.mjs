// OpenAI's JavaScript SDK: json, verbose_json and a stream; one line of JSON with the texts.
import { createReadStream } from "node:fs";
import OpenAI from "openai";

const [url, file] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
const ask = (options) =>
  client.audio.transcriptions.create({ model: "whisper-1", file: createReadStream(file), ...options });

const json = await ask({});
const verbose = await ask({ response_format: "verbose_json", timestamp_granularities: ["word", "segment"] });
let streamed = "";
for await (const event of await ask({ stream: true })) {
  if (event.type === "transcript.text.delta") streamed += event.delta;
}
console.log(JSON.stringify({ json: json.text, verbose: verbose.text, words: verbose.words.length, streamed }));
