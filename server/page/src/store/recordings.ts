/** The recordings on this machine, the one that is open, and every change to them. */

import { batch, computed, type Signal, signal } from "@preact/signals";
import { type History, NO_HISTORY, remember } from "../text/editing.ts";
import { LIVE_RATE, wavFile } from "../sound/pcm.ts";
import type { Line } from "../text/words.ts";
import type { Wish } from "../wire/transcribe.ts";
import { Database, type Recording } from "./database.ts";
import { forget, note, withNoted } from "./journal.ts";

const SAVE_AFTER_MS = 400;
const NO_LINES: readonly Line[] = [];

export const recordings = signal<readonly Recording[]>([]);
export const openId = signal<string | undefined>(undefined);
export const opened = computed(() => recordings.value.find((one) => one.id === openId.value));
/** Something that a person should know about what is kept. */
export const keeping = signal("");
/** Read out once by screen readers: what is final. */
export const announcement = signal("");

const transcripts = new Map<string, Signal<readonly Line[]>>();
const histories = new Map<string, Signal<History>>();
const unsaved = new Map<string, ReturnType<typeof setTimeout>>();
const changedLines = new Set<string>();
const changes = new Map<string, Partial<Recording>>();
/** Files that came while this page was open: there at once, before they are written down. */
const sounds = new Map<string, Blob>();
const channel = "BroadcastChannel" in globalThis ? new BroadcastChannel("lithophone") : undefined;
let database: Database | undefined;

/** Open the database and show what is in it. */
export async function openStore(): Promise<void> {
  database = await Database.open();
  recordings.value = await database.recordings();
  if (!database.lasting) keeping.value = "This browser keeps nothing for pages: download what you need before you leave.";
  channel?.addEventListener("message", ({ data }: MessageEvent<string>) => void reread(data));
  addEventListener("pagehide", saveAll);
}

/** Another page of this browser changed a recording. */
async function reread(id: string): Promise<void> {
  const kept = await database?.recording(id);
  const fresh = kept && { ...kept, ...changes.get(id) };
  const rest = recordings.value.filter((one) => one.id !== id);
  recordings.value = fresh ? [...rest, fresh].toSorted((one, other) => other.created - one.created) : rest;
  const lines = fresh && transcripts.has(id) && !changedLines.has(id) ? await database?.get("lines", id) : undefined;
  if (lines) linesOf(id).value = lines;
}

/** The lines of a recording; empty until they are read. */
export function linesOf(id: string): Signal<readonly Line[]> {
  let lines = transcripts.get(id);
  if (!lines) {
    lines = signal(NO_LINES);
    transcripts.set(id, lines);
  }
  return lines;
}

export function historyOf(id: string): Signal<History> {
  let history = histories.get(id);
  if (!history) {
    history = signal(NO_HISTORY);
    histories.set(id, history);
  }
  return history;
}

/** Show a recording. */
export async function open(id: string | undefined): Promise<void> {
  if (id !== undefined) await readLines(id);
  openId.value = id;
}

/** Fetch a recording's lines, unless some are there: what is being heard is newer than what was kept. */
async function readLines(id: string): Promise<void> {
  const lines = linesOf(id);
  const kept = lines.value === NO_LINES ? await database?.get("lines", id) : undefined;
  if (!kept || lines.value !== NO_LINES) return;
  lines.value = withNoted(id, kept);
  if (lines.value !== kept) setLines(id, lines.value);
}

export const soundOf = async (id: string): Promise<Blob | undefined> =>
  sounds.get(id) ?? (await database?.get("sound", id)) ?? heardSoFar(id);

/** The sound of captions that were cut short. */
async function heardSoFar(id: string): Promise<Blob | undefined> {
  const pieces = (await database?.pieces(id)) ?? [];
  const bytes = pieces.reduce((sum, { size }) => sum + size, 0);
  return bytes > 0 ? wavFile(pieces, bytes, LIVE_RATE, find(id)?.name ?? "captions.wav") : undefined;
}

export const peaksOf = async (id: string): Promise<Float32Array<ArrayBuffer> | undefined> => database?.get("peaks", id);
export const keepPeaks = async (id: string, peaks: Float32Array<ArrayBuffer>): Promise<void> => {
  await database?.put("peaks", id, peaks);
};

/** Take in a file; it waits for its turn. */
export async function add(file: File, wish: Wish): Promise<Recording> {
  const recording = create({ name: file.name, bytes: file.size, status: "waiting", wish }, file);
  await keepSound(recording.id, file);
  await save(recording.id);
  return recording;
}

