import { describe, expect, it } from "vitest";
import { fileName, plainText, type Transcript, written } from "../src/text/documents.ts";
import { placeOf } from "../src/text/speakers.ts";
import { clock, milliseconds, shortClock, spokenLength } from "../src/text/times.ts";
import { linesOfTurns } from "../src/text/turns.ts";
import { byteCount, parameterCount } from "../src/views/sizes.ts";

const transcript: Transcript = {
  task: "transcribe",
  language: "de",
  seconds: 4.25,
  speakers: {},
  lines: [
    { id: 0, words: [{ text: "guten", start: 0, end: 0.5, probability: 0.9 }, { text: " Tag", start: 0.5, end: 1 }] },
    { id: 1, words: [] },
    { id: 2, words: [{ text: " <b>ja</b>", start: 2, end: 3 }] },
  ],
};
const talk: Transcript = { ...transcript, speakers: { A: "Ada" }, lines: transcript.lines.map((line, place) => ({ ...line, speaker: place < 2 ? "A" : "B" })) };

describe("what is taken away", () => {
  it("text is the transcript and a newline", () => {
    expect(written(transcript, "txt")).toBe("guten Tag <b>ja</b>\n");
  });

  it("text of a talk has a paragraph for each turn", () => {
    expect(plainText(talk)).toBe("Ada: guten Tag\n\nSpeaker B: <b>ja</b>");
  });

  it("data is a verbose document with the words as they are now", () => {
    expect(JSON.parse(written(talk, "json"))).toEqual({
      task: "transcribe",
      language: "german",
      duration: 4.25,
      text: "guten Tag <b>ja</b>",
      segments: [
        { id: 0, start: 0, end: 1, text: "guten Tag", speaker: "Ada" },
        { id: 1, start: 2, end: 3, text: "<b>ja</b>", speaker: "Speaker B" },
      ],
      words: [
        { word: "guten", start: 0, end: 0.5, probability: 0.9 },
        { word: "Tag", start: 0.5, end: 1 },
        { word: "<b>ja</b>", start: 2, end: 3 },
      ],
    });
  });

  it("a file is named after its recording", () => {
    expect(fileName("a talk.v2.mp3", "srt")).toBe("a talk.v2.srt");
    expect(fileName("talk", "vtt")).toBe("talk.vtt");
    expect(fileName(".mp3", "txt")).toBe("transcript.txt");
  });
});

describe("times", () => {
  it("are rounded before they are split, halves to the even neighbour", () => {
    expect(clock(milliseconds(1.9996), ",")).toBe("00:00:02,000");
    expect(clock(milliseconds(3725.5), ".")).toBe("01:02:05.500");
    expect(clock(360_000_000, ".")).toBe("100:00:00.000");
    expect([0.0005, 0.0015, 0.0025].map(milliseconds)).toEqual([0, 2, 2]);
  });

  it("are short for a player and long for a person", () => {
    expect([0, 65.9, 3725].map(shortClock)).toEqual(["0:00", "1:05", "1:02:05"]);
    expect([5.4, 125, 7320].map(spokenLength)).toEqual(["5 s", "2 min 5 s", "2 h 2 min"]);
  });
});

it("speakers have places among the colours", () => {
  expect(["A", "B", "Z", "AA", "AB"].map(placeOf)).toEqual([0, 1, 25, 26, 27]);
});

it("turns that are final become lines", () => {
  const lines = linesOfTurns([
    { text: "one two", done: true, startMs: 1000, endMs: 2000 },
    { text: " ", done: true },
    { text: "thr", done: false, startMs: 3000 },
    { text: "four", done: true, startMs: 4000, endMs: 5000 },
  ]);
  expect(lines.map((line) => [line.id, line.words.map((word) => word.text).join("")])).toEqual([[0, "one two"], [1, " four"]]);
  expect([lines[0]?.words[0]?.start, lines[1]?.words.at(-1)?.end]).toEqual([1, 5]);
});

it("sizes are said as a person says them", () => {
  expect([5_570_000, 3_009_000_000, 473_000_000].map(parameterCount)).toEqual(["5.6 million", "3 billion", "473 million"]);
  expect([6_018_000_000, 462_000_000, 900].map(byteCount)).toEqual(["6.0 GB", "462 MB", "1 kB"]);
});
