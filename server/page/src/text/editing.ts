/** A person's corrections. Words that stay keep their times; new ones share the time of those they stand for. */

import { leadingSpace, type Line, oneSpace, splitWords, spreadWords, strip, textOf, type Word } from "./words.ts";

/** The line with another text in place of a word; no text takes the word out. */
export function replaceWord(line: Line, place: number, text: string): Line {
  const old = line.words[place];
  if (!old || oneSpace(text) === strip(old.text)) return line;
  const fresh = spreadWords(spaced(text, old.text), old.start, old.end);
  const words = [...line.words.slice(0, place), ...fresh, ...line.words.slice(place + 1)];
  return { ...line, words: withFirstSpace(words, line.words) };
}

/** The line with another text. */
export function rewriteLine(line: Line, text: string): Line {
  if (oneSpace(text) === oneSpace(textOf(line.words))) return line;
  const first = line.words[0];
  const wanted = splitWords(spaced(text, first?.text ?? " "));
  return { ...line, words: withFirstSpace(timed(wanted, line.words), line.words) };
}

const spaced = (text: string, like: string): string => (strip(text) === "" ? "" : leadingSpace(like) + oneSpace(text));

/** The words, the first with the space that the first of the line had: what parts it from the line before. */
function withFirstSpace(words: Word[], before: readonly Word[]): Word[] {
  const [first, ...rest] = words;
  const space = leadingSpace(before[0]?.text ?? "");
  return first ? [{ ...first, text: space + strip(first.text) }, ...rest] : [];
}

function timed(wanted: readonly string[], old: readonly Word[]): Word[] {
  const words: Word[] = [];
  let fromWanted = 0;
  let fromOld = 0;
  for (const [toWanted, toOld] of [...kept(wanted, old), [wanted.length, old.length] as const]) {
    const gone = old.slice(fromOld, toOld);
    const start = gone[0]?.start ?? words.at(-1)?.end ?? old[toOld]?.start ?? 0;
    const end = gone.at(-1)?.end ?? old[toOld]?.start ?? start;
    words.push(...spreadWords(wanted.slice(fromWanted, toWanted).join(""), start, Math.max(start, end)));
    const same = old[toOld];
    const text = wanted[toWanted];
    if (same && text !== undefined) words.push({ ...same, text });
    [fromWanted, fromOld] = [toWanted + 1, toOld + 1];
  }
  return words;
}

/** Pairs of places whose words are the same, as many as can be, in order: the longest common subsequence. */
function kept(wanted: readonly string[], old: readonly Word[]): (readonly [number, number])[] {
  const a = wanted.map(strip);
  const b = old.map((word) => strip(word.text));
  const lengths = a.map(() => new Uint16Array(b.length + 1));
  const at = (i: number, j: number): number => lengths[i]?.[j] ?? 0;
  for (let i = a.length - 1; i >= 0; i -= 1) {
    const row = lengths[i];
    if (!row) continue;
    for (let j = b.length - 1; j >= 0; j -= 1) {
      row[j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
    }
  }
  const pairs: (readonly [number, number])[] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    if (a[i] === b[j]) pairs.push([i++, j++]);
    else if (at(i + 1, j) >= at(i, j + 1)) i += 1;
    else j += 1;
  }
  return pairs;
}

/** A change of one line, to be undone. */
export interface Change {
  readonly before: Line;
  readonly after: Line;
}

/** What was changed, and what was taken back. */
export interface History {
  readonly done: readonly Change[];
  readonly undone: readonly Change[];
}

export const NO_HISTORY: History = { done: [], undone: [] };

export const remember = (history: History, change: Change): History => ({
  done: [...history.done, change],
  undone: [],
});
