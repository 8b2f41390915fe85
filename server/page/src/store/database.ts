/** What this browser keeps: recordings, their lines, their sound. Nothing of it leaves this machine. */

import { type DBSchema, type IDBPDatabase, openDB } from "idb";
import type { Speakers } from "../text/speakers.ts";
import type { Line } from "../text/words.ts";
import type { Wish } from "../wire/transcribe.ts";

export type Status = "waiting" | "sending" | "recognising" | "listening" | "done" | "failed" | "cancelled" | "interrupted";

/** What went wrong, in the words of whoever knows. */
export interface Problem {
  readonly message: string;
  readonly advice: string;
  readonly reference?: string;
}

/** A recording and how far it is; its lines and its sound are kept beside it. */
export interface Recording {
  readonly id: string;
  readonly name: string;
  readonly created: number;
  readonly bytes: number;
  readonly status: Status;
  readonly wish: Wish;
  readonly speakers: Speakers;
  readonly seconds?: number;
  readonly share?: number;
  readonly language?: string;
  readonly problem?: Problem;
  readonly warning?: string;
}

interface Schema extends DBSchema {
  recordings: { key: string; value: Recording };
  lines: { key: string; value: readonly Line[] };
  sound: { key: string; value: Blob };
  peaks: { key: string; value: Float32Array<ArrayBuffer> };
}

type Store = "lines" | "sound" | "peaks";

/** The tables; where the browser keeps none, everything lives as long as the page does. */
export class Database {
  private constructor(
    private readonly base: IDBPDatabase<Schema> | undefined,
    private readonly memory = new Map<string, unknown>(),
  ) {}

  /** Whether what is put in outlives the page. */
  get lasting(): boolean {
    return this.base !== undefined;
  }

  static async open(): Promise<Database> {
    try {
      const base = await openDB<Schema>("lithophone", 1, {
        upgrade(made) {
          made.createObjectStore("recordings", { keyPath: "id" });
          for (const store of ["lines", "sound", "peaks"] as const) made.createObjectStore(store);
        },
      });
      return new Database(base);
    } catch {
      return new Database(undefined);
    }
  }

  /** All recordings, the newest first. */
  async recordings(): Promise<Recording[]> {
    const all = (await this.base?.getAll("recordings")) ?? [];
    return all.toSorted((one, other) => other.created - one.created);
  }

  async recording(id: string): Promise<Recording | undefined> {
    return this.base?.get("recordings", id);
  }

  /** Write down what has changed of a recording, beside what another page may have changed meanwhile. */
  async keep(recording: Recording, changed: Partial<Recording>): Promise<void> {
    const change = this.base?.transaction("recordings", "readwrite");
    const kept = await change?.store.get(recording.id);
    await change?.store.put(kept ? { ...kept, ...changed } : recording);
    await change?.done;
  }

  async get<Name extends Store>(store: Name, id: string): Promise<Schema[Name]["value"] | undefined> {
    const kept = (await this.base?.get(store, id)) as Schema[Name]["value"] | undefined;
    return kept ?? (this.memory.get(`${store}/${id}`) as Schema[Name]["value"] | undefined);
  }

  /** Keep a value; false if it will be gone after a reload. */
  async put<Name extends Store>(store: Name, id: string, value: Schema[Name]["value"]): Promise<boolean> {
    try {
      if (!this.base) throw new Error("no database");
      const change = this.base.transaction(store, "readwrite");
      void change.store.put(value, id);
      change.commit(); // at once, so that it stands even if the page goes away this very moment
      await change.done;
      return true;
    } catch {
      this.memory.set(`${store}/${id}`, value);
      return false;
    }
  }

  /** Keep a piece of a sound that goes on; false if it will be gone after a reload. */
  async addPiece(id: string, place: number, piece: Blob): Promise<boolean> {
    try {
      await this.base?.put("sound", piece, `${id}/${String(place).padStart(8, "0")}`);
      return this.lasting;
    } catch {
      return false;
    }
  }

  /** The pieces of a sound, in their order. */
  async pieces(id: string): Promise<Blob[]> {
    return (await this.base?.getAll("sound", piecesOf(id))) ?? [];
  }

  async dropPieces(id: string): Promise<void> {
    await this.base?.delete("sound", piecesOf(id));
  }

  async remove(id: string): Promise<void> {
    for (const store of ["lines", "sound", "peaks"] as const) {
      this.memory.delete(`${store}/${id}`);
      await this.base?.delete(store, id);
    }
    await this.dropPieces(id);
    await this.base?.delete("recordings", id);
  }
}

/** The keys that begin with the recording's and a slash; `0` is the character behind it. */
const piecesOf = (id: string): IDBKeyRange => IDBKeyRange.bound(`${id}/`, `${id}0`, false, true);
