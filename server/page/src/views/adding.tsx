/** How a recording comes in: dropped, chosen, or spoken into the microphone. */

import { signal } from "@preact/signals";
import type { ComponentChildren, TargetedDragEvent } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { LevelMeter, NoMicrophone, openMicrophone, Recorder } from "../sound/recorder.ts";
import { enqueue } from "../store/queue.ts";
import { about, chosenModel } from "../store/server.ts";
import { shortClock } from "../text/times.ts";
import { Icon } from "./icons.tsx";
import { askBeforeLeaving, leaveFreely } from "./leaving.ts";
import { liveShown } from "./shown.ts";
import { wishNow } from "../store/wish.ts";

const dropping = signal(false);
const recorder = signal<Recorder | undefined>(undefined);
const microphoneProblem = signal("");
let meter: LevelMeter | undefined;

const take = (files: Iterable<File> | null | undefined): void => {
  const chosen = [...(files ?? [])];
  if (chosen.length === 0) return;
  liveShown.value = false;
  void enqueue(chosen, wishNow());
};

/** The page takes files wherever they are dropped. */
export function DropTarget({ children }: { readonly children: ComponentChildren }) {
  const over = (event: TargetedDragEvent<HTMLDivElement>): void => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    dropping.value = true;
  };
  const left = (event: TargetedDragEvent<HTMLDivElement>): void => {
    if (!(event.relatedTarget instanceof Node)) dropping.value = false;
  };
  const drop = (event: TargetedDragEvent<HTMLDivElement>): void => {
    event.preventDefault();
    dropping.value = false;
    take(event.dataTransfer?.files);
  };
  return (
    <div class="page" onDragEnter={over} onDragOver={over} onDragLeave={left} onDrop={drop}>
      {children}
      {dropping.value ? (
        <div class="drop-veil" aria-hidden="true">
          <div>
            <Icon name="upload" />
            Drop to transcribe
          </div>
        </div>
      ) : null}
    </div>
  );
}

function FileButton({ class: kind, children }: { readonly class: string; readonly children: ComponentChildren }) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <button type="button" class={kind} onClick={() => input.current?.click()}>
        {children}
      </button>
      <input
        ref={input}
        type="file"
        multiple
        hidden
        accept="audio/*,video/*,.flac,.ogg,.opus,.mka,.mkv,.amr,.spx,.ac3,.aiff,.caf,.wma"
        onChange={({ currentTarget }) => {
          take(currentTarget.files);
          currentTarget.value = "";
        }}
      />
    </>
  );
}

async function startRecording(): Promise<void> {
  microphoneProblem.value = "";
  try {
    const stream = await openMicrophone();
    meter = new LevelMeter(stream);
    recorder.value = new Recorder(stream);
    askBeforeLeaving();
  } catch (failure) {
    microphoneProblem.value = failure instanceof NoMicrophone ? failure.message : "The microphone could not be opened.";
  }
}

async function stopRecording(): Promise<void> {
  const file = await recorder.value?.stop();
  recorder.value = undefined;
  meter?.close();
  leaveFreely();
  if (file) take([file]);
}

/** The ways in, at the top of the side. */
export function AddPanel() {
  return (
    <section class="adding" aria-label="Add">
      {recorder.value ? (
        <RecordingNow recorder={recorder.value} />
      ) : (
        <div class="ways">
          <FileButton class="primary">
            <Icon name="add" />
            Add files
          </FileButton>
          <button type="button" onClick={() => void startRecording()}>
            <Icon name="mic" />
            Record
          </button>
          {about.value?.realtime ? (
            <button type="button" aria-pressed={liveShown.value} onClick={() => (liveShown.value = !liveShown.value)}>
              <Icon name="captions" />
              Live captions
            </button>
          ) : null}
        </div>
      )}
      {microphoneProblem.value ? (
        <p class="problem" role="alert">
          <Icon name="warn" />
          {microphoneProblem.value}
        </p>
      ) : null}
    </section>
  );
}

function RecordingNow({ recorder: { started } }: { readonly recorder: Recorder }) {
  const [seconds, setSeconds] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => setSeconds((Date.now() - started) / 1000), 250);
    return () => clearInterval(timer);
  }, [started]);
  return (
    <div class="recording-now">
      <span class="dot live" aria-hidden="true" />
      <span class="grow">
        Recording <span class="number">{shortClock(seconds)}</span>
      </span>
      <Level read={() => meter?.level() ?? 0} />
      <button type="button" class="primary" onClick={() => void stopRecording()}>
        <Icon name="stop" />
        Stop
      </button>
    </div>
  );
}

/** A bar as long as the sound is loud. */
export function Level({ read }: { readonly read: () => number }) {
  const bar = useRef<HTMLSpanElement>(null);
  useEffect(() => {
    let frame = requestAnimationFrame(function turn() {
      if (bar.current) bar.current.style.transform = `scaleX(${read()})`;
      frame = requestAnimationFrame(turn);
    });
    return () => cancelAnimationFrame(frame);
  }, [read]);
  return (
    <span class="level" aria-hidden="true">
      <span ref={bar} />
    </span>
  );
}

/** What somebody sees who has nothing open. */
export function Hero() {
  return (
    <div class="hero">
      <div class="hero-drop">
        <span class="hero-icon">
          <Icon name="upload" />
        </span>
        <h1>Drop a recording here</h1>
        <p>
          Audio or video, as many files as you like. They go to your own server and nowhere else; transcripts stay in this
          browser.
        </p>
        <FileButton class="primary large">Choose files</FileButton>
      </div>
      <ol class="hero-steps">
        <li>
          <strong>Read along</strong>
          <span>Words appear as they are recognised and light up as you listen.</span>
        </li>
        <li>
          <strong>Correct</strong>
          <span>Words the model was unsure of are marked. Double-click a word to change it.</span>
        </li>
        <li>
          <strong>Take away</strong>
          <span>Subtitles, text or data, with your corrections in it.</span>
        </li>
      </ol>
      {chosenModel.value ? <p class="hero-model">Transcribed by {chosenModel.value.id}</p> : null}
    </div>
  );
}
