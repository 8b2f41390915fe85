/** What a person takes away: text, data, and the files' names and kinds. */

import { nameOf, type Speakers, startsTurn } from "./speakers.ts";
import { subRip, webVtt } from "./subtitles.ts";
import { milliseconds } from "./times.ts";
import { type Line, oneSpace, strip, textOf } from "./words.ts";

/** A transcript and what is known of its recording. */
export interface Transcript {
  readonly lines: readonly Line[];
  readonly speakers: Speakers;
  readonly task: "transcribe" | "translate";
  readonly language?: string;
  readonly seconds?: number;
}

export const FORMATS = ["srt", "vtt", "txt", "json"] as const;
export type Format = (typeof FORMATS)[number];

export const FORMAT_NAMES: Readonly<Record<Format, string>> = {
  srt: "SRT subtitles",
  vtt: "VTT subtitles",
  txt: "Text",
  json: "JSON data",
};

export const MEDIA_TYPES: Readonly<Record<Format, string>> = {
  srt: "application/x-subrip",
  vtt: "text/vtt",
  txt: "text/plain",
  json: "application/json",
};

/** The transcript in a format. */
export function written(transcript: Transcript, format: Format): string {
  switch (format) {
    case "srt":
      return subRip(transcript.lines, transcript.speakers);
    case "vtt":
      return webVtt(transcript.lines, transcript.speakers);
    case "txt":
      return `${plainText(transcript)}\n`;
    case "json":
      return `${JSON.stringify(verboseDocument(transcript), undefined, 1)}\n`;
  }
}

/** The running text, as the server's `text`; with speakers a paragraph for each turn, behind the name. */
export function plainText({ lines, speakers }: Transcript): string {
  if (!lines.some((line) => line.speaker !== undefined)) return strip(lines.map((line) => textOf(line.words)).join(""));
  const turns: string[] = [];
  lines.forEach((line, place) => {
    const text = oneSpace(textOf(line.words));
    if (startsTurn(lines, place)) turns.push(`${nameOf(line.speaker ?? "", speakers)}: ${text}`);
    else turns[turns.length - 1] = `${turns.at(-1) ?? ""} ${text}`;
  });
  return turns.map(strip).join("\n\n");
}

/** The document that the server calls `verbose_json`, as far as a corrected transcript has it. */
function verboseDocument(transcript: Transcript): object {
  const spoken = transcript.lines.filter((line) => line.words.length > 0);
  return {
    task: transcript.task,
    language: languageName(transcript.language),
    duration: transcript.seconds === undefined ? undefined : wireSeconds(transcript.seconds),
    text: strip(spoken.map((line) => textOf(line.words)).join("")),
    segments: spoken.map((line, id) => ({
      id,
      start: wireSeconds(line.words[0]?.start ?? 0),
      end: wireSeconds(line.words.at(-1)?.end ?? 0),
      text: strip(textOf(line.words)),
      speaker: line.speaker === undefined ? undefined : nameOf(line.speaker, transcript.speakers),
    })),
    words: spoken.flatMap((line) =>
      line.words.map((word) => ({
        word: strip(word.text),
        start: wireSeconds(word.start),
        end: wireSeconds(word.end),
        probability: word.probability,
      })),
    ),
  };
}

const wireSeconds = (seconds: number): number => milliseconds(seconds) / 1000;

const languageName = (code: string | undefined): string =>
  code === undefined ? "unknown" : (new Intl.DisplayNames("en", { type: "language" }).of(code) ?? code).toLowerCase();

/** `talk.mp3` as `talk.srt`. */
export const fileName = (recording: string, format: Format): string =>
  `${recording.replace(/\.[^./\\]{1,5}$/u, "") || "transcript"}.${format}`;
