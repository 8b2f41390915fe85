/** The waveform and what is done with the sound. */

import { useSignalEffect } from "@preact/signals";
import type { TargetedKeyboardEvent } from "preact";
import { useEffect, useRef } from "preact/hooks";
import WaveSurfer from "wavesurfer.js";
import { peaksOfWords } from "../sound/peaks.ts";
import { player, RATES, STEP_SECONDS } from "../sound/player.ts";
import { measurePeaks } from "../sound/waveform.ts";
import { change, find, keepPeaks, linesOf, peaksOf, soundOf } from "../store/recordings.ts";
import { settings } from "../store/settings.ts";
import { shortClock, spokenLength } from "../text/times.ts";
import { Icon } from "./icons.tsx";
import { setRate, toggleLineLoop } from "./playing.ts";
import { following, hearFrom } from "./transcript.tsx";

export const WAVE_HEIGHT = 56;
const PAGE_SECONDS = 30;

export function PlayerBar({ id }: { readonly id: string }) {
  useSound(id);
  if (!player.playable.value) return null;
  return (
    <section class="player" aria-label="Player">
      <Wave id={id} />
      <div class="transport">
        <TimeNow />
        <div class="row">
          <IconButton icon="rewind" name={`Back ${STEP_SECONDS} seconds`} act={() => player.skip(-STEP_SECONDS)} />
          <button
            type="button"
            class="play"
            aria-label={player.playing.value ? "Pause" : "Play"}
            title={player.playing.value ? "Pause (Space)" : "Play (Space)"}
            onClick={() => player.toggle()}
          >
            <Icon name={player.playing.value ? "pause" : "play"} />
          </button>
          <IconButton icon="forward" name={`Ahead ${STEP_SECONDS} seconds`} act={() => player.skip(STEP_SECONDS)} />
        </div>
        <div class="row end">
          {following.value ? null : (
            <button type="button" class="small" onClick={() => hearFrom(player.time)}>
              Follow
            </button>
          )}
          <button
            type="button"
            class="bare toggle"
            aria-pressed={player.loop.value !== undefined}
            aria-label="Loop this line"
            title="Loop this line (R)"
            onClick={() => toggleLineLoop(id)}
          >
            <Icon name="loop" />
          </button>
          <label class="rate">
            <span class="unseen">Speed</span>
            <select value={String(settings.value.rate)} onChange={({ currentTarget }) => setRate(Number(currentTarget.value))}>
              {RATES.map((rate) => (
                <option key={rate} value={String(rate)}>
                  {rate}×
                </option>
              ))}
            </select>
          </label>
        </div>
      </div>
    </section>
  );
}

function IconButton({ icon, name, act }: { readonly icon: "rewind" | "forward"; readonly name: string; readonly act: () => void }) {
  return (
    <button type="button" class="bare skip-button" aria-label={name} title={name} onClick={act}>
      <Icon name={icon} />
      <span aria-hidden="true">{STEP_SECONDS}</span>
    </button>
  );
}

/** Put the recording's sound into the player for as long as it is open. */
function useSound(id: string): void {
  useEffect(() => {
    let gone = false;
    void soundOf(id).then((sound) => {
      if (gone) return;
      player.load(sound);
      player.setRate(settings.value.rate);
    });
    return () => {
      gone = true;
      player.load(undefined);
    };
  }, [id]);
  useSignalEffect(() => {
    const seconds = player.seconds.value;
    if (seconds > 0 && find(id)?.seconds !== seconds) change(id, { seconds });
  });
}

/** The time, four times a second at most: it is a text, and no film. */
function TimeNow() {
  const text = useRef<HTMLSpanElement>(null);
  useEffect(
    () =>
      player.watch((seconds) => {
        const shown = shortClock(seconds);
        if (text.current && text.current.textContent !== shown) text.current.textContent = shown;
      }),
    [],
  );
  return (
    <p class="time-now number">
      <span ref={text}>{shortClock(player.time)}</span>
      <span class="of"> / {shortClock(player.seconds.value)}</span>
    </p>
  );
}

