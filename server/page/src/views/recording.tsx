/** One recording: its transcript, its sound, and what can be done with them. */

import { useMemo, useState } from "preact/hooks";
import type { Recording } from "../store/database.ts";
import { again, cancel, pause } from "../store/queue.ts";
import { find, historyOf, linesOf, open } from "../store/recordings.ts";
import { chosenModel } from "../store/server.ts";
import { choose, settings } from "../store/settings.ts";
import { type Format, FORMAT_NAMES, FORMATS, fileName, MEDIA_TYPES, plainText, type Transcript as Written, written } from "../text/documents.ts";
import { spokenLength } from "../text/times.ts";
import { CopyButton } from "./copying.tsx";
import { Icon } from "./icons.tsx";
import { canBeCancelled, isUnderWay, ShareBar } from "./list.tsx";
import { PlayerBar } from "./playerbar.tsx";
import { toNextUnsure } from "./playing.ts";
import { redoChange, undoChange } from "./shortcuts.ts";
import { keyShown } from "./shown.ts";
import { Transcript, unsureCount } from "./transcript.tsx";
import { languageName, wishNow } from "../store/wish.ts";

export function RecordingView({ id }: { readonly id: string }) {
  const recording = find(id);
  if (!recording) return null;
  const heard = linesOf(id).value.length > 0;
  return (
    <article class="recording" aria-label={recording.name}>
      <Head recording={recording} heard={heard} />
      <State recording={recording} heard={heard} />
      {recording.status === "listening" ? null : <PlayerBar id={id} />}
      {heard ? <Tools recording={recording} /> : null}
      {heard ? <Transcript id={id} /> : <Nothing recording={recording} />}
    </article>
  );
}

function Head({ recording, heard }: { readonly recording: Recording; readonly heard: boolean }) {
  const { name, seconds, language, wish } = recording;
  const task = wish.translateTo ? `into ${languageName(wish.translateTo)}` : language ? languageName(language) : "";
  return (
    <header class="head">
      <button type="button" class="bare to-list" aria-label="All recordings" onClick={() => void open(undefined)}>
        <Icon name="back" />
      </button>
      <div class="grow">
        <h1>{name}</h1>
        <p class="fine">{[seconds ? spokenLength(seconds) : "", task, wish.model].filter(Boolean).join(" · ")}</p>
      </div>
      {heard ? <TakeAway recording={recording} /> : null}
    </header>
  );
}

const transcriptOf = ({ id, speakers, language, seconds, wish }: Recording): Written => ({
  lines: linesOf(id).value,
  speakers,
  task: wish.translateTo ? "translate" : "transcribe",
  ...(language || wish.translateTo ? { language: wish.translateTo || (language ?? "") } : {}),
  ...(seconds ? { seconds } : {}),
});

function TakeAway({ recording }: { readonly recording: Recording }) {
  const { format } = settings.value;
  return (
    <div class="take-away">
      <CopyButton text={() => plainText(transcriptOf(recording))} name="Copy text" shown />
      <div class="joined">
        <select aria-label="Format" value={format} onChange={({ currentTarget }) => choose({ format: currentTarget.value as Format })}>
          {FORMATS.map((one) => (
            <option key={one} value={one}>
              {FORMAT_NAMES[one]}
            </option>
          ))}
        </select>
        <button type="button" class="primary" onClick={() => download(recording, format)}>
          <Icon name="down" />
          Download
        </button>
      </div>
    </div>
  );
}

