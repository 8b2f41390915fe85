/** Words and lines of a transcript. The rules are those of `lithophone/granite/words.py`, letter for letter. */

/** `text` carries the white space before it, so that the words of a transcript joined are its text. Times are seconds. */
export interface Word {
  readonly text: string;
  readonly start: number;
  readonly end: number;
  /** How sure the model is, 0 to 1; absent where nobody knows, as for a word that a person wrote. */
  readonly probability?: number;
}

/** What is said in one breath. `speaker` is the server's label, where it tells speakers apart. */
export interface Line {
  readonly id: number;
  readonly words: readonly Word[];
  readonly speaker?: string;
}

/** White space as Python has it; JavaScript's `\s` differs in six characters. */
export const SPACE = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";

const UNSPACED = "\\u3041-\\u3096\\u30a1-\\u30fa\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff";
const CLINGING =
  "\\u3001-\\u3003\\u3005\\u300d\\u300f\\u3011\\u3083\\u3085\\u3087\\u30e3\\u30e5\\u30e7\\u30fc" +
  "\\uff01\\uff09\\uff0c\\uff0e\\uff1a\\uff1b\\uff1f";
const WORD = new RegExp(`[${SPACE}]*(?:[${UNSPACED}][${CLINGING}]*|[^${SPACE}${UNSPACED}]+)`, "gu");
const AROUND = new RegExp(`^[${SPACE}]+|[${SPACE}]+$`, "gu");
const BEFORE = new RegExp(`^[${SPACE}]*`, "u");
const RUNS = new RegExp(`[${SPACE}]+`, "gu");

export const strip = (text: string): string => text.replace(AROUND, "");
export const leadingSpace = (text: string): string => BEFORE.exec(text)?.[0] ?? "";
export const oneSpace = (text: string): string => strip(text).replace(RUNS, " ");
export const isSpace = (text: string): boolean => text !== "" && strip(text) === "";

/** The length of a text in characters, not in the halves that JavaScript counts. */
export function characters(text: string): number {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

/** The words of `text`, each with the white space before it; joined they are `text`. Blank text has none. */
export function splitWords(text: string): string[] {
  const words = text.match(WORD) ?? [];
  const last = words.length - 1;
  if (last >= 0) words[last] += text.slice(words.join("").length);
  return words;
}

/** The words of `text` shared out over a stretch of time by their lengths. */
export function spreadWords(text: string, start: number, end: number): Word[] {
  const words = splitWords(text);
  const lengths = words.map(characters);
  const total = lengths.reduce((sum, length) => sum + length, 0);
  const bound = (part: number): number => Math.min(end, start + ((end - start) * part) / total);
  let written = 0;
  return words.map((word, place) => {
    const from = written;
    written += lengths[place] ?? 0;
    return { text: word, start: bound(from), end: bound(written) };
  });
}

/** The text of words. */
export const textOf = (words: readonly Word[]): string => words.map((word) => word.text).join("");
