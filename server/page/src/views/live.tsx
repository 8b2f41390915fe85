/** Captions while somebody speaks: final words are firm, the rest is pale. */

import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { Capture } from "../sound/capture.ts";
import { LIVE_RATE, wavFile } from "../sound/pcm.ts";
import { LevelMeter, NoMicrophone, openMicrophone, recordingName } from "../sound/recorder.ts";
import { listen } from "../store/listening.ts";
import { announcement, change, create, keepPiece, keepWhole, open, save, setLines } from "../store/recordings.ts";
import { chosenModel } from "../store/server.ts";
import { linesOfTurns } from "../text/turns.ts";
import { RealtimeSession, type Turn } from "../wire/realtime.ts";
import { Level } from "./adding.tsx";
import { Icon } from "./icons.tsx";
import { askBeforeLeaving, leaveFreely } from "./leaving.ts";
import { liveId, liveShown } from "./shown.ts";
import { wishNow } from "../store/wish.ts";

type Phase = "idle" | "starting" | "live" | "ending";

const phase = signal<Phase>("idle");
const turns = signal<readonly Turn[]>([]);
const problem = signal("");
const keptId = signal<string | undefined>(undefined);
let current: Captioning | undefined;
const PIECES_AT_ONCE = 100; // five seconds are written down together

/** A session under way: microphone, socket, and what is kept of both. */
class Captioning {
  private readonly session: RealtimeSession;
  private readonly meter: LevelMeter;
  private readonly name = recordingName("Captions", new Date());
  private readonly wish = wishNow();
  private capture: Capture | undefined;
  private sound: Blob[] = [];
  private pieces: Int16Array<ArrayBuffer>[] = [];
  private bytes = 0;
  private written = 0;
  private finals = 0;
  private kept: string | undefined;
  private stopListening = (): void => undefined;
  /** The session may end before there is any sound. */
  ended = false;

  private constructor(stream: MediaStream) {
    this.meter = new LevelMeter(stream);
    this.session = new RealtimeSession(this.wish.model, this.wish.language, {
      turns: (all) => this.take(all),
      ended: (why) => void this.end(why),
    });
  }

  static async start(): Promise<Captioning> {
    const stream = await openMicrophone();
    const captioning = new Captioning(stream);
    captioning.capture = await Capture.open(stream, (pcm) => captioning.hear(pcm));
    if (captioning.ended) captioning.silence();
    else askBeforeLeaving();
    return captioning;
  }

  level = (): number => this.meter.level();

  stop(): void {
    this.silence();
    this.session.stop();
  }

  /** No more sound. */
  private silence(): void {
    this.capture?.close();
    this.capture = undefined;
  }

  private hear(pcm: Int16Array<ArrayBuffer>): void {
    this.session.hear(pcm);
    this.bytes += pcm.byteLength;
    this.pieces.push(pcm);
    if (this.pieces.length >= PIECES_AT_ONCE) this.gather();
  }

  /** What was heard since the last time becomes one piece, which is written down. */
  private gather(): void {
    if (this.pieces.length > 0) this.sound.push(new Blob(this.pieces.splice(0)));
    if (this.kept === undefined) return;
    for (const piece of this.sound.slice(this.written)) {
      void keepPiece(this.kept, this.written, piece);
      this.written += 1;
    }
    change(this.kept, { bytes: this.bytes, seconds: this.bytes / 2 / LIVE_RATE });
  }

  private take(all: readonly Turn[]): void {
    turns.value = all;
    if (this.kept === undefined && all.some((turn) => turn.text)) this.begin();
    const finals = all.filter((turn) => turn.done);
    if (finals.length === this.finals) return;
    this.finals = finals.length;
    announcement.value = finals.at(-1)?.text ?? "";
    this.keep();
  }

