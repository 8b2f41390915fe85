/** How loud a recording is where: the waveform that is drawn. Pure. */

export const PEAKS_PER_SECOND = 20;

/** The loudest sample of every `1 / PEAKS_PER_SECOND` seconds, 0 to 1. */
export class PeakMeter {
  private peaks: Float32Array;
  private known = 0;

  constructor(expectedSeconds: number) {
    this.peaks = new Float32Array(Math.max(1, Math.ceil(expectedSeconds * PEAKS_PER_SECOND)));
  }

  /** Samples of one channel from `start` seconds on. */
  add(samples: Float32Array, sampleRate: number, start: number): void {
    const step = sampleRate / PEAKS_PER_SECOND;
    const first = start * PEAKS_PER_SECOND;
    this.reserve(Math.ceil(first + samples.length / step));
    for (let index = 0; index < samples.length; index += 1) {
      const place = Math.max(0, Math.floor(first + index / step));
      const level = Math.abs(samples[index] ?? 0);
      if (level > (this.peaks[place] ?? 0)) this.peaks[place] = level;
    }
    this.known = Math.max(this.known, Math.ceil(first + samples.length / step));
  }

  /** All peaks so far, as many as the recording is expected to have; what is not heard yet is 0. */
  snapshot(): Float32Array<ArrayBuffer> {
    return this.peaks.slice();
  }

  /** The peaks of what was heard. */
  finish(): Float32Array<ArrayBuffer> {
    return this.peaks.slice(0, Math.max(1, this.known));
  }

  private reserve(length: number): void {
    if (length <= this.peaks.length) return;
    const longer = new Float32Array(Math.max(length, this.peaks.length * 2));
    longer.set(this.peaks);
    this.peaks = longer;
  }
}

/** A stand-in where the browser cannot decode the sound: a bar wherever words are. */
export function peaksOfWords(words: Iterable<{ start: number; end: number }>, seconds: number): Float32Array<ArrayBuffer> {
  const peaks = new Float32Array(Math.max(1, Math.ceil(seconds * PEAKS_PER_SECOND)));
  for (const { start, end } of words) peaks.fill(0.5, Math.floor(start * PEAKS_PER_SECOND), Math.ceil(end * PEAKS_PER_SECOND));
  return peaks;
}
