/** Small pictures. They say nothing to screen readers: the controls they stand in have names. */

const PATHS = {
  add: "M12 5v14M5 12h14",
  again: "M19.5 12.5a7.5 7.5 0 1 1-2.6-5.7M19.5 3.5v4.3h-4.3",
  back: "M15 5l-7 7 7 7",
  captions: "M4 6h16v12H4zM7.5 14.5h4M14 14.5h2.5M7.5 11h2M12 11h4.5",
  check: "M5 12.5l4.5 4.5L19 7.5",
  close: "M6 6l12 12M18 6L6 18",
  copy: "M9 9h10v11H9zM5 15V4h10",
  down: "M12 4v11M7 11l5 5 5-5M5 20h14",
  edit: "M4 20h4L19 9l-4-4L4 16zM13 7l4 4",
  file: "M6 3h8l4 4v14H6zM14 3v4h4",
  forward: "M19.5 12.5a7.5 7.5 0 1 1-2.6-5.7M19.5 3.5v4.3h-4.3",
  key: "M14.5 9.5a4.5 4.5 0 1 0-4.2 4.5L11 14h2v2h2v2h4v-3l-4.6-4.4zM8 9h.01",
  keyboard: "M3 7h18v10H3zM7 10.5h.01M10.3 10.5h.01M13.6 10.5h.01M17 10.5h.01M8 14h8",
  loop: "M17 3l3 3-3 3M20 6H8a4 4 0 0 0-4 4v1M7 21l-3-3 3-3M4 18h12a4 4 0 0 0 4-4v-1",
  mic: "M12 3a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3zM6 11a6 6 0 0 0 12 0M12 17v4M9 21h6",
  on: "M12 3v8M7.2 6.4a7.5 7.5 0 1 0 9.6 0",
  pause: "M8.5 5v14M15.5 5v14",
  play: "M8 5v14l11-7z",
  redo: "M19 9H9a5 5 0 0 0 0 10h4M15 5l4 4-4 4",
  rewind: "M4.5 12.5a7.5 7.5 0 1 0 2.6-5.7M4.5 3.5v4.3h4.3",
  stop: "M7 7h10v10H7z",
  trash: "M5 7h14M9 7V4h6v3M7 7l1 13h8l1-13M10.5 11v5M13.5 11v5",
  undo: "M5 9h10a5 5 0 0 1 0 10h-4M9 5L5 9l4 4",
  upload: "M12 16V5M7 9l5-5 5 5M5 20h14",
  warn: "M12 4l9 16H3zM12 10v4M12 17h.01",
} as const;

export type IconName = keyof typeof PATHS;

const FILLED: ReadonlySet<IconName> = new Set(["play", "stop"]);

export function Icon({ name }: { readonly name: IconName }) {
  return (
    <svg class={FILLED.has(name) ? "icon filled" : "icon"} viewBox="0 0 24 24" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}

/** Five stones of different lengths: a lithophone, and a waveform. */
export function Mark() {
  return (
    <svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
      <rect x="3" y="12" width="4" height="8" rx="2" />
      <rect x="8.5" y="8" width="4" height="16" rx="2" />
      <rect x="14" y="3" width="4" height="26" rx="2" />
      <rect x="19.5" y="9" width="4" height="14" rx="2" />
      <rect x="25" y="13" width="4" height="6" rx="2" />
    </svg>
  );
}
