import { describe, expect, it } from "vitest";
import { isUnsure, neighbour, neighbourLine, nextWord, wordAt } from "../src/text/finding.ts";
import type { Line } from "../src/text/words.ts";

const word = (start: number, probability?: number) => ({ text: " w", start, end: start + 1, ...(probability ? { probability } : {}) });
const lines: Line[] = [
  { id: 0, words: [word(1), word(2, 0.3)] },
  { id: 1, words: [] },
  { id: 2, words: [word(5), word(6), word(7, 0.1)] },
  { id: 3, words: [] },
];

describe("the word that is heard", () => {
  it.each([
    [0.5, undefined],
    [1, { line: 0, word: 0 }],
    [2.5, { line: 0, word: 1 }],
    [4, { line: 0, word: 1 }],
    [5, { line: 2, word: 0 }],
    [99, { line: 2, word: 2 }],
  ])("at %d s", (seconds, place) => {
    expect(wordAt(lines, seconds)).toEqual(place);
  });

  it("of nothing is none", () => {
    expect(wordAt([], 1)).toBeUndefined();
    expect(wordAt([{ id: 0, words: [] }], 1)).toBeUndefined();
  });
});

it("the next unsure word comes behind, and around again", () => {
  expect(nextWord(lines, undefined, isUnsure)).toEqual({ line: 0, word: 1 });
  expect(nextWord(lines, { line: 0, word: 1 }, isUnsure)).toEqual({ line: 2, word: 2 });
  expect(nextWord(lines, { line: 2, word: 2 }, isUnsure)).toEqual({ line: 0, word: 1 });
  expect(nextWord(lines, undefined, () => false)).toBeUndefined();
});

it("arrows pass over lines without words, and stay at the ends", () => {
  expect(neighbour(lines, { line: 0, word: 1 }, 1)).toEqual({ line: 2, word: 0 });
  expect(neighbour(lines, { line: 2, word: 0 }, -1)).toEqual({ line: 0, word: 1 });
  expect(neighbour(lines, { line: 0, word: 0 }, -1)).toEqual({ line: 0, word: 0 });
  expect(neighbour(lines, { line: 2, word: 2 }, 1)).toEqual({ line: 2, word: 2 });
  expect(neighbourLine(lines, 2, 1)).toBeUndefined();
});
