/** Times as a person or a file has them. A time is rounded to whole milliseconds once, before it is split. */

/** Whole milliseconds; a half goes to the even neighbour, as Python rounds. */
export function milliseconds(seconds: number): number {
  const value = seconds * 1000;
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 ? 2 * Math.round(value / 2) : rounded;
}

/** `HH:MM:SS` and three digits behind `decimalMark`; hours have two digits or more. */
export function clock(timeMs: number, decimalMark: string): string {
  const parts = [Math.floor(timeMs / 3_600_000), Math.floor(timeMs / 60_000) % 60, Math.floor(timeMs / 1000) % 60];
  return parts.map((part) => String(part).padStart(2, "0")).join(":") + decimalMark + String(timeMs % 1000).padStart(3, "0");
}

/** `1:02:05` or `2:05`: whole seconds, as a player shows them. */
export function shortClock(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const pair = (value: number): string => String(value).padStart(2, "0");
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return hours > 0 ? `${hours}:${pair(minutes)}:${pair(rest)}` : `${minutes}:${pair(rest)}`;
}

/** `1 h 2 min`, `2 min 5 s`: as a person says how long something is. */
export function spokenLength(seconds: number): string {
  const whole = Math.round(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${rest} s` : `${rest} s`;
}
