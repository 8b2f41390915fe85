/** The microphone as PCM for `/v1/realtime`. */

import workletUrl from "./capture.worklet.ts?worker&url";
import { LIVE_RATE, pcm16, Resampler } from "./pcm.ts";

/** Samples at 24 kHz from a stream, until it is closed. */
export class Capture {
  private constructor(
    private readonly context: AudioContext,
    private readonly stream: MediaStream,
  ) {}

  static async open(stream: MediaStream, hear: (pcm: Int16Array<ArrayBuffer>) => void): Promise<Capture> {
    const context = contextFor(stream);
    await context.audioWorklet.addModule(workletUrl);
    const node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
    const resampler = new Resampler(context.sampleRate, LIVE_RATE);
    node.port.addEventListener("message", ({ data }: MessageEvent<Float32Array>) => hear(pcm16(resampler.push(data))));
    node.port.start();
    context.createMediaStreamSource(stream).connect(node);
    return new Capture(context, stream);
  }

  close(): void {
    for (const track of this.stream.getTracks()) track.stop();
    void this.context.close();
  }
}

/** At 24 kHz where the browser resamples a microphone, else at the rate it has. */
function contextFor(stream: MediaStream): AudioContext {
  const context = new AudioContext({ sampleRate: LIVE_RATE });
  try {
    context.createMediaStreamSource(stream);
    return context;
  } catch {
    void context.close();
    return new AudioContext();
  }
}
