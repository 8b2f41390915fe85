/** The word that is heard and the word that has the focus, as elements: 20,000 words are not drawn anew for either. */

import type { Place } from "../text/finding.ts";

/** The element of a word. */
export const wordElement = ({ line, word }: Place): HTMLElement | null =>
  document.querySelector<HTMLElement>(`#line-${line} [data-w="${word}"]`);

/** The word that an element is, or lies in. */
export function placeOfElement(element: Element | null): Place | undefined {
  const word = element?.closest<HTMLElement>("[data-w]");
  const line = word?.closest<HTMLElement>("[data-line]");
  return word && line ? { line: Number(line.dataset.line), word: Number(word.dataset.w) } : undefined;
}

/** The word with the focus. */
export const focusedPlace = (): Place | undefined => placeOfElement(document.activeElement);

let lit: HTMLElement | null = null;

/** Light a word up, and no other. */
export function lightUp(place: Place | undefined): void {
  const element = place ? wordElement(place) : null;
  if (element === lit) return;
  lit?.classList.remove("now");
  element?.classList.add("now");
  lit = element;
}

let stop: HTMLElement | null = null;

/** Make a word the one that Tab comes to: one stop for the whole transcript, arrows lead on from there. */
export function makeStop(element: HTMLElement | null): void {
  if (!element || element === stop) return;
  stop?.removeAttribute("tabindex");
  stop?.removeAttribute("role");
  element.tabIndex = 0;
  element.setAttribute("role", "button");
  stop = element;
}

/** Put the focus on a word, in sight. */
export function focusWord(place: Place): void {
  const element = wordElement(place);
  makeStop(element);
  element?.focus({ preventScroll: true });
  if (element) bringIntoSight(element);
}

/** Whether there still is a word that Tab comes to. */
export const hasStop = (): boolean => stop?.isConnected === true;

const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** Scroll only where an element is hidden, and then so far that it stands free of the bars above and below. */
export function bringIntoSight(element: HTMLElement): void {
  const { top, bottom } = element.getBoundingClientRect();
  const [above, below] = edges();
  if (top >= above && bottom <= below) return;
  element.scrollIntoView({ block: "center", behavior: calm.matches ? "auto" : "smooth" });
}

/** What the player's bar leaves of the window: it sticks to the top, or on a phone to the bottom. */
function edges(): [number, number] {
  const bar = document.querySelector(".player")?.getBoundingClientRect();
  if (!bar) return [0, innerHeight];
  return bar.top > innerHeight / 2 ? [0, bar.top] : [Math.max(0, bar.bottom), innerHeight];
}
