/** What is on screen when: subtitle cues out of timed words, by the rules of `lithophone/formats/cues.py`. */

import { type Part, Passage } from "./passages.ts";
import { milliseconds } from "./times.ts";
import { leadingSpace, strip, type Word } from "./words.ts";

const LINE_CHARACTERS = 42;
const LINES = 2;
const CUE_CHARACTERS = LINES * (LINE_CHARACTERS + 1) - 1;
const LONGEST_SECONDS = 7;
const SHORTEST_MS = 1000;

const SENTENCE_BONUS = 0.6;
const CLAUSE_BONUS = 0.3;
const PAUSE_BONUS_PER_SECOND = 1;
const MOST_PAUSE_SECONDS = 0.6;
const CLAUSE_ENDS = [",", ";", ":", "\u3001", "\uff0c", "\u2014"];
const SENTENCE_END = /[.!?\u2026\u3002\uff01\uff1f]["'\u2019\u201d\u00bb)\u300d\u300f]*$/u;

/** Lines of text on screen from `startMs` up to `endMs`. */
export interface Cue {
  readonly startMs: number;
  readonly endMs: number;
  readonly lines: readonly string[];
}

/** The cues of each line: none overlaps another, none is empty, each keeps the limits. */
export function cuesByLine(lines: readonly (readonly Word[])[]): Cue[][] {
  const all: Cue[] = [];
  const counts = lines.map((words) => {
    const passage = new Passage(words.flatMap(broken));
    const parts = partsOf(passage);
    for (const part of parts) {
      const cue = cueOf(passage, part, all.at(-1)?.endMs ?? 0);
      lengthenLast(all, cue.startMs);
      all.push(cue);
    }
    return parts.length;
  });
  lengthenLast(all, (all.at(-1)?.startMs ?? 0) + SHORTEST_MS);
  let taken = 0;
  return counts.map((count) => all.slice(taken, (taken += count)));
}

function broken(word: Word): Word[] {
  const text = Array.from(strip(word.text));
  if (text.length <= LINE_CHARACTERS) return [word];
  const seconds = (word.end - word.start) / text.length;
  const pieces: Word[] = [];
  for (let at = 0; at < text.length; at += LINE_CHARACTERS) {
    const part = text.slice(at, at + LINE_CHARACTERS);
    const start = word.start + seconds * at;
    const end = word.start + seconds * (at + part.length);
    pieces.push({ text: (at === 0 ? leadingSpace(word.text) : "") + part.join(""), start, end });
  }
  return pieces;
}

/** The words of each cue: halves of halves, until all fit. Those that are white space alone have none. */
function partsOf(passage: Passage): Part[] {
  const bonuses = passage.words.map((word, place) => bonus(passage.words[place - 1], word));
  const waiting: Part[] = passage.words.length > 0 ? [{ start: 0, stop: passage.words.length }] : [];
  const done: Part[] = [];
  for (let part = waiting.pop(); part; part = waiting.pop()) {
    if (part.stop - part.start > 1 && !fits(passage, part)) {
      const cut = cutOf(passage, part, bonuses);
      waiting.push({ start: cut, stop: part.stop }, { start: part.start, stop: cut });
    } else if (passage.characters(part.start, part.stop) > 0) {
      done.push(part);
    }
  }
  return done;
}

function fits(passage: Passage, part: Part): boolean {
  if (passage.seconds(part) > LONGEST_SECONDS) return false;
  if (passage.characters(part.start, part.stop) > CUE_CHARACTERS) return false;
  return passage.filled(part, LINE_CHARACTERS).length <= LINES;
}

/** What a break between two words has for it: a sentence, a comma, a pause. */
function bonus(before: Word | undefined, behind: Word): number {
  if (!before) return 0;
  const pause = PAUSE_BONUS_PER_SECOND * Math.min(Math.max(behind.start - before.end, 0), MOST_PAUSE_SECONDS);
  const text = strip(before.text);
  if (SENTENCE_END.test(text)) return pause + SENTENCE_BONUS;
  return CLAUSE_ENDS.some((end) => text.endsWith(end)) ? pause + CLAUSE_BONUS : pause;
}

/** The word to break before: unbalanced halves are bad, a bonus makes up for it. */
function cutOf(passage: Passage, part: Part, bonuses: readonly number[]): number {
  let best = part.start + 1;
  let lowest = Number.POSITIVE_INFINITY;
  for (let index = part.start + 1; index < part.stop; index += 1) {
    const first = passage.characters(part.start, index);
    const second = passage.characters(index, part.stop);
    const cost = Math.abs(first - second) / Math.max(first + second, 1) - (bonuses[index] ?? 0);
    if (cost < lowest) [best, lowest] = [index, cost];
  }
  return best;
}

/** As few lines as hold the part, the longest of them as short as can be. */
function linesOf(passage: Passage, part: Part): string[] {
  const count = passage.filled(part, LINE_CHARACTERS).length;
  let width = Math.ceil((passage.characters(part.start, part.stop) + 1) / count) - 1;
  while (passage.filled(part, width).length !== count) width += 1;
  return passage.filled(part, width).map((line) => passage.written(line));
}

function cueOf(passage: Passage, part: Part, earliestMs: number): Cue {
  const startMs = Math.max(milliseconds(passage.words[part.start]?.start ?? 0), earliestMs);
  const heardMs = milliseconds(passage.words[part.stop - 1]?.end ?? 0);
  const endMs = Math.min(Math.max(heardMs, startMs + 1), startMs + LONGEST_SECONDS * 1000);
  return { startMs, endMs, lines: linesOf(passage, part) };
}

/** The last cue stays as long as an eye needs, but not past `latestMs`. */
function lengthenLast(cues: Cue[], latestMs: number): void {
  const cue = cues.at(-1);
  if (cue) {
    cues[cues.length - 1] = { ...cue, endMs: Math.max(cue.endMs, Math.min(cue.startMs + SHORTEST_MS, latestMs)) };
  }
}
