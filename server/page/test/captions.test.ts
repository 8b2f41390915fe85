import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { subRip, webVtt } from "../src/text/subtitles.ts";
import { type Line, spreadWords, textOf, type Word } from "../src/text/words.ts";

type Triple = [string, number, number];
const golden = JSON.parse(readFileSync(new URL("../../../tests/golden/captions.json", import.meta.url), "utf8")) as {
  captions: { lines: Triple[][]; srt: string; vtt: string }[];
  spread: Triple[][];
};
const word = ([text, start, end]: Triple): Word => ({ text, start, end });
const lines = (all: Triple[][]): Line[] => all.map((words, id) => ({ id, words: words.map(word) }));

describe("captions are those that the server writes", () => {
  it.each(golden.captions.map((one, place) => [place, one] as const))("case %i", (_, one) => {
    expect(subRip(lines(one.lines))).toBe(one.srt);
    expect(webVtt(lines(one.lines))).toBe(one.vtt);
  });

  it("words are split and shared out as the server does", () => {
    for (const words of golden.spread) {
      expect(spreadWords(textOf(words.map(word)), 0.5, 7.25)).toEqual(words.map(word));
    }
  });
});

describe("speakers in captions", () => {
  const said: Line[] = [
    { id: 0, speaker: "A", words: [{ text: "hello", start: 0, end: 1 }] },
    { id: 1, speaker: "A", words: [{ text: " there", start: 2, end: 3 }] },
    { id: 2, speaker: "B", words: [{ text: " hi", start: 4, end: 5 }] },
  ];

  it("SubRip names whoever begins to speak", () => {
    const texts = subRip(said, { A: "Ada" }).split("\n\n").map((block) => block.split("\n")[2]);
    expect(texts).toEqual(["Ada: hello", "there", "Speaker B: hi"]);
  });

  it("WebVTT has voice spans, and no name breaks out of one", () => {
    expect(webVtt(said, { A: "<b>&\nAda" })).toContain("<v &lt;b&gt;&amp; Ada>hello\n");
  });
});
