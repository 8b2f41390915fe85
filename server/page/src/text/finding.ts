/** Where in a transcript something is. */

import type { Line, Word } from "./words.ts";

/** A word, by the places of its line and of itself in that. */
export interface Place {
  readonly line: number;
  readonly word: number;
}

/** Below the first a word is shaded, below the second more so. */
export const UNSURE = 0.5;
export const VERY_UNSURE = 0.2;

export const isUnsure = (word: Word): boolean => word.probability !== undefined && word.probability < UNSURE;

/** The word that is heard at a time, or was heard last; none before the first. Lines in order of time. */
export function wordAt(lines: readonly Line[], seconds: number): Place | undefined {
  let line = lastAtOrBefore(lines.length, (place) => startOf(lines, place) <= seconds);
  while (line >= 0 && lines[line]?.words.length === 0) line -= 1;
  const words = lines[line]?.words ?? [];
  const word = lastAtOrBefore(words.length, (place) => (words[place]?.start ?? 0) <= seconds);
  return word < 0 ? undefined : { line, word };
}

/** When a line begins; one without words begins with the next that has any. */
function startOf(lines: readonly Line[], place: number): number {
  for (let at = place; at < lines.length; at += 1) {
    const first = lines[at]?.words[0];
    if (first) return first.start;
  }
  return Number.POSITIVE_INFINITY;
}

/** The last of `count` places that passes; those that pass come first. -1 if none does. */
function lastAtOrBefore(count: number, passes: (place: number) => boolean): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (passes(middle)) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** The next word that passes, behind `from`, and around from the start; none if there is none. */
export function nextWord(
  lines: readonly Line[],
  from: Place | undefined,
  passes: (word: Word) => boolean,
): Place | undefined {
  const all = lines.flatMap((line, at) => line.words.flatMap((word, place) => (passes(word) ? [{ line: at, word: place }] : [])));
  const behind = (place: Place): boolean =>
    !from || place.line > from.line || (place.line === from.line && place.word > from.word);
  return all.find(behind) ?? all[0];
}

/** The word `words` further on, in this line or the ones beside it; the same where there is none. */
export function neighbour(lines: readonly Line[], from: Place, words: 1 | -1): Place {
  const inLine = { line: from.line, word: from.word + words };
  if (lines[from.line]?.words[inLine.word]) return inLine;
  const line = neighbourLine(lines, from.line, words);
  if (line === undefined) return from;
  return { line, word: words > 0 ? 0 : (lines[line]?.words.length ?? 1) - 1 };
}

/** The next line that has words, that way. */
export function neighbourLine(lines: readonly Line[], from: number, way: 1 | -1): number | undefined {
  for (let line = from + way; line >= 0 && line < lines.length; line += way) {
    if (lines[line]?.words.length) return line;
  }
  return undefined;
}
