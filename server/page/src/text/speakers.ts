/** Who speaks: the server's labels, the names that a person gave them, and their places among the colours. */

import type { Line } from "./words.ts";

/** Name by label. */
export type Speakers = Readonly<Record<string, string>>;

export const nameOf = (label: string, speakers: Speakers): string => speakers[label] || `Speaker ${label}`;

/** Whether somebody else spoke before this line. */
export function startsTurn(lines: readonly Line[], place: number): boolean {
  const speaker = lines[place]?.speaker;
  return speaker !== undefined && lines[place - 1]?.speaker !== speaker;
}

/** A label's place among the colours: `A` is 0, `Z` 25, `AA` 26. */
export const placeOf = (label: string): number =>
  Array.from(label).reduce((sum, letter) => sum * 26 + letter.charCodeAt(0) - 64, 0) - 1;
