/** The API key, where the server asks for one. It is kept in this browser and sent to this server alone. */

import { signal } from "@preact/signals";

const NAME = "lithophone.key";

export const apiKey = signal(read());

function read(): string {
  try {
    return localStorage.getItem(NAME) ?? "";
  } catch {
    return "";
  }
}

/** Keep the key; an empty one is forgotten. */
export function keepKey(key: string): void {
  apiKey.value = key;
  try {
    if (key) localStorage.setItem(NAME, key);
    else localStorage.removeItem(NAME);
  } catch {
    // A browser that keeps nothing asks again after a reload.
  }
}

export const authorization = (): Record<string, string> =>
  apiKey.value ? { Authorization: `Bearer ${apiKey.value}` } : {};
