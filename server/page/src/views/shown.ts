/** What is shown beside the recordings. */

import { signal } from "@preact/signals";

export const liveShown = signal(false);
/** The recording that captions are being written into. */
export const liveId = signal<string | undefined>(undefined);
export const helpShown = signal(false);
export const keyShown = signal(false);
