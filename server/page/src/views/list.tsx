/** The recordings: those that wait, the one under way, those that are done. */

import type { Recording, Status } from "../store/database.ts";
import { pause } from "../store/queue.ts";
import { open, openId, recordings, remove } from "../store/recordings.ts";
import { shortClock } from "../text/times.ts";
import { cancel } from "../store/queue.ts";
import { Icon } from "./icons.tsx";
import { liveId, liveShown } from "./shown.ts";
import { byteCount } from "./sizes.ts";

const WORDS: Readonly<Record<Status, string>> = {
  waiting: "Waiting",
  sending: "Sending",
  recognising: "Transcribing",
  listening: "Listening",
  done: "Done",
  failed: "Failed",
  cancelled: "Cancelled",
  interrupted: "Interrupted",
};

export const isUnderWay = ({ status }: Recording): boolean => status === "sending" || status === "recognising";
export const canBeCancelled = (one: Recording): boolean => isUnderWay(one) || one.status === "waiting";

export function RecordingList() {
  const all = recordings.value;
  const waiting = all.filter((one) => one.status === "waiting").length;
  return (
    <section class="list" aria-label="Your recordings">
      <h2>
        Recordings
        {waiting > 0 ? <span class="badge">{waiting} waiting</span> : null}
      </h2>
      {all.length === 0 ? <p class="fine none">None yet. Add audio or video, or record something: it stays in this browser and goes to this server alone.</p> : null}
      <ul>
        {all.map((one) => (
          <Item key={one.id} recording={one} />
        ))}
      </ul>
    </section>
  );
}

function Item({ recording }: { readonly recording: Recording }) {
  const { id, name, status, seconds, bytes, problem } = recording;
  const isLive = liveId.value === id;
  const current = liveShown.value ? isLive : openId.value === id;
  const show = (): void => {
    liveShown.value = isLive;
    if (!isLive) void open(id);
  };
  return (
    <li class={current ? "item current" : "item"} data-status={status}>
      <button type="button" class="item-open" aria-current={current ? "true" : undefined} onClick={show}>
        <span class="item-name">{name}</span>
        <span class="fine">
          {seconds ? `${shortClock(seconds)} · ` : bytes ? `${byteCount(bytes)} · ` : ""}
          <span class={`status ${status}`}>{stateOf(recording)}</span>
        </span>
        {problem ? <span class="item-problem">{problem.message}</span> : null}
      </button>
      {status === "listening" ? null : canBeCancelled(recording) ? (
        <button type="button" class="bare" aria-label={`Cancel ${name}`} title="Cancel" onClick={() => cancel(id)}>
          <Icon name="close" />
        </button>
      ) : (
        <button type="button" class="bare" aria-label={`Delete ${name}`} title="Delete" onClick={() => askAndRemove(recording)}>
          <Icon name="trash" />
        </button>
      )}
      {isUnderWay(recording) ? <ShareBar recording={recording} /> : null}
    </li>
  );
}

function stateOf(recording: Recording): string {
  const { status, share } = recording;
  if (isUnderWay(recording) && pause.value) return pause.value;
  return isUnderWay(recording) && share ? `${WORDS[status]} ${Math.floor(share * 100)} %` : WORDS[status];
}

/** How far a recording is; without a known length, that it is under way. */
export function ShareBar({ recording: { share, name } }: { readonly recording: Recording }) {
  return <progress class="thin" aria-label={`Progress of ${name}`} {...(share ? { value: share, max: 1 } : {})} />;
}

function askAndRemove({ id, name, status }: Recording): void {
  const lost = status === "done" ? "Its transcript, your corrections and the sound are gone then." : "It is gone then.";
  if (confirm(`Delete ${name} from this browser? ${lost}`)) void remove(id);
}
