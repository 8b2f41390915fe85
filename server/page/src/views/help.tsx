/** What can be done by keyboard. */

import { useEffect, useRef } from "preact/hooks";
import { choose, settings } from "../store/settings.ts";
import { helpShown } from "./shown.ts";

const KEYS: readonly (readonly [string, string])[] = [
  ["Space", "Play or pause"],
  ["J / L", "Five seconds back / ahead"],
  ["[ / ]", "Slower / faster"],
  ["R", "Play this line again and again, or stop doing so"],
  ["I / O", "Begin / end the loop here"],
  ["U", "To the next word that the model was unsure of"],
  ["E", "Change the word; Shift+E the whole line"],
  ["Ctrl+Z / Ctrl+Shift+Z", "Undo / redo a correction"],
  ["?", "This list"],
];
const IN_TRANSCRIPT: readonly (readonly [string, string])[] = [
  ["← →", "From word to word"],
  ["↑ ↓", "From line to line"],
  ["Enter", "Play from this word"],
  ["F2", "Change the word"],
];

export function ShortcutHelp() {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (helpShown.value) dialog.current?.showModal();
    else dialog.current?.close();
  }, [helpShown.value]);
  return (
    <dialog ref={dialog} class="help" aria-labelledby="help-title" onClose={() => (helpShown.value = false)}>
      <h2 id="help-title">Keyboard</h2>
      <KeyTable rows={KEYS} />
      <h3>With a word of the transcript in focus</h3>
      <KeyTable rows={IN_TRANSCRIPT} />
      <label class="check">
        <input
          type="checkbox"
          checked={settings.value.singleKeys}
          onChange={({ currentTarget }) => choose({ singleKeys: currentTarget.checked })}
        />
        Single keys do something outside text fields
      </label>
      <form method="dialog" class="row end">
        <button class="primary">Close</button>
      </form>
    </dialog>
  );
}

function KeyTable({ rows }: { readonly rows: readonly (readonly [string, string])[] }) {
  return (
    <dl class="keys">
      {rows.map(([key, what]) => (
        <div key={key}>
          <dt>{key}</dt>
          <dd>{what}</dd>
        </div>
      ))}
    </dl>
  );
}
