/** Which page writes captions: each holds a lock while it listens, so that the others know when it is gone. */

import type { Problem } from "./database.ts";
import { change, kept, recordings } from "./recordings.ts";

const lockOf = (id: string): string => `lithophone.listening.${id}`;
const locks = (navigator as Partial<Navigator>).locks;

/** This page listens; the function that is returned says that it does no more. */
export function listen(id: string): () => void {
  let stop = (): void => undefined;
  const stopped = new Promise<void>((resolve) => {
    stop = resolve;
  });
  void locks?.request(lockOf(id), () => stopped);
  return stop;
}

/** Captions whose page ended before they did say so, now or when that page ends. */
export function endLostCaptions(): void {
  for (const { id, status } of recordings.value) {
    if (status === "listening") void locks?.request(lockOf(id), () => endLost(id));
  }
}

async function endLost(id: string): Promise<void> {
  if ((await kept(id))?.status === "listening") change(id, { status: "interrupted", problem: LOST });
}

const LOST: Problem = {
  message: "The page was closed or reloaded while it listened.",
  advice: "What was final until then is kept, and the sound but for its last seconds. Start it again for the whole.",
};
