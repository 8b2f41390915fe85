/** Decodes a recording piece by piece, away from the page, so that two hours take no more memory than two minutes. */

import { ADTS, AudioSampleSink, BlobSource, FLAC, Input, MATROSKA, MP3, MP4, OGG, QTFF, WAVE, WEBM } from "mediabunny";
import { PeakMeter } from "./peaks.ts";

const FORMATS = [MP3, WAVE, OGG, MP4, QTFF, WEBM, MATROSKA, FLAC, ADTS];
const REPORT_MS = 700;

/** What the worker says; `undecodable` where this browser has no decoder for the sound. */
export type PeakReport =
  | { readonly kind: "peaks"; readonly peaks: Float32Array<ArrayBuffer>; readonly done: boolean }
  | { readonly kind: "undecodable" };

addEventListener("message", ({ data }: MessageEvent<Blob>) => {
  measure(data).catch(() => say({ kind: "undecodable" }));
});

async function measure(file: Blob): Promise<void> {
  using input = new Input({ source: new BlobSource(file), formats: FORMATS });
  const track = await input.getPrimaryAudioTrack();
  if (!track || !(await track.canDecode())) {
    say({ kind: "undecodable" });
    return;
  }
  const meter = new PeakMeter(await track.computeDuration());
  let reported = performance.now();
  for await (const sample of new AudioSampleSink(track).samples()) {
    const samples = new Float32Array(sample.numberOfFrames);
    sample.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
    meter.add(samples, sample.sampleRate, sample.timestamp);
    sample.close();
    if (performance.now() - reported > REPORT_MS) {
      reported = performance.now();
      report(meter.snapshot(), false);
    }
  }
  report(meter.finish(), true);
}

const report = (peaks: Float32Array<ArrayBuffer>, done: boolean): void => say({ kind: "peaks", peaks, done });

function say(message: PeakReport): void {
  postMessage(message, message.kind === "peaks" ? { transfer: [message.peaks.buffer] } : {});
}