/** A recording of which nothing is known but this. */
export function create(known: Pick<Recording, "name" | "bytes" | "status" | "wish">, sound?: Blob): Recording {
  const recording: Recording = { ...known, id: newId(), created: nextMoment(), speakers: {} };
  if (sound) sounds.set(recording.id, sound);
  recordings.value = [recording, ...recordings.value];
  return recording;
}

/** Keep the sound of a recording, on disk if there is room. */
export async function keepSound(id: string, sound: Blob): Promise<void> {
  sounds.set(id, sound);
  const kept = await database?.put("sound", id, sound);
  if (kept === false && database?.lasting) keeping.value = NO_ROOM;
}

/** Keep a piece of sound behind those before it, while there is more to come. */
export async function keepPiece(id: string, place: number, piece: Blob): Promise<void> {
  const kept = await database?.addPiece(id, place, piece);
  if (kept === false && database?.lasting) keeping.value = NO_ROOM;
}

/** Keep the whole of what was kept in pieces; those stay where there is no room for both. */
export async function keepWhole(id: string, sound: Blob): Promise<void> {
  sounds.set(id, sound);
  if (await database?.put("sound", id, sound)) await database?.dropPieces(id);
}

/** A recording as it is written down, whatever this page thinks. */
export const kept = async (id: string): Promise<Recording | undefined> => database?.recording(id);

const NO_ROOM =
  "This browser has no room for the sound of a recording. Its transcript is kept; after a reload choose the file again to hear it.";

let lastMoment = 0;

/** Now, and later than ever before: recordings are told apart by it. */
function nextMoment(): number {
  lastMoment = Math.max(Date.now(), lastMoment + 1);
  return lastMoment;
}

function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("");
}

export const find = (id: string): Recording | undefined => recordings.value.find((one) => one.id === id);

/** Change what is known of a recording. */
export function change(id: string, changed: Partial<Recording>): void {
  recordings.value = recordings.value.map((one) => (one.id === id ? { ...one, ...changed } : one));
  changes.set(id, { ...changes.get(id), ...changed });
  saveSoon(id);
}

/** Put other lines in place of those a recording had. */
export function setLines(id: string, lines: readonly Line[]): void {
  linesOf(id).value = lines;
  changedLines.add(id);
  saveSoon(id);
}

/** A person's correction, which can be undone. */
export function correct(id: string, after: Line): void {
  const before = linesOf(id).value[after.id];
  if (!before || before === after) return;
  batch(() => {
    put(id, after);
    historyOf(id).value = remember(historyOf(id).value, { before, after });
  });
}

/** Take the last correction back; gives the place of its line. */
export function undo(id: string): number | undefined {
  const { done, undone } = historyOf(id).value;
  const last = done.at(-1);
  if (last) step(id, last.before, { done: done.slice(0, -1), undone: [...undone, last] });
  return last?.before.id;
}

/** Make the last correction that was taken back once more. */
export function redo(id: string): number | undefined {
  const { done, undone } = historyOf(id).value;
  const last = undone.at(-1);
  if (last) step(id, last.after, { done: [...done, last], undone: undone.slice(0, -1) });
  return last?.after.id;
}

function step(id: string, line: Line, history: History): void {
  batch(() => {
    put(id, line);
    historyOf(id).value = history;
  });
}

function put(id: string, line: Line): void {
  note(id, line);
  setLines(id, linesOf(id).value.with(line.id, line));
  void save(id);
}

/** Forget a recording and all that belongs to it. */
export async function remove(id: string): Promise<void> {
  if (openId.value === id) openId.value = undefined;
  recordings.value = recordings.value.filter((one) => one.id !== id);
  clearTimeout(unsaved.get(id));
  for (const map of [unsaved, transcripts, histories, sounds, changes]) map.delete(id);
  forget(id);
  await database?.remove(id);
  channel?.postMessage(id);
}

function saveSoon(id: string): void {
  if (unsaved.has(id)) return;
  unsaved.set(id, setTimeout(() => void save(id), SAVE_AFTER_MS));
}

/** Write down what has changed of a recording. */
export async function save(id: string): Promise<void> {
  clearTimeout(unsaved.get(id));
  unsaved.delete(id);
  const recording = find(id);
  if (!recording) return;
  const lines = changedLines.delete(id) ? transcripts.get(id)?.value : undefined;
  const changed = changes.get(id) ?? {};
  changes.delete(id);
  const [, written] = await Promise.all([database?.keep(recording, changed), lines && database?.put("lines", id, lines)]);
  if (written && !changedLines.has(id)) forget(id);
  channel?.postMessage(id);
}

function saveAll(): void {
  for (const id of unsaved.keys()) void save(id);
}
