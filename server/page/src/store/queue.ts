/** One recording after the other through the server, by one page of this browser at a time. */

import { effect, signal } from "@preact/signals";
import { lengthOf } from "../sound/player.ts";
import { NO_HISTORY } from "../text/editing.ts";
import { Disconnected, Refused } from "../wire/failures.ts";
import { type Ending, type Progress, transcribe, type Wish } from "../wire/transcribe.ts";
import type { Problem, Recording } from "./database.ts";
import { add, announcement, change, find, historyOf, open, openId, recordings, save, setLines, soundOf } from "./recordings.ts";
import { chosenModel, reachable, watchServer } from "./server.ts";
import { wishNow } from "./wish.ts";

const MOST_RETRIES = 30;

/** Why the queue stands still, for a person to see. */
export const pause = signal("");

let running: { readonly id: string; readonly cancel: AbortController } | undefined;
let ours = false;

/** Wait until no other page of this browser works on the queue, then do. */
export function startQueue(): void {
  const locks = (navigator as Partial<Navigator>).locks; // pages over plain HTTP have none
  if (locks) void locks.request("lithophone.queue", takeOver);
  else void takeOver();
  effect(() => {
    if (serverKnown() && recordings.value.some((one) => one.status === "waiting")) queueMicrotask(pump);
  });
}

/** What was under way is not any more: the page that did it is gone. Never ends, so that the lock stays ours. */
function takeOver(): Promise<never> {
  ours = true;
  for (const one of recordings.value) {
    if (one.status === "sending" || one.status === "recognising") change(one.id, { status: "interrupted", problem: INTERRUPTED });
  }
  pump();
  return new Promise(() => undefined);
}

const INTERRUPTED: Problem = {
  message: "The page was closed or reloaded before this was finished.",
  advice: "What was recognised until then is kept. Start it again for the whole.",
};

/** Take in files, and show the first. */
export async function enqueue(files: readonly File[], wish: Wish): Promise<void> {
  const added = files.map((file) => taken(file, wish));
  if (openId.value === undefined || files.length === 1) await open(recordings.value[added.length - 1]?.id);
  await Promise.all(added);
}

async function taken(file: File, wish: Wish): Promise<void> {
  const [{ id }, seconds] = await Promise.all([add(file, wish), lengthOf(file)]);
  if (seconds !== undefined) change(id, { seconds });
}

/** Do it again, with what is wished for now. */
export function again(id: string, wish: Wish): void {
  const { problem: _, warning: __, ...rest } = find(id) ?? {};
  if (!("id" in rest)) return;
  change(id, { status: "waiting", wish, share: 0, problem: undefined, warning: undefined });
}

/** Stop a recording that waits or is under way. */
export function cancel(id: string): void {
  if (running?.id === id) running.cancel.abort();
  else change(id, { status: "cancelled" });
}

/** Whether the server answers, and has said which models it has. */
const serverKnown = (): boolean => reachable.value && chosenModel.value !== undefined;

function pump(): void {
  if (!ours || running || !serverKnown()) return;
  const next = recordings.value.findLast((one) => one.status === "waiting");
  if (!next) return;
  running = { id: next.id, cancel: new AbortController() };
  void run(next, running.cancel.signal).finally(() => {
    running = undefined;
    pump();
  });
}

async function run(recording: Recording, signal: AbortSignal): Promise<void> {
  const { id, name } = recording;
  const wish = recording.wish.model ? recording.wish : wishNow(); // it came before the models were known
  const sound = await soundOf(id);
  if (!sound) {
    change(id, { status: "failed", problem: SOUND_GONE });
    return;
  }
  change(id, { status: "sending", share: 0, wish, problem: undefined });
  try {
    const ending = await patiently(() => transcribe(sound, name, wish, progressOf(id), signal), signal);
    change(id, { status: "done", share: 1, ...ending });
    void save(id);
    announcement.value = `${name} is transcribed.`;
  } catch (failure) {
    conclude(recording, failure, signal);
  }
}

const SOUND_GONE: Problem = {
  message: "The sound of this recording is not on this machine any more.",
  advice: "Choose the file again.",
};

function progressOf(id: string): Progress {
  return {
    sent: (share) => change(id, share < 1 ? { status: "sending", share } : { status: "recognising", share: 0 }),
    heard: (lines, seconds) => {
      historyOf(id).value = NO_HISTORY;
      setLines(id, lines);
      const whole = find(id)?.seconds;
      change(id, { status: "recognising", ...(whole ? { share: Math.min(1, seconds / whole) } : {}) });
    },
    warned: (warning) => change(id, { warning }),
  };
}

/** Ask again for as long as the server says that it is busy. */
async function patiently(attempt: () => Promise<Ending>, signal: AbortSignal): Promise<Ending> {
  for (let retry = 0; ; retry += 1) {
    try {
      return await attempt();
    } catch (failure) {
      const seconds = failure instanceof Refused ? failure.retryAfterSeconds : undefined;
      if (seconds === undefined || retry >= MOST_RETRIES || signal.aborted) throw failure;
      pause.value = (failure as Refused).message;
      await new Promise((resolve) => {
        setTimeout(resolve, seconds * 1000);
        signal.addEventListener("abort", resolve);
      });
      if (signal.aborted) throw failure;
    } finally {
      pause.value = "";
    }
  }
}

/** What a failure means for a recording. */
function conclude({ id, name }: Recording, failure: unknown, signal: AbortSignal): void {
  if (signal.aborted) {
    change(id, { status: "cancelled" });
    return;
  }
  change(id, { status: "failed", problem: problemOf(failure) });
  announcement.value = `${name} could not be transcribed.`;
  if (failure instanceof Disconnected) {
    reachable.value = false; // the rest of the queue waits until the server is seen again
    void watchServer();
  }
}

function problemOf(failure: unknown): Problem {
  if (failure instanceof Refused) {
    const reference = failure.reference === undefined ? {} : { reference: failure.reference };
    return { message: failure.message, advice: adviceFor(failure), ...reference };
  }
  if (failure instanceof Disconnected) {
    return {
      message: failure.message,
      advice: failure.begun
        ? "What was recognised until then is kept. Start it again when the server is back."
        : "Start it again when the server is back.",
    };
  }
  return { message: "Something went wrong in this page.", advice: "Start it again." };
}

function adviceFor({ status, code }: Refused): string {
  if (status === 401) return "Enter the API key, then start it again.";
  if (code === "unsupported_media" || code === "no_audio_stream" || code === "invalid_audio") return "Choose another file.";
  if (status >= 400 && status < 500) return "Change what it asks for, then start it again.";
  return "Start it again; if it stays, ask whoever runs the server.";
}
