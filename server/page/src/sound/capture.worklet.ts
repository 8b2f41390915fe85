/** Runs on the audio thread: hands the microphone's samples to the page in pieces of about 50 ms. */

interface WorkletScope {
  registerProcessor(name: string, kind: new () => object): void;
  AudioWorkletProcessor: new () => { readonly port: MessagePort };
  sampleRate: number;
}
const scope = globalThis as unknown as WorkletScope;

class Capture extends scope.AudioWorkletProcessor {
  private samples = new Float32Array(Math.round(scope.sampleRate / 20));
  private filled = 0;

  process([input]: Float32Array[][]): boolean {
    for (const sample of input?.[0] ?? []) {
      this.samples[this.filled] = sample;
      this.filled += 1;
      if (this.filled === this.samples.length) this.send();
    }
    return true;
  }

  private send(): void {
    this.port.postMessage(this.samples, [this.samples.buffer]);
    this.samples = new Float32Array(Math.round(scope.sampleRate / 20));
    this.filled = 0;
  }
}

scope.registerProcessor("capture", Capture);
