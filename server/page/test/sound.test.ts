import { describe, expect, it } from "vitest";
import { PEAKS_PER_SECOND, PeakMeter, peaksOfWords } from "../src/sound/peaks.ts";
import { base64, pcm16, Resampler, wavFile } from "../src/sound/pcm.ts";

describe("peaks", () => {
  it("are those of the whole, in whatever pieces it comes", () => {
    const samples = Float32Array.from({ length: 4800 }, (_, place) => Math.sin(place) * (place / 4800));
    const whole = new PeakMeter(0.1);
    whole.add(samples, 8000, 0);
    const pieces = new PeakMeter(0.6);
    for (let at = 0; at < samples.length; at += 333) pieces.add(samples.slice(at, at + 333), 8000, at / 8000);
    expect(pieces.finish()).toEqual(whole.finish());
    expect(whole.finish()).toHaveLength(0.6 * PEAKS_PER_SECOND);
  });

  it("of words stand where words are", () => {
    const peaks = peaksOfWords([{ start: 0.5, end: 1 }], 2);
    expect([peaks[9], peaks[10], peaks[19], peaks[20]]).toEqual([0, 0.5, 0.5, 0]);
  });
});

describe("samples at another rate", () => {
  it.each([[48_000], [44_100], [16_000]])("from %i Hz: as many as the time has, and the same tone", (rate) => {
    const tone = Float32Array.from({ length: rate }, (_, place) => Math.sin((2 * Math.PI * 200 * place) / rate));
    const resampler = new Resampler(rate, 24_000);
    const made: number[] = [];
    for (let at = 0; at < rate; at += 441) made.push(...resampler.push(tone.slice(at, at + 441)));
    expect(Math.abs(made.length - 24_000)).toBeLessThan(3);
    const off = made.map((sample, place) => Math.abs(sample - Math.sin((2 * Math.PI * 200 * (place + 0.5)) / 24_000)));
    expect(Math.max(...off)).toBeLessThan(0.06);
  });

  it("stay themselves where the rates are alike", () => {
    const samples = Float32Array.of(0.25, -0.5);
    expect(new Resampler(24_000, 24_000).push(samples)).toBe(samples);
  });
});

it("PCM is clipped, little-endian, and text on the wire", () => {
  expect([...pcm16(Float32Array.of(0, 1, -1, 2, -2))]).toEqual([0, 32767, -32767, 32767, -32767]);
  expect(base64(Int16Array.of(1, -2))).toBe("AQD+/w==");
});

it("a WAV file says what is in it", async () => {
  const file = wavFile([Int16Array.of(1, 2, 3)], 6, 24_000, "a.wav");
  const view = new DataView(await file.arrayBuffer());
  expect(file.size).toBe(50);
  expect([view.getUint32(4, true), view.getUint32(24, true), view.getUint32(40, true)]).toEqual([42, 24_000, 6]);
});
