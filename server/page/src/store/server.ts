/** What is known of the server: whether it answers, its models, whether it wants a key. */

import { computed, signal } from "@preact/signals";
import { Refused } from "../wire/failures.ts";
import { load, type Model, models, type Welcome, welcome } from "../wire/server.ts";
import { choose, settings } from "./settings.ts";

const POLL_MS = 1000;
const CALM_POLL_MS = 30_000;

export const about = signal<Welcome | undefined>(undefined);
export const served = signal<readonly Model[]>([]);
export const reachable = signal(true);
/** The server's own words when it refused the key, or asked for one. */
export const keyWanted = signal("");
/** Models somebody asked to be loaded, and since when. */
export const loading = signal<ReadonlyMap<string, number>>(new Map());
/** Why a model was not loaded, by its id. */
export const loadProblems = signal<ReadonlyMap<string, string>>(new Map());

/** The model that is chosen; the default one where nothing is, or what was is not served any more. */
export const chosenModel = computed<Model | undefined>(
  () =>
    served.value.find((model) => model.id === settings.value.model) ??
    served.value.find((model) => model.id === about.value?.model) ??
    served.value[0],
);

/** The real model that a demonstration can be left for, where one is served. */
export const realModel = computed<Model | undefined>(() =>
  served.value.find((model) => model.lithophone.stands_for === null),
);

let timer: ReturnType<typeof setTimeout> | undefined;

/** Ask now, and again and again: soon while something loads, seldom while nothing does. */
export async function watchServer(): Promise<void> {
  clearTimeout(timer);
  if (document.visibilityState === "visible") await lookAtServer();
  const busy = !reachable.value || loading.value.size > 0 || served.value.some(isUnderWay);
  timer = setTimeout(() => void watchServer(), busy ? POLL_MS : CALM_POLL_MS);
}

const isUnderWay = (model: Model): boolean => ["loading", "restarting"].includes(model.lithophone.state);

async function lookAtServer(): Promise<void> {
  try {
    about.value = await welcome();
    served.value = await models();
    reachable.value = true;
    keyWanted.value = "";
  } catch (failure) {
    if (failure instanceof Refused) reachable.value = true;
    else reachable.value = false;
    if (failure instanceof Refused && failure.status === 401) keyWanted.value = failure.message;
  }
}

/** Load a model, and say so until it is there. */
export async function loadModel(id: string): Promise<void> {
  loadProblems.value = without(loadProblems.value, id);
  loading.value = new Map(loading.value).set(id, Date.now());
  void watchServer();
  try {
    const model = await load(id);
    if (model.lithophone.state === "loading") return;
  } catch (failure) {
    const message = failure instanceof Refused ? failure.message : "The server cannot be reached.";
    loadProblems.value = new Map(loadProblems.value).set(id, message);
  } finally {
    loading.value = without(loading.value, id);
    void watchServer();
  }
}

export const chooseModel = (id: string): void => choose({ model: id });

function without<Value>(map: ReadonlyMap<string, Value>, key: string): ReadonlyMap<string, Value> {
  const rest = new Map(map);
  rest.delete(key);
  return rest;
}
