import { beforeEach, describe, expect, it, vi } from "vitest";
import { forget, note, withNoted } from "../src/store/journal.ts";
import type { Line } from "../src/text/words.ts";

const line = (id: number, text: string): Line => ({ id, words: [{ text, start: 0, end: 1 }] }) as unknown as Line;
const LINES = [line(0, "one"), line(1, "two"), line(2, "three")];

describe("corrections on their way", () => {
  let kept: Map<string, string>;

  beforeEach(() => {
    kept = new Map();
    vi.stubGlobal("localStorage", {
      getItem: (name: string) => kept.get(name) ?? null,
      setItem: (name: string, value: string) => kept.set(name, value),
      removeItem: (name: string) => kept.delete(name),
    });
  });

  it("stand beside the lines that were written down", () => {
    note("a", line(1, "zwei"));
    note("a", line(2, "drei"));
    note("a", line(1, "deux"));
    expect(withNoted("a", LINES)).toEqual([line(0, "one"), line(1, "deux"), line(2, "drei")]);
    expect(withNoted("b", LINES)).toBe(LINES);
  });

  it("are forgotten once the database has them", () => {
    note("a", line(1, "zwei"));
    forget("a");
    expect(withNoted("a", LINES)).toBe(LINES);
    expect(kept.size).toBe(0);
  });

  it("of a longer transcript are no lines of a shorter one", () => {
    note("a", line(7, "acht"));
    expect(withNoted("a", LINES)).toBe(LINES);
  });

  it("cost nothing where a browser keeps nothing for pages", () => {
    vi.stubGlobal("localStorage", undefined);
    note("a", line(1, "zwei"));
    forget("a");
    expect(withNoted("a", LINES)).toBe(LINES);
  });
});