  /** Words came: from now on they and their sound are kept as they come, so that the end of this page takes neither away. */
  private begin(): void {
    const { id } = create({ name: `${this.name}.wav`, bytes: 0, status: "listening", wish: this.wish });
    this.kept = id;
    liveId.value = id;
    this.stopListening = listen(id);
    this.gather();
  }

  private keep(): void {
    if (this.kept !== undefined) setLines(this.kept, linesOfTurns(turns.value));
  }

  private async end(why: string): Promise<void> {
    this.ended = true;
    this.silence();
    this.meter.close();
    problem.value = why;
    phase.value = "idle";
    current = undefined;
    if (this.kept !== undefined) await this.finish(this.kept);
    leaveFreely();
  }

  private async finish(id: string): Promise<void> {
    this.keep();
    this.gather();
    await keepWhole(id, wavFile(this.sound, this.bytes, LIVE_RATE, this.name));
    change(id, { status: "done" });
    await save(id);
    this.stopListening();
    liveId.value = undefined;
    keptId.value = id;
  }
}

async function start(): Promise<void> {
  phase.value = "starting";
  problem.value = "";
  turns.value = [];
  keptId.value = undefined;
  try {
    const captioning = await Captioning.start();
    if (captioning.ended) return;
    current = captioning;
    phase.value = "live";
  } catch (failure) {
    problem.value = failure instanceof NoMicrophone ? failure.message : "The microphone could not be opened.";
    phase.value = "idle";
  }
}

function stop(): void {
  phase.value = "ending";
  current?.stop();
}

export function LiveView() {
  const said = turns.value.filter((turn) => turn.text || turn.failure);
  return (
    <article class="live" aria-label="Live captions">
      <header class="head">
        <button type="button" class="bare to-list" aria-label="All recordings" onClick={() => (liveShown.value = false)}>
          <Icon name="back" />
        </button>
        <div class="grow">
          <h1>Live captions</h1>
          <p class="fine">{chosenModel.value?.id}</p>
        </div>
        <Controls />
      </header>
      {problem.value ? (
        <p class="problem-card" role="alert">
          <Icon name="warn" />
          <span class="grow">{problem.value}</span>
        </p>
      ) : null}
      <Captions turns={said} />
      {keptId.value ? (
        <div class="state">
          <p class="grow">These captions are kept with their sound. Transcribe them again there for the times of single words.</p>
          <button type="button" class="small" onClick={() => void openKept(keptId.value)}>
            Open the recording
          </button>
        </div>
      ) : null}
    </article>
  );
}

async function openKept(id: string | undefined): Promise<void> {
  await open(id);
  liveShown.value = false;
}

function Controls() {
  switch (phase.value) {
    case "idle":
      return (
        <button type="button" class="primary" onClick={() => void start()}>
          <Icon name="mic" />
          Start
        </button>
      );
    case "starting":
    case "ending":
      return (
        <button type="button" disabled>
          {phase.value === "starting" ? "Opening the microphone" : "Waiting for the last words"}
        </button>
      );
    case "live":
      return (
        <div class="row">
          <span class="dot live" aria-hidden="true" />
          <Level read={current?.level ?? (() => 0)} />
          <button type="button" class="primary" onClick={stop}>
            <Icon name="stop" />
            Stop
          </button>
        </div>
      );
  }
}

function Captions({ turns: said }: { readonly turns: readonly Turn[] }) {
  const end = useRef<HTMLDivElement>(null);
  useEffect(() => end.current?.scrollIntoView({ block: "nearest" }), [said]);
  if (said.length === 0) {
    return (
      <p class="nothing">
        {phase.value === "live" ? "Listening." : "Press Start and speak. Words appear while you talk; final words are firm, the rest is pale."}
      </p>
    );
  }
  return (
    <div class="captions" data-testid="captions">
      {said.map((turn) => (
        <p key={turn.id} class={turn.failure ? "failed" : turn.done ? "firm" : "pale"}>
          {turn.failure ?? turn.text}
        </p>
      ))}
      <div ref={end} />
    </div>
  );
}