function Wave({ id }: { readonly id: string }) {
  const box = useRef<HTMLDivElement>(null);
  const seconds = player.seconds.value;
  useEffect(() => (box.current && seconds > 0 ? drawn(id, box.current, seconds) : undefined), [id, seconds]);
  return (
    <div
      class="wave"
      role="slider"
      tabIndex={0}
      aria-label="Position"
      aria-valuemin={0}
      aria-valuemax={Math.round(seconds)}
      aria-valuenow={0}
      ref={box}
      onKeyDown={keyed}
    >
      <LoopMark />
    </div>
  );
}

function keyed(event: TargetedKeyboardEvent<HTMLDivElement>): void {
  const to = target(event.key);
  if (to === undefined) return;
  event.preventDefault();
  hearFrom(to);
}

function target(key: string): number | undefined {
  switch (key) {
    case "ArrowRight":
      return player.time + STEP_SECONDS;
    case "ArrowLeft":
      return player.time - STEP_SECONDS;
    case "PageUp":
      return player.time + PAGE_SECONDS;
    case "PageDown":
      return player.time - PAGE_SECONDS;
    case "Home":
      return 0;
    case "End":
      return player.seconds.value;
    default:
      return undefined;
  }
}

/** Draw the waveform into `box`, as it becomes known; gives what takes it away. */
function drawn(id: string, box: HTMLElement, seconds: number): () => void {
  const ended = new AbortController();
  const show = (peaks: Float32Array): void => {
    if (!ended.signal.aborted) void surfer.load(player.audio.src, [peaks], seconds);
  };
  const surfer = surfaceOn(box, peaksOfWords(linesOf(id).value.flatMap((line) => line.words), seconds), seconds);
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", () => surfer.setOptions(colours(box)), { signal: ended.signal });
  const unwatch = player.watch((now) => {
    box.setAttribute("aria-valuenow", String(Math.round(now)));
    box.setAttribute("aria-valuetext", `${spokenLength(now)} of ${spokenLength(seconds)}`);
  });
  void peaksOf(id).then(async (kept) => {
    if (kept) show(kept);
    const sound = kept ? undefined : await soundOf(id);
    if (!sound || ended.signal.aborted) return;
    const tell = (peaks: Float32Array<ArrayBuffer>, done: boolean): void => {
      show(peaks);
      if (done) void keepPeaks(id, peaks);
    };
    measurePeaks(sound, seconds, tell, ended.signal);
  });
  return () => {
    ended.abort();
    unwatch();
    surfer.destroy();
  };
}

function surfaceOn(box: HTMLElement, peaks: Float32Array, seconds: number): WaveSurfer {
  const surfer = WaveSurfer.create({
    container: box,
    media: player.audio,
    height: WAVE_HEIGHT,
    barWidth: 2,
    barGap: 1.5,
    barRadius: 2,
    cursorWidth: 2,
    normalize: true,
    hideScrollbar: true,
    peaks: [peaks],
    duration: seconds,
    ...colours(box),
  });
  surfer.on("interaction", (time) => hearFrom(time));
  return surfer;
}

/** The page's colours: a canvas does not know of them. */
function colours(box: HTMLElement): { waveColor: string; progressColor: string; cursorColor: string } {
  const style = getComputedStyle(box);
  return { waveColor: style.color, progressColor: style.accentColor, cursorColor: style.caretColor };
}

function LoopMark() {
  const loop = player.loop.value;
  const whole = player.seconds.value;
  if (!loop || whole <= 0) return null;
  const left = `${(100 * loop.start) / whole}%`;
  const width = `${(100 * (loop.end - loop.start)) / whole}%`;
  return <div class="loop-mark" style={{ left, width }} />;
}
