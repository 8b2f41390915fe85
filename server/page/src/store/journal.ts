/** Corrections on their way to the database. A page that goes away this very moment may take a write of the database with it;
 *  what is noted here stands at once. */

import type { Line } from "../text/words.ts";

const PREFIX = "lithophone.corrected.";
type Noted = Record<string, Line>;

/** Note a line of a recording. */
export function note(id: string, line: Line): void {
  keep(id, { ...read(id), [line.id]: line });
}

/** The lines of a recording with what was noted of them; the same ones where nothing was. */
export function withNoted(id: string, lines: readonly Line[]): readonly Line[] {
  const noted = Object.values(read(id)).filter(({ id: place }) => place < lines.length);
  return noted.reduce<readonly Line[]>((all, line) => all.with(line.id, line), lines);
}

/** The database has them, or nobody wants them any more. */
export function forget(id: string): void {
  try {
    localStorage.removeItem(PREFIX + id);
  } catch {
    // a browser that keeps nothing for pages: nothing was noted
  }
}

function read(id: string): Noted {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + id) ?? "{}") as Noted;
  } catch {
    return {};
  }
}

function keep(id: string, noted: Noted): void {
  try {
    localStorage.setItem(PREFIX + id, JSON.stringify(noted));
  } catch {
    // no room, or nothing kept: the database alone has to do
  }
}
