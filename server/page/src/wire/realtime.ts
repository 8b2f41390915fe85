/** A transcription session at `/v1/realtime`: sound up, words down. Deltas are only ever added to. */

import { base64 } from "../sound/pcm.ts";
import { addressOf } from "./address.ts";
import { apiKey } from "./key.ts";

/** One turn of speech. `text` is final once `done`; times are milliseconds since the session began. */
export interface Turn {
  readonly id: string;
  readonly text: string;
  readonly done: boolean;
  readonly startMs?: number;
  readonly endMs?: number;
  readonly failure?: string;
}

interface RealtimeEvent {
  readonly type: string;
  readonly item_id?: string;
  readonly delta?: string;
  readonly transcript?: string;
  readonly audio_start_ms?: number;
  readonly audio_end_ms?: number;
  readonly error?: { readonly message?: string; readonly code?: string | null };
}

const TRANSCRIPTION = "conversation.item.input_audio_transcription.";
/** What the server says to a commit when nothing was said since the last turn. */
const NOTHING_TO_COMMIT = "input_audio_buffer_commit_empty";

/** The turns after an event. Turns stay in the order in which they began. Pure. */
export function withEvent(turns: readonly Turn[], event: RealtimeEvent): readonly Turn[] {
  const id = event.item_id;
  if (id === undefined) return turns;
  const changed = (change: (turn: Turn) => Partial<Turn>): readonly Turn[] => {
    const known = turns.some((turn) => turn.id === id) ? turns : [...turns, { id, text: "", done: false }];
    return known.map((turn) => (turn.id === id ? { ...turn, ...change(turn) } : turn));
  };
  switch (event.type) {
    case "input_audio_buffer.speech_started":
      return changed(() => (event.audio_start_ms === undefined ? {} : { startMs: event.audio_start_ms }));
    case "input_audio_buffer.speech_stopped":
      return changed(() => (event.audio_end_ms === undefined ? {} : { endMs: event.audio_end_ms }));
    case "input_audio_buffer.committed":
      return changed(() => ({}));
    case `${TRANSCRIPTION}delta`:
      return changed((turn) => (turn.done ? {} : { text: turn.text + (event.delta ?? "") }));
    case `${TRANSCRIPTION}completed`:
      return changed((turn) => ({ text: event.transcript ?? turn.text, done: true }));
    case `${TRANSCRIPTION}failed`:
      return changed(() => ({ done: true, failure: event.error?.message ?? "This turn could not be recognised." }));
    default:
      return turns;
  }
}

/** What a session tells. */
export interface SessionEvents {
  turns(turns: readonly Turn[]): void;
  /** The end: `problem` is empty if it was wanted. */
  ended(problem: string): void;
}

const DRAIN_MS = 8000;
const NORMAL_CLOSURE = 1000;

export class RealtimeSession {
  private turns: readonly Turn[] = [];
  private stopping = false;
  private begun = false;
  private commitAnswered = false;
  private problem = "";
  private readonly socket: WebSocket;
  private readonly waiting: string[] = [];

  constructor(model: string, language: string, private readonly events: SessionEvents) {
    const url = addressOf("v1/realtime?intent=transcription");
    url.protocol = url.protocol.replace("http", "ws");
    this.socket = new WebSocket(url, protocols());
    this.socket.addEventListener("open", () => this.begin(model, language));
    this.socket.addEventListener("message", ({ data }: MessageEvent<string>) => this.take(JSON.parse(data) as RealtimeEvent));
    this.socket.addEventListener("close", ({ code }) => this.end(code));
  }

  /** Sound as it is spoken; kept until the socket is open. */
  hear(pcm: Int16Array<ArrayBuffer>): void {
    this.send({ type: "input_audio_buffer.append", audio: base64(pcm) });
  }

  /** No more sound: wait for the words of what was heard, then close. */
  stop(): void {
    if (this.stopping) return;
    this.stopping = true;
    this.send({ type: "input_audio_buffer.commit" });
    setTimeout(() => this.socket.close(), DRAIN_MS);
  }

  private begin(model: string, language: string): void {
    this.begun = true;
    const transcription = { model, ...(language ? { language } : {}) };
    const input = {
      format: { type: "audio/pcm", rate: 24_000 },
      transcription,
      turn_detection: { type: "server_vad" },
    };
    this.socket.send(JSON.stringify({ type: "session.update", session: { type: "transcription", audio: { input } } }));
    for (const message of this.waiting.splice(0)) this.socket.send(message);
  }

  private send(event: object): void {
    const message = JSON.stringify(event);
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(message);
    else if (this.socket.readyState === WebSocket.CONNECTING) this.waiting.push(message);
  }

  private take(event: RealtimeEvent): void {
    if (event.type === "error") {
      const wanted = this.stopping && event.error?.code === NOTHING_TO_COMMIT;
      if (!wanted) this.problem = event.error?.message ?? "The server ended the session.";
    }
    const turns = withEvent(this.turns, event);
    if (turns !== this.turns) {
      this.turns = turns;
      this.events.turns(turns);
    }
    this.closeIfDone(event);
  }

  /** After `stop`: the last commit is answered, and every turn has its end. */
  private closeIfDone(event: RealtimeEvent): void {
    if (!this.stopping) return;
    this.commitAnswered ||= event.type === "error" || event.type === "input_audio_buffer.committed";
    if (this.commitAnswered && this.turns.every((turn) => turn.done)) this.socket.close();
  }

  private end(code: number): void {
    this.events.ended(this.problem || (this.begun && this.stopping ? "" : this.unwanted(code)));
  }

  /** Why it ended though nobody stopped it, and what to do. A browser does not tell why a socket was refused. */
  private unwanted(code: number): string {
    if (!this.begun) {
      return "The server did not begin a live session: it may be busy or want another API key. Try again, or record and transcribe.";
    }
    const why = code === NORMAL_CLOSURE ? "The server ended the session." : "The connection to the server broke off.";
    return `${why} The captions up to here are kept.`;
  }
}

/** A key travels as a subprotocol: browsers send no headers with a socket. */
const protocols = (): string[] =>
  apiKey.value ? ["realtime", `openai-insecure-api-key.${apiKey.value}`] : ["realtime"];
