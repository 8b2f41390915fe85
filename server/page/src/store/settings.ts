/** What a person chose last, kept in this browser. */

import { signal } from "@preact/signals";

export interface Settings {
  readonly model: string;
  readonly language: string;
  readonly translateTo: string;
  readonly speakers: boolean;
  readonly keywords: string;
  readonly format: "srt" | "vtt" | "txt" | "json";
  readonly rate: number;
  readonly markUnsure: boolean;
  readonly singleKeys: boolean;
}

const NAME = "lithophone.settings";
const DEFAULTS: Settings = {
  model: "",
  language: "",
  translateTo: "",
  speakers: false,
  keywords: "",
  format: "srt",
  rate: 1,
  markUnsure: true,
  singleKeys: true,
};

export const settings = signal<Settings>(read());

function read(): Settings {
  try {
    return { ...DEFAULTS, ...(JSON.parse(localStorage.getItem(NAME) ?? "{}") as Partial<Settings>) };
  } catch {
    return DEFAULTS;
  }
}

export function choose(change: Partial<Settings>): void {
  settings.value = { ...settings.value, ...change };
  try {
    localStorage.setItem(NAME, JSON.stringify(settings.value));
  } catch {
    // Chosen for as long as the page is open.
  }
}
