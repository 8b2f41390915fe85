/** From the events of a stream to lines. */

import { type Line, spreadWords, type Word } from "./words.ts";

/** A word as it comes over the wire: without the white space before it. */
export interface WireWord {
  readonly word: string;
  readonly start: number;
  readonly end: number;
  readonly probability?: number;
}

/** `transcript.text.delta`, as far as it is of use here. */
export interface Delta {
  readonly delta: string;
  readonly segment_id?: string;
  readonly words?: readonly WireWord[];
}

/** `transcript.text.segment`. */
export interface SpeakerSegment {
  readonly id: string;
  readonly speaker: string;
}

/** The words of a delta with the white space they have in it; joined they are the delta. */
export function wordsOf(delta: string, wire: readonly WireWord[]): Word[] {
  let written = 0;
  const words: Word[] = wire.map(({ word, start, end, probability }) => {
    const at = delta.indexOf(word, written);
    const stop = at < 0 ? written : at + word.length;
    const text = at < 0 ? ` ${word}` : delta.slice(written, stop);
    written = stop;
    return { text, start, end, ...(probability === undefined ? {} : { probability: rounded(probability) }) };
  });
  const last = words.at(-1);
  if (last) words[words.length - 1] = { ...last, text: last.text + delta.slice(written) };
  return words;
}

const rounded = (probability: number): number => Math.round(probability * 1000) / 1000;

/** Takes in events, gives the lines so far. */
export class Listener {
  private readonly heard: Line[] = [];
  private readonly bySegment = new Map<string, number>();

  /** `sure`: whether the words' probabilities mean something; those of a translation do not. */
  constructor(private readonly sure: boolean) {}

  get lines(): readonly Line[] {
    return this.heard;
  }

  /** The end of the last word, in seconds of the recording. */
  get seconds(): number {
    return this.heard.at(-1)?.words.at(-1)?.end ?? 0;
  }

  /** A delta is a line of its own: the server sends one for each segment. */
  delta(event: Delta): void {
    const words = event.words?.length
      ? wordsOf(event.delta, event.words)
      : spreadWords(event.delta, this.seconds, this.seconds);
    if (event.segment_id !== undefined) this.bySegment.set(event.segment_id, this.heard.length);
    const told = this.sure ? words : words.map(({ text, start, end }) => ({ text, start, end }));
    this.heard.push({ id: this.heard.length, words: told });
  }

  /** Who said a line that came before. */
  segment(event: SpeakerSegment): void {
    const place = this.bySegment.get(event.id);
    const line = place === undefined ? undefined : this.heard[place];
    if (place !== undefined && line) this.heard[place] = { ...line, speaker: event.speaker };
  }
}
