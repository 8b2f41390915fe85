import { describe, expect, it } from "vitest";
import { Listener, wordsOf } from "../src/text/hearing.ts";
import { textOf } from "../src/text/words.ts";
import { EventReader } from "../src/wire/sse.ts";

const at = (word: string, start: number, probability?: number) => ({
  word,
  start,
  end: start + 1,
  ...(probability === undefined ? {} : { probability }),
});

describe("words of a delta", () => {
  it.each([" so  it\tis", "so it is", "so it is\n", "so-it–is"])("joined are the delta: %j", (delta) => {
    expect(textOf(wordsOf(delta, [at("so", 0), at("it", 1), at("is", 2)]))).toBe(delta);
  });

  it("of a script without spaces", () => {
    expect(wordsOf("日本、語", [at("日", 0), at("本、", 1), at("語", 2)]).map((word) => word.text)).toEqual(["日", "本、", "語"]);
  });

  it("that are not in it come all the same", () => {
    expect(textOf(wordsOf("one three", [at("one", 0), at("two", 1), at("three", 2)]))).toBe("one two three");
  });

  it("keep a probability, rounded", () => {
    expect(wordsOf("a", [at("a", 0, 0.123456)])[0]?.probability).toBe(0.123);
    expect(wordsOf("a", [at("a", 0)])[0]).not.toHaveProperty("probability");
  });
});

describe("a listener", () => {
  it("makes a line of each delta, and learns who spoke", () => {
    const listener = new Listener(true);
    listener.delta({ delta: "hi", segment_id: "seg_0", words: [at("hi", 0, 0.9)] });
    listener.segment({ id: "seg_0", speaker: "A" });
    listener.segment({ id: "seg_9", speaker: "B" });
    listener.delta({ delta: " you there", words: [] });
    expect(listener.lines.map((line) => [line.id, line.speaker, textOf(line.words)])).toEqual([
      [0, "A", "hi"],
      [1, undefined, " you there"],
    ]);
    expect(listener.seconds).toBe(1);
  });

  it("does not take the probabilities of a translation for its own", () => {
    const listener = new Listener(false);
    listener.delta({ delta: "hi", words: [at("hi", 0, 0)] });
    expect(listener.lines[0]?.words[0]).toEqual({ text: "hi", start: 0, end: 1 });
  });
});

describe("server-sent events", () => {
  const stream = 'data: {"a":1}\n\nevent: error\ndata: {"b":\ndata: 2}\n\ndata: [DONE]\n\n';
  const events = [
    { name: "message", data: '{"a":1}' },
    { name: "error", data: '{"b":\n2}' },
    { name: "message", data: "[DONE]" },
  ];

  it("are read whole", () => {
    expect(new EventReader().push(stream)).toEqual(events);
  });

  it("are read in whatever pieces they come", () => {
    for (const size of [1, 2, 5, 17]) {
      const reader = new EventReader();
      const pieces = stream.match(new RegExp(`[^]{1,${size}}`, "gu")) ?? [];
      expect(pieces.flatMap((piece) => reader.push(piece))).toEqual(events);
    }
  });
});