function download(recording: Recording, format: Format): void {
  const blob = new Blob([written(transcriptOf(recording), format)], { type: MEDIA_TYPES[format] });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = fileName(recording.name, format);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** How far it is, what went wrong, what the server could not use. */
function State({ recording, heard }: { readonly recording: Recording; readonly heard: boolean }) {
  const { id, status, problem, warning, share } = recording;
  if (canBeCancelled(recording)) {
    return (
      <div class="state">
        <p class="grow">{pause.value && isUnderWay(recording) ? pause.value : WAYS[status](share ?? 0)}</p>
        <button type="button" class="small" onClick={() => cancel(id)}>
          Cancel
        </button>
        {isUnderWay(recording) ? <ShareBar recording={recording} /> : null}
      </div>
    );
  }
  return (
    <>
      {status === "listening" ? <p class="state">Captions are being written into it in another window.</p> : null}
      {problem ? <ProblemCard recording={recording} heard={heard} /> : null}
      {status === "cancelled" ? (
        <div class="state">
          <p class="grow">This was cancelled.{heard ? " What was recognised until then is kept." : ""}</p>
          <Again recording={recording} name="Start again" />
        </div>
      ) : null}
      {warning && !isSaidAlready(warning) ? <p class="notice small-notice">{warning}</p> : null}
    </>
  );
}

/** What a demonstration model is stands with the model that is chosen. */
const isSaidAlready = (warning: string): boolean => warning === `model: ${chosenModel.value?.lithophone.note}`;

const percent = (share: number): string => (share > 0 ? ` ${Math.floor(share * 100)} %` : "");
const WAYS: Readonly<Record<string, (share: number) => string>> & Record<Recording["status"], (share: number) => string> = {
  waiting: () => "Waiting for its turn.",
  sending: (share) => `Sending the recording to the server.${percent(share)}`,
  recognising: (share) => `Transcribing.${percent(share)}`,
  listening: () => "",
  done: () => "",
  failed: () => "",
  cancelled: () => "",
  interrupted: () => "",
};

function ProblemCard({ recording, heard }: { readonly recording: Recording; readonly heard: boolean }) {
  const { problem } = recording;
  if (!problem) return null;
  return (
    <div class="problem-card" role="alert">
      <Icon name="warn" />
      <div class="grow">
        <p>
          <strong>{problem.message}</strong>
        </p>
        <p>
          {problem.advice}
          {heard ? " The transcript below is as far as it came." : ""}
        </p>
        {problem.reference ? <p class="fine">For whoever runs the server: {problem.reference}</p> : null}
      </div>
      {problem.advice.startsWith("Enter the API key") ? (
        <button type="button" onClick={() => (keyShown.value = true)}>
          <Icon name="key" />
          API key
        </button>
      ) : null}
      <Again recording={recording} name="Start again" />
    </div>
  );
}

function Again({ recording: { id }, name }: { readonly recording: Recording; readonly name: string }) {
  const begin = (): void => {
    const corrected = historyOf(id).value.done.length > 0;
    if (!corrected || confirm("Your corrections are replaced by the new transcript. Go on?")) again(id, wishNow());
  };
  return (
    <button type="button" class="small" onClick={begin}>
      <Icon name="again" />
      {name}
    </button>
  );
}

function Tools({ recording }: { readonly recording: Recording }) {
  const { id } = recording;
  const history = historyOf(id).value;
  const unsure = useMemo(() => unsureCount(id), [id]).value;
  const [asked, setAsked] = useState(false);
  return (
    <div class="tools" role="toolbar" aria-label="Corrections">
      <button type="button" class="bare" aria-label="Undo" title="Undo (Ctrl+Z)" disabled={history.done.length === 0} onClick={() => undoChange(id)}>
        <Icon name="undo" />
      </button>
      <button type="button" class="bare" aria-label="Redo" title="Redo (Ctrl+Shift+Z)" disabled={history.undone.length === 0} onClick={() => redoChange(id)}>
        <Icon name="redo" />
      </button>
      {unsure > 0 ? (
        <>
          <label class="check">
            <input
              type="checkbox"
              checked={settings.value.markUnsure}
              onChange={({ currentTarget }) => choose({ markUnsure: currentTarget.checked })}
            />
            <span>
              Mark <span class="sample">unsure</span> words
            </span>
          </label>
          <button type="button" class="small" title="To the next unsure word (U)" onClick={() => toNextUnsure(id)}>
            Next of {unsure}
          </button>
        </>
      ) : null}
      <span class="grow" />
      {recording.status === "done" ? (
        asked ? (
          <Again recording={recording} name="Replace this transcript" />
        ) : (
          <button type="button" class="quiet small" onClick={() => setAsked(true)}>
            Transcribe again
          </button>
        )
      ) : null}
    </div>
  );
}

function Nothing({ recording: { status } }: { readonly recording: Recording }) {
  if (status === "done") return <p class="nothing">Nothing was said in this recording, as far as the model can tell.</p>;
  if (status !== "recognising" && status !== "sending") return null;
  return (
    <div class="skeleton" aria-hidden="true">
      {[92, 78, 85, 60].map((width) => (
        <span key={width} style={{ width: `${width}%` }} />
      ))}
    </div>
  );
}
