/** SubRip and WebVTT, as `lithophone/formats/subtitles.py` writes them; the speakers' names are added here. */

import { type Cue, cuesByLine } from "./cues.ts";
import { nameOf, type Speakers, startsTurn } from "./speakers.ts";
import { clock } from "./times.ts";
import { leadingSpace, type Line, strip, type Word } from "./words.ts";

/** SubRip: numbered from 1, comma before the milliseconds. Whoever begins to speak is named before the words. */
export function subRip(lines: readonly Line[], speakers: Speakers = {}): string {
  const named = lines.map((line, place) => (startsTurn(lines, place) ? withName(line, speakers) : line.words));
  return cuesByLine(named)
    .flat()
    .map((cue, place) => `${place + 1}\n${times(cue, ",")}\n${cue.lines.join("\n")}\n`)
    .join("\n");
}

/** WebVTT: `&`, `<` and `>` are escaped, so no text is taken for a tag. A speaker is a voice span. */
export function webVtt(lines: readonly Line[], speakers: Speakers = {}): string {
  const blocks = cuesByLine(lines.map((line) => line.words)).flatMap((cues, place) => {
    const line = lines[place];
    const voice = line?.speaker === undefined ? "" : `<v ${escaped(oneLine(nameOf(line.speaker, speakers)))}>`;
    return cues.map((cue) => `${times(cue, ".")}\n${voice}${escaped(cue.lines.join("\n"))}\n`);
  });
  return ["WEBVTT\n", ...blocks].join("\n");
}

const times = (cue: Cue, mark: string): string => `${clock(cue.startMs, mark)} --> ${clock(cue.endMs, mark)}`;
const oneLine = (name: string): string => strip(name).replaceAll(/\s+/gu, " ");
const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

/** The line's words, the first with the speaker's name before it: no cue parts the two. */
function withName(line: Line, speakers: Speakers): readonly Word[] {
  const [first, ...rest] = line.words;
  if (!first || line.speaker === undefined) return line.words;
  const name = oneLine(nameOf(line.speaker, speakers));
  return [{ ...first, text: `${leadingSpace(first.text)}${name}: ${strip(first.text)}` }, ...rest];
}
