/** The waveform of a recording, as much of it as is known. */

import { PeakMeter } from "./peaks.ts";
import type { PeakReport } from "./peaks.worker.ts";
import PeaksWorker from "./peaks.worker.ts?worker";

/** The longest recording that is decoded at once where the worker cannot: half an hour takes about 350 MB for a while. */
const LONGEST_AT_ONCE_SECONDS = 1800;

/** Measure `file` and tell of it, again and again until all is known. Tells nothing where the browser cannot decode it. */
export function measurePeaks(
  file: Blob,
  seconds: number,
  tell: (peaks: Float32Array<ArrayBuffer>, done: boolean) => void,
  signal: AbortSignal,
): void {
  const worker = new PeaksWorker();
  signal.addEventListener("abort", () => worker.terminate());
  worker.addEventListener("message", ({ data }: MessageEvent<PeakReport>) => {
    if (data.kind === "peaks") tell(data.peaks, data.done);
    else void atOnce(file, seconds).then((peaks) => peaks && !signal.aborted && tell(peaks, true));
    if (data.kind === "undecodable" || data.done) worker.terminate();
  });
  worker.postMessage(file);
}

/** The old way, which needs no secure context and knows what the browser's player knows. */
async function atOnce(file: Blob, seconds: number): Promise<Float32Array<ArrayBuffer> | undefined> {
  if (!(seconds <= LONGEST_AT_ONCE_SECONDS)) return undefined;
  try {
    const context = new OfflineAudioContext({ length: 1, sampleRate: 8000 });
    const sound = await context.decodeAudioData(await file.arrayBuffer());
    const meter = new PeakMeter(sound.duration);
    meter.add(sound.getChannelData(0), sound.sampleRate, 0);
    return meter.finish();
  } catch {
    return undefined;
  }
}
