import { describe, expect, it } from "vitest";
import { type Turn, withEvent } from "../src/wire/realtime.ts";

const event = (type: string, item_id: string, more: object = {}) => ({ type, item_id, ...more });
const T = "conversation.item.input_audio_transcription.";
const after = (...events: Parameters<typeof withEvent>[1][]): readonly Turn[] =>
  events.reduce<readonly Turn[]>((turns, one) => withEvent(turns, one), []);

describe("turns", () => {
  it("grow by deltas and end with the whole", () => {
    const turns = after(
      event("input_audio_buffer.speech_started", "a", { audio_start_ms: 200 }),
      event(`${T}delta`, "a", { delta: "so" }),
      event(`${T}delta`, "a", { delta: " it" }),
      event("input_audio_buffer.speech_stopped", "a", { audio_end_ms: 900 }),
    );
    expect(turns).toEqual([{ id: "a", text: "so it", done: false, startMs: 200, endMs: 900 }]);
    expect(withEvent(turns, event(`${T}completed`, "a", { transcript: "so it is" }))[0]).toMatchObject({ text: "so it is", done: true });
  });

  it("stay in the order they began in, whichever ends first", () => {
    const turns = after(
      event("input_audio_buffer.committed", "a"),
      event(`${T}delta`, "b", { delta: "two" }),
      event(`${T}completed`, "b", { transcript: "two" }),
      event(`${T}completed`, "a", { transcript: "one" }),
    );
    expect(turns.map((turn) => turn.text)).toEqual(["one", "two"]);
  });

  it("that failed say why, and take no more words", () => {
    const [turn] = after(event(`${T}failed`, "a", { error: { message: "No." } }), event(`${T}delta`, "a", { delta: "late" }));
    expect(turn).toEqual({ id: "a", text: "", done: true, failure: "No." });
  });

  it("are not changed by what is not about them", () => {
    const turns = after(event(`${T}delta`, "a", { delta: "so" }));
    expect(withEvent(turns, { type: "session.updated" })).toBe(turns);
    expect(withEvent(turns, event("conversation.item.added", "a"))).toBe(turns);
  });
});
