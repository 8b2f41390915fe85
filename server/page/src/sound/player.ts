/** What is heard, and where it is. One recording at a time. */

import { signal } from "@preact/signals";

/** A stretch that is played again and again, in seconds. */
export interface Loop {
  readonly start: number;
  readonly end: number;
}

export const RATES = [0.5, 0.75, 1, 1.25, 1.5, 1.75, 2] as const;
export const STEP_SECONDS = 5;

type Watcher = (seconds: number) => void;

export class Player {
  readonly audio = new Audio();
  readonly playing = signal(false);
  /** Length in seconds; 0 until it is known. */
  readonly seconds = signal(0);
  readonly loop = signal<Loop | undefined>(undefined);
  /** Whether the browser can play the recording. */
  readonly playable = signal(false);
  private readonly watchers = new Set<Watcher>();
  private url = "";
  private frame = 0;

  constructor() {
    this.audio.preload = "auto";
    this.on("play", () => this.started());
    this.on("pause", () => this.stopped());
    this.on("seeked", () => this.tell());
    this.on("loadedmetadata", () => this.measured());
    this.on("durationchange", () => this.measured());
    this.on("error", () => {
      this.playable.value = false;
    });
  }

  private on(event: string, listener: () => void): void {
    this.audio.addEventListener(event, listener);
  }

  /** Put a recording in, or take it out. */
  load(sound: Blob | undefined): void {
    this.audio.pause();
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = sound ? URL.createObjectURL(sound) : "";
    this.seconds.value = 0;
    this.playable.value = false;
    this.loop.value = undefined;
    if (sound) this.audio.src = this.url;
    else this.audio.removeAttribute("src");
    this.audio.load();
  }

  /** A file that was written while it was recorded does not say how long it is: the browser looks when it is sent to the end. */
  private measured(): void {
    this.playable.value = true;
    if (this.audio.duration === Number.POSITIVE_INFINITY) {
      this.audio.currentTime = Number.MAX_SAFE_INTEGER;
      this.audio.addEventListener("durationchange", () => {
        this.audio.currentTime = 0;
      }, { once: true });
    } else if (!Number.isNaN(this.audio.duration)) {
      this.seconds.value = this.audio.duration;
    }
  }

  get time(): number {
    return this.audio.currentTime;
  }

  seek(seconds: number): void {
    if (!this.playable.value) return;
    this.audio.currentTime = Math.max(0, Math.min(seconds, this.seconds.value || seconds));
    this.tell();
  }

  skip(seconds: number): void {
    this.seek(this.time + seconds);
  }

  toggle(): void {
    if (this.audio.paused) this.play();
    else this.audio.pause();
  }

  play(): void {
    if (this.playable.value) void this.audio.play().catch(() => undefined); // taken back before it began
  }

  setRate(rate: number): void {
    this.audio.defaultPlaybackRate = rate;
    this.audio.playbackRate = rate;
  }

  /** Be told the time at every frame while it plays, and after every jump. */
  watch(watcher: Watcher): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }

  private started(): void {
    this.playing.value = true;
    cancelAnimationFrame(this.frame);
    const turn = (): void => {
      const loop = this.loop.value;
      if (loop && (this.time >= loop.end || this.time < loop.start - 0.5)) this.audio.currentTime = loop.start;
      this.tell();
      this.frame = requestAnimationFrame(turn);
    };
    this.frame = requestAnimationFrame(turn);
  }

  private stopped(): void {
    this.playing.value = false;
    cancelAnimationFrame(this.frame);
    this.tell();
  }

  private tell(): void {
    for (const watcher of this.watchers) watcher(this.time);
  }
}

export const player = new Player();

/** How long a file is, in seconds, as far as the browser can tell without playing it. */
export function lengthOf(sound: Blob): Promise<number | undefined> {
  const audio = new Audio();
  const url = URL.createObjectURL(sound);
  return new Promise<number | undefined>((resolve) => {
    audio.addEventListener("loadedmetadata", () => resolve(Number.isFinite(audio.duration) ? audio.duration : undefined));
    audio.addEventListener("error", () => resolve(undefined));
    audio.preload = "metadata";
    audio.src = url;
  }).finally(() => {
    audio.removeAttribute("src");
    URL.revokeObjectURL(url);
  });
}
