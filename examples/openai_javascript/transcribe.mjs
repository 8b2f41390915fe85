// OpenAI's JavaScript SDK, changed only in `baseURL`. Each answer is checked against the SDK's own types.
//
// npm ci && node transcribe.mjs [base_url] [audio_file]

import assert from "node:assert/strict";
import { createReadStream } from "node:fs";
import { fileURLToPath } from "node:url";

import OpenAI from "openai";

const baseUrl = process.argv[2] ?? process.env.LITHOPHONE_URL ?? "http://127.0.0.1:8000";
const audio = process.argv[3] ?? fileURLToPath(new URL("../speech/demo.flac", import.meta.url));

// A server without keys takes any; the SDK insists on one.
const client = new OpenAI({ baseURL: `${baseUrl}/v1`, apiKey: process.env.LITHOPHONE_API_KEY ?? "none" });

const transcribe = (options = {}) =>
  client.audio.transcriptions.create({ file: createReadStream(audio), model: "whisper-1", ...options });

/** Assert that `value` has every field of `types`, each of the `typeof` it names. */
function check(value, types) {
  for (const [field, type] of Object.entries(types)) {
    assert.equal(typeof value[field], type, `${field} of ${JSON.stringify(value)} is no ${type}`);
  }
}

// The fields of TranscriptionSegment and of Transcription.Tokens; `tokens` is an array.
const SEGMENT = {
  id: "number",
  seek: "number",
  start: "number",
  end: "number",
  text: "string",
  temperature: "number",
  avg_logprob: "number",
  compression_ratio: "number",
  no_speech_prob: "number",
};
const TOKENS = { type: "string", input_tokens: "number", output_tokens: "number", total_tokens: "number" };

for await (const model of client.models.list()) {
  check(model, { id: "string", created: "number", object: "string", owned_by: "string" });
  console.log("model:", model.id);
}

const json = await transcribe();
check(json, { text: "string" });
check(json.usage, TOKENS);
console.log("json:", json.text);

const verbose = await transcribe({ response_format: "verbose_json" });
check(verbose, { duration: "number", language: "string", text: "string" });
check(verbose.usage, { type: "string", seconds: "number" });
assert.ok(verbose.segments.length > 0);
for (const segment of verbose.segments) {
  check(segment, SEGMENT);
  assert.ok(segment.tokens.every(Number.isInteger));
}
console.log(`verbose_json: ${verbose.duration} s of ${verbose.language}, ${verbose.segments.length} segments`);

const text = await transcribe({ response_format: "text" });
assert.equal(text, `${json.text}\n`);
console.log("text:", text.trimEnd());

const srt = await transcribe({ response_format: "srt" });
assert.match(srt, /^1\r?\n\d{2}:\d{2}:\d{2},\d{3} --> \d{2}:\d{2}:\d{2},\d{3}\r?\n/);
console.log(`srt:\n${srt}`);

const vtt = await transcribe({ response_format: "vtt" });
assert.match(vtt, /^WEBVTT\r?\n\r?\n/);
console.log(`vtt:\n${vtt}`);

let streamed = "";
let done;
process.stdout.write("stream: ");
for await (const event of await transcribe({ stream: true })) {
  if (event.type === "transcript.text.delta") {
    streamed += event.delta;
    process.stdout.write(event.delta);
  } else if (event.type === "transcript.text.done") {
    done = event;
  }
}
check(done, { text: "string" });
check(done.usage, TOKENS);
assert.equal(done.text, streamed);
assert.equal(done.text, json.text);
console.log("\ndone:", done.text);

await assert.rejects(transcribe({ model: "no-such-model" }), (error) => {
  assert.ok(error instanceof OpenAI.NotFoundError);
  check(error, { message: "string", type: "string", requestID: "string" });
  assert.deepEqual([error.status, error.code, error.param], [404, "model_not_found", "model"]);
  console.log("error:", error.message);
  return true;
});
