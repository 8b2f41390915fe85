/** The microphone: as a file, and as it is spoken. */

/** Why there is no microphone, in words for a person. */
export class NoMicrophone extends Error {}

/** The microphone's sound. Rejects with `NoMicrophone`. */
export async function openMicrophone(): Promise<MediaStream> {
  // Browsers hide the microphone from pages that came over plain HTTP from another machine.
  if (!("mediaDevices" in navigator)) {
    throw new NoMicrophone(
      "This browser gives the microphone to secure pages alone. Open the page as http://localhost, or put HTTPS in front of the server.",
    );
  }
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
  } catch (failure) {
    throw new NoMicrophone(reason(failure instanceof DOMException ? failure.name : ""));
  }
}

function reason(name: string): string {
  switch (name) {
    case "NotAllowedError":
      return "The microphone is not allowed for this page. Allow it in the browser's address bar, then try again.";
    case "NotFoundError":
      return "There is no microphone. Connect one, then try again.";
    case "NotReadableError":
      return "The microphone is used by another program. Close that, then try again.";
    default:
      return "The microphone could not be opened.";
  }
}

/** A recording under way; `stop` gives the file. */
export class Recorder {
  private readonly parts: Blob[] = [];
  private readonly recorder: MediaRecorder;
  readonly started = Date.now();

  constructor(private readonly stream: MediaStream) {
    this.recorder = new MediaRecorder(stream);
    this.recorder.addEventListener("dataavailable", ({ data }) => this.parts.push(data));
    this.recorder.start(1000);
  }

  get seconds(): number {
    return (Date.now() - this.started) / 1000;
  }

  stop(): Promise<File> {
    return new Promise((resolve) => {
      this.recorder.addEventListener("stop", () => resolve(this.file()));
      this.recorder.stop();
      for (const track of this.stream.getTracks()) track.stop();
    });
  }

  private file(): File {
    const type = this.recorder.mimeType.split(";")[0] ?? "audio/webm";
    const ending = type.endsWith("mp4") ? "m4a" : type.endsWith("ogg") ? "ogg" : "webm";
    return new File(this.parts, `${recordingName("Recording", new Date(this.started))}.${ending}`, { type });
  }
}

/** `Recording 2026-11-26 16.05`. */
export function recordingName(what: string, when: Date): string {
  const pair = (value: number): string => String(value).padStart(2, "0");
  const day = [when.getFullYear(), pair(when.getMonth() + 1), pair(when.getDate())].join("-");
  return `${what} ${day} ${pair(when.getHours())}.${pair(when.getMinutes())}`;
}

/** How loud a stream is, 0 to 1, whenever it is asked. */
export class LevelMeter {
  private readonly context = new AudioContext();
  private readonly analyser = this.context.createAnalyser();
  private readonly samples = new Float32Array(1024);

  constructor(stream: MediaStream) {
    this.analyser.fftSize = this.samples.length;
    this.context.createMediaStreamSource(stream).connect(this.analyser);
  }

  level(): number {
    this.analyser.getFloatTimeDomainData(this.samples);
    const power = this.samples.reduce((sum, sample) => sum + sample * sample, 0) / this.samples.length;
    return Math.min(1, Math.max(0, (20 * Math.log10(Math.sqrt(power) + 1e-6) + 60) / 50));
  }

  close(): void {
    void this.context.close();
  }
}
