/** What single keys do, wherever the focus is, but for text fields. They can be switched off. */

import { player, STEP_SECONDS } from "../sound/player.ts";
import { linesOf, openId, redo, undo } from "../store/recordings.ts";
import { settings } from "../store/settings.ts";
import { focusWord } from "./cursor.ts";
import { beginLoop, changeRate, endLoop, placeNow, toggleLineLoop, toNextUnsure } from "./playing.ts";
import { helpShown, liveShown } from "./shown.ts";
import { editing } from "./transcript.tsx";

type Act = () => void;

export function listenForShortcuts(): () => void {
  addEventListener("keydown", pressed);
  return () => removeEventListener("keydown", pressed);
}

function pressed(event: KeyboardEvent): void {
  if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
  const act = event.ctrlKey || event.metaKey ? withControl(event) : event.altKey ? undefined : single(event);
  if (!act) return;
  event.preventDefault();
  act();
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.closest("input:not([type=checkbox]), textarea, select") !== null;
}

function withControl(event: KeyboardEvent): Act | undefined {
  const id = openId.value;
  if (id === undefined || event.key.toLowerCase() !== "z") return undefined;
  return event.shiftKey ? () => redoChange(id) : () => undoChange(id);
}

export function undoChange(id: string): void {
  showLine(id, undo(id));
}

export function redoChange(id: string): void {
  showLine(id, redo(id));
}

function showLine(id: string, line: number | undefined): void {
  if (line === undefined || !linesOf(id).value[line]?.words.length) return;
  requestAnimationFrame(() => focusWord({ line, word: 0 }));
}

function single(event: KeyboardEvent): Act | undefined {
  const id = openId.value;
  if (!settings.value.singleKeys) return undefined;
  if (event.key === "?") return () => (helpShown.value = true);
  if (id === undefined || liveShown.value) return undefined;
  if (event.key === " ") return doesSomethingOnSpace(event.target) ? undefined : () => player.toggle();
  return actions(id)[event.shiftKey ? `Shift+${event.key.toLowerCase()}` : event.key];
}

const doesSomethingOnSpace = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement && target.matches("button, a, [type=checkbox]");

function actions(id: string): Readonly<Record<string, Act>> {
  return {
    j: () => player.skip(-STEP_SECONDS),
    l: () => player.skip(STEP_SECONDS),
    "[": () => changeRate(-1),
    "]": () => changeRate(1),
    r: () => toggleLineLoop(id),
    i: beginLoop,
    o: endLoop,
    u: () => toNextUnsure(id),
    e: () => edit(id, false),
    "Shift+e": () => edit(id, true),
  };
}

function edit(id: string, wholeLine: boolean): void {
  const place = placeNow(id);
  if (place) editing.value = wholeLine ? { line: place.line } : place;
}
