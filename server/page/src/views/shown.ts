/** What is shown beside the recordings. */

import { signal } from "@preact/signals";

export const liveShown = signal(false);
export const helpShown = signal(false);
export const keyShown = signal(false);
