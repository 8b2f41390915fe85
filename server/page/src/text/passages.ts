/** Words in a row, and how long any part of them is when it is written. See `lithophone/formats/passages.py`. */

import { characters, isSpace, oneSpace, type Word } from "./words.ts";

/** The words from `start` up to and without `stop`, at least one. */
export interface Part {
  readonly start: number;
  readonly stop: number;
}

/** Written, white space between the words is one space, and there is none at the ends. */
export class Passage {
  private readonly text: readonly string[];
  private readonly starts: number[] = [];
  private readonly stops: number[] = [0];

  constructor(readonly words: readonly Word[]) {
    const whole = words.map((word) => word.text).join("");
    this.text = Array.from(oneSpace(whole));
    let place = 0;
    for (const word of words) {
      this.add(word, ![whole[place - 1], whole[place]].some((near) => near !== undefined && isSpace(near)));
      place += word.text.length;
    }
  }

  private add(word: Word, joined: boolean): void {
    const written = this.stops.at(-1) ?? 0;
    const start = written > 0 && !joined ? written + 1 : written;
    const own = characters(oneSpace(word.text));
    this.starts.push(start);
    this.stops.push(own > 0 ? start + own : written);
  }

  /** The part as it is written. */
  written(part: Part): string {
    return this.text.slice(this.starts[part.start], this.stops[part.stop]).join("");
  }

  /** Length of the text of the words from `start` up to and without `stop`; 0 for white space alone. */
  characters(start: number, stop: number): number {
    return Math.max(0, (this.stops[stop] ?? 0) - (this.starts[start] ?? 0));
  }

  /** From the start of its first word to the end of its last. */
  seconds(part: Part): number {
    return (this.words[part.stop - 1]?.end ?? 0) - (this.words[part.start]?.start ?? 0);
  }

  /** The part in lines of at most `width` characters, filled from the last one; only a word alone may be longer. */
  filled(part: Part, width: number): Part[] {
    const lines: Part[] = [];
    let stop = part.stop;
    for (let start = part.stop - 1; start > part.start; start -= 1) {
      if (this.characters(start - 1, stop) > width) {
        lines.push({ start, stop });
        stop = start;
      }
    }
    return [{ start: part.start, stop }, ...lines.reverse()];
  }
}
