import { describe, expect, it } from "vitest";
import { replaceWord, rewriteLine } from "../src/text/editing.ts";
import { type Line, textOf } from "../src/text/words.ts";

const line = (text: string): Line => ({
  id: 3,
  words: text.split(/(?=\s)/u).map((word, place) => ({ text: word, start: place, end: place + 0.8, probability: 0.4 })),
});
const shown = (one: Line): [string, number, number][] => one.words.map(({ text, start, end }) => [text, start, end]);

describe("a word is replaced", () => {
  it("by one that has its time, and nobody's doubt", () => {
    const after = replaceWord(line(" the cheep chair"), 1, "cheap");
    expect(after.words[1]).toEqual({ text: " cheap", start: 1, end: 1.8 });
    expect(textOf(after.words)).toBe(" the cheap chair");
  });

  it("by several that share its time by their lengths", () => {
    const after = replaceWord(line("a bb c"), 1, " xx  yyyy ");
    expect(shown(after)).toEqual([["a", 0, 0.8], [" xx", 1, 1.3], [" yyyy", 1.3, 1.8], [" c", 2, 2.8]]);
  });

  it("by nothing: the line goes on without it, and begins as it began", () => {
    expect(textOf(replaceWord(line(" a b c"), 0, " ").words)).toBe(" b c");
    expect(textOf(replaceWord(line("a b c"), 0, "").words)).toBe("b c");
    expect(replaceWord(line("a"), 0, "").words).toEqual([]);
  });

  it("and stays the very line where nothing changes", () => {
    const before = line("a b");
    expect(replaceWord(before, 1, " b ")).toBe(before);
    expect(replaceWord(before, 9, "x")).toBe(before);
  });
});

describe("a line is rewritten", () => {
  it("and words that stay keep their times and doubts", () => {
    const before = line(" so the cheep chair is here");
    const after = rewriteLine(before, "the cheap old chair is here");
    expect(textOf(after.words)).toBe(" the cheap old chair is here");
    expect(after.words[0]).toEqual({ text: " the", start: 1, end: 1.8, probability: 0.4 });
    expect(after.words.slice(3)).toEqual(before.words.slice(3));
    const [, cheap, old] = after.words;
    expect([cheap?.start, old?.end]).toEqual([2, 2.8]);
    expect(cheap?.end).toBe(old?.start);
  });

  it("with words put between others, into the gap there", () => {
    const after = rewriteLine(line("a c"), "a b c");
    expect(shown(after)[1]).toEqual([" b", 0.8, 1]);
  });

  it("with words behind the last and before the first, which get no time of others", () => {
    const after = rewriteLine(line("b c"), "a b c d");
    expect(shown(after)[0]).toEqual(["a", 0, 0]);
    expect(shown(after)[3]).toEqual([" d", 1.8, 1.8]);
  });

  it("to nothing", () => {
    expect(rewriteLine(line("a b"), "  ").words).toEqual([]);
  });

  it("and times never run backwards, whatever is written", () => {
    const words = ["a", "b", "c", "d", "e"];
    let seed = 7;
    const random = (below: number): number => (seed = (seed * 1103515245 + 12345) % 2 ** 31) % below;
    for (let round = 0; round < 300; round += 1) {
      const before = line(Array.from({ length: 1 + random(9) }, () => words[random(5)]).join(" "));
      const text = Array.from({ length: random(9) }, () => words[random(5)]).join(" ");
      const after = rewriteLine(before, text);
      expect(textOf(after.words).trim()).toBe(text);
      const times = after.words.flatMap(({ start, end }) => [start, end]);
      expect(times).toEqual(times.toSorted((one, other) => one - other));
    }
  });
});
