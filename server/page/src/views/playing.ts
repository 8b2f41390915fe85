/** What can be done with the sound, by a button or a key. */

import { player, RATES } from "../sound/player.ts";
import { linesOf } from "../store/recordings.ts";
import { choose, settings } from "../store/settings.ts";
import { isUnsure, nextWord, type Place, wordAt } from "../text/finding.ts";
import { focusedPlace, focusWord } from "./cursor.ts";
import { hearFrom } from "./transcript.tsx";

/** The shortest stretch that is worth hearing again and again. */
const SHORTEST_LOOP_SECONDS = 0.2;

export function setRate(rate: number): void {
  choose({ rate });
  player.setRate(rate);
}

export function changeRate(way: 1 | -1): void {
  const at = RATES.findIndex((rate) => rate >= settings.value.rate);
  setRate(RATES[Math.max(0, Math.min(RATES.length - 1, at + way))] ?? 1);
}

/** The word in focus, or the one that is heard. */
export const placeNow = (id: string): Place | undefined => focusedPlace() ?? wordAt(linesOf(id).value, player.time);

/** Play the line that is heard again and again, or stop doing so. */
export function toggleLineLoop(id: string): void {
  if (player.loop.value) {
    player.loop.value = undefined;
    return;
  }
  const line = linesOf(id).value[placeNow(id)?.line ?? 0];
  const [first, last] = [line?.words[0], line?.words.at(-1)];
  if (!first || !last) return;
  player.loop.value = { start: first.start, end: Math.max(last.end, first.start + SHORTEST_LOOP_SECONDS) };
  hearFrom(first.start);
  player.play();
}

export function beginLoop(): void {
  const end = player.loop.value?.end ?? player.seconds.value;
  player.loop.value = { start: player.time, end: end > player.time ? end : player.seconds.value };
}

export function endLoop(): void {
  const start = player.loop.value?.start ?? 0;
  if (player.time >= start + SHORTEST_LOOP_SECONDS) player.loop.value = { start, end: player.time };
}

/** To the next word that the model was unsure of. */
export function toNextUnsure(id: string): void {
  const lines = linesOf(id).value;
  const place = nextWord(lines, placeNow(id), isUnsure);
  if (!place) return;
  focusWord(place);
  player.seek(lines[place.line]?.words[place.word]?.start ?? 0);
}
