/** From the turns of a live session to the lines of a transcript. */

import { type Line, spreadWords } from "./words.ts";

/** A turn of speech, as far as lines are made of it. */
export interface SpokenTurn {
  readonly text: string;
  readonly done: boolean;
  readonly startMs?: number;
  readonly endMs?: number;
}

/** What is final, a line for each turn; its words share its time. */
export function linesOfTurns(turns: readonly SpokenTurn[]): Line[] {
  const lines: Line[] = [];
  for (const { text, done, startMs = 0, endMs = startMs } of turns) {
    if (!done || text.trim() === "") continue;
    const space = lines.length > 0 ? " " : "";
    lines.push({ id: lines.length, words: spreadWords(space + text.trim(), startMs / 1000, Math.max(startMs, endMs) / 1000) });
  }
  return lines;
}
