/** Sizes as a person says them. Pure. */

/** `5.6 M`, `3 B` words a model's parameters. */
export function parameterCount(count: number): string {
  return count >= 1e9 ? `${(count / 1e9).toFixed(1).replace(/\.0$/u, "")} billion` : `${(count / 1e6).toFixed(1).replace(/\.0$/u, "")} million`;
}

/** `6.0 GB`, `180 MB`, `12 kB`. */
export function byteCount(bytes: number): string {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`;
  return bytes >= 1e6 ? `${Math.round(bytes / 1e6)} MB` : `${Math.max(1, Math.round(bytes / 1e3))} kB`;
}
