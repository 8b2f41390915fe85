/** One recording on its way through the server: bytes up, lines down as they are recognised. */

import { type Delta, Listener, type SpeakerSegment } from "../text/hearing.ts";
import type { Line } from "../text/words.ts";
import { addressOf } from "./address.ts";
import { Disconnected, errorOf, Refused, refusal } from "./failures.ts";
import { authorization } from "./key.ts";
import { EventReader } from "./sse.ts";

/** What a person asked for. `translateTo` is a language code; empty: written as it was said. */
export interface Wish {
  readonly model: string;
  readonly language: string;
  readonly translateTo: string;
  readonly speakers: boolean;
  readonly keywords: readonly string[];
}

/** What is told on the way. */
export interface Progress {
  sent(share: number): void;
  heard(lines: readonly Line[], seconds: number): void;
  warned(warning: string): void;
}

/** The end of a stream. */
export interface Ending {
  readonly language?: string;
}

interface StreamEvent {
  readonly type: string;
  readonly languages?: readonly { code: string }[];
}

/**
 * Send `file` and follow the answer. XMLHttpRequest tells how much was sent, which `fetch` does not.
 *
 * Rejects with `Refused`, `Disconnected`, or an `AbortError` when `signal` is aborted.
 */
export function transcribe(
  file: Blob,
  name: string,
  wish: Wish,
  progress: Progress,
  signal: AbortSignal,
): Promise<Ending> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const answer = new Answer(request, wish, progress, resolve, reject);
    request.open("POST", addressOf(wish.translateTo ? "v1/audio/translations" : "v1/audio/transcriptions"));
    for (const [header, value] of Object.entries(authorization())) request.setRequestHeader(header, value);
    request.upload.addEventListener("progress", ({ loaded, total }) => progress.sent(total > 0 ? loaded / total : 0));
    request.upload.addEventListener("load", () => progress.sent(1));
    request.addEventListener("progress", () => answer.read());
    request.addEventListener("load", () => answer.end());
    request.addEventListener("error", () => answer.broken());
    request.addEventListener("abort", () => reject(new DOMException("Cancelled", "AbortError")));
    signal.addEventListener("abort", () => request.abort());
    if (signal.aborted) reject(new DOMException("Cancelled", "AbortError"));
    else request.send(formOf(file, name, wish));
  });
}

function formOf(file: Blob, name: string, wish: Wish): FormData {
  const form = new FormData();
  form.append("model", wish.model);
  form.append("stream", "true");
  form.append("timestamp_granularities[]", "word");
  if (wish.translateTo) form.append("to_language", wish.translateTo);
  else {
    if (wish.language) form.append("language", wish.language);
    if (wish.speakers) form.append("response_format", "diarized_json");
    for (const keyword of wish.keywords) form.append("keywords[]", keyword);
  }
  form.append("file", file, name);
  return form;
}

class Answer {
  private readonly reader = new EventReader();
  private readonly listener: Listener;
  private taken = 0;
  private ending: Ending | undefined;
  private failure: Refused | undefined;
  private warned = false;

  constructor(
    private readonly request: XMLHttpRequest,
    wish: Wish,
    private readonly progress: Progress,
    private readonly resolve: (ending: Ending) => void,
    private readonly reject: (failure: Error) => void,
  ) {
    this.listener = new Listener(!wish.translateTo);
  }

  /** What has come since the last time. */
  read(): void {
    if (this.request.status !== 200) return;
    this.warn();
    const text = this.request.responseText;
    const events = this.reader.push(text.slice(this.taken));
    this.taken = text.length;
    for (const { name, data } of events) this.take(name, data);
    if (events.length > 0) this.progress.heard([...this.listener.lines], this.listener.seconds);
  }

  end(): void {
    if (this.request.status !== 200) {
      this.reject(refusal(this.request.status, this.request.responseText, (name) => this.header(name)));
      return;
    }
    this.read();
    if (this.failure) this.reject(this.failure);
    else if (this.ending) this.resolve(this.ending);
    else this.reject(new Disconnected(true));
  }

  broken(): void {
    if (this.request.status === 200) this.read();
    this.reject(this.failure ?? new Disconnected(this.taken > 0));
  }

  private take(name: string, data: string): void {
    if (data === "[DONE]") return;
    if (name === "error") {
      const { message, code } = errorOf(data) ?? { message: "The server could not go on.", code: null };
      this.failure = new Refused(message, 200, code, this.header("x-request-id") ?? undefined);
      return;
    }
    const event = JSON.parse(data) as StreamEvent;
    if (event.type === "transcript.text.delta") this.listener.delta(event as unknown as Delta);
    if (event.type === "transcript.text.segment") this.listener.segment(event as unknown as SpeakerSegment);
    if (event.type === "transcript.text.done") {
      const code = event.languages?.[0]?.code;
      this.ending = code === undefined ? {} : { language: code };
    }
  }

  private warn(): void {
    const warning = this.warned ? null : this.header("x-lithophone-warning");
    this.warned = true;
    if (warning) this.progress.warned(warning);
  }

  private header(name: string): string | null {
    return this.request.getResponseHeader(name);
  }
}
