/** Samples as `/v1/realtime` and WAV files have them. Pure. */

export const LIVE_RATE = 24_000;

/** Takes samples at one rate, gives them at another: each is the mean of those it stands for. */
export class Resampler {
  private held: number[] = [];
  private position = 0;

  constructor(
    private readonly from: number,
    private readonly to: number,
  ) {}

  push(samples: Float32Array): Float32Array {
    if (this.from === this.to) return samples;
    const step = this.from / this.to;
    const all = [...this.held, ...samples];
    const made: number[] = [];
    while (this.position + step <= all.length) {
      made.push(mean(all, this.position, this.position + step));
      this.position += step;
    }
    const used = Math.floor(this.position);
    this.held = all.slice(used);
    this.position -= used;
    return Float32Array.from(made);
  }
}

/** The mean of what lies between two places, parts of samples counted in part. */
function mean(samples: readonly number[], start: number, stop: number): number {
  let sum = 0;
  for (let place = Math.floor(start); place < stop; place += 1) {
    sum += (samples[place] ?? 0) * (Math.min(place + 1, stop) - Math.max(place, start));
  }
  return sum / (stop - start);
}

/** s16le. */
export function pcm16(samples: Float32Array): Int16Array<ArrayBuffer> {
  return Int16Array.from(samples, (sample) => Math.round(Math.max(-1, Math.min(1, sample)) * 32767));
}

/** The bytes of PCM as text. */
export function base64(pcm: Int16Array<ArrayBuffer>): string {
  let text = "";
  for (const byte of new Uint8Array(pcm.buffer)) text += String.fromCharCode(byte);
  return btoa(text);
}

/** A WAV file around mono s16le PCM of so many bytes. */
export function wavFile(pcm: readonly BlobPart[], bytes: number, rate: number, name: string): File {
  return new File([wavHeader(bytes, rate), ...pcm], name, { type: "audio/wav" });
}

function wavHeader(bytes: number, rate: number): ArrayBuffer {
  const header = new DataView(new ArrayBuffer(44));
  const text = (at: number, word: string): void => {
    Array.from(word).forEach((letter, place) => header.setUint8(at + place, letter.charCodeAt(0)));
  };
  text(0, "RIFF");
  header.setUint32(4, 36 + bytes, true);
  text(8, "WAVEfmt ");
  header.setUint32(16, 16, true); // length of this part
  header.setUint16(20, 1, true); // PCM
  header.setUint16(22, 1, true); // channels
  header.setUint32(24, rate, true);
  header.setUint32(28, rate * 2, true); // bytes in a second
  header.setUint16(32, 2, true); // bytes in a frame
  header.setUint16(34, 16, true); // bits in a sample
  text(36, "data");
  header.setUint32(40, bytes, true);
  return header.buffer;
}
