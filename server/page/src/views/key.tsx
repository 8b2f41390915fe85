/** The API key, asked for where the server wants one. */

import { useEffect, useRef } from "preact/hooks";
import { keyWanted, watchServer } from "../store/server.ts";
import { apiKey, keepKey } from "../wire/key.ts";
import { keyShown } from "./shown.ts";

export function KeyDialog() {
  const dialog = useRef<HTMLDialogElement>(null);
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (keyWanted.value) keyShown.value = true;
  }, [keyWanted.value]);
  useEffect(() => {
    if (!keyShown.value) dialog.current?.close();
    else if (!dialog.current?.open) dialog.current?.showModal();
  }, [keyShown.value]);
  const keep = (event: SubmitEvent): void => {
    event.preventDefault();
    keepKey(field.current?.value.trim() ?? "");
    keyShown.value = false;
    keyWanted.value = "";
    void watchServer();
  };
  return (
    <dialog ref={dialog} aria-labelledby="key-title" onClose={() => (keyShown.value = false)}>
      <form onSubmit={keep}>
        <h2 id="key-title">API key</h2>
        <p>This server asks for a key. It is kept in this browser and sent to this server alone.</p>
        {keyWanted.value && apiKey.value ? (
          <p class="problem" role="alert">
            {keyWanted.value}
          </p>
        ) : null}
        <label class="labelled">
          <span>Key</span>
          <input ref={field} type="password" autocomplete="off" value={apiKey.value} />
        </label>
        <div class="row end">
          {apiKey.value ? (
            <button
              type="button"
              onClick={() => {
                keepKey("");
                keyShown.value = false;
                void watchServer();
              }}
            >
              Forget the key
            </button>
          ) : null}
          <button type="submit" class="primary">
            Use the key
          </button>
        </div>
      </form>
    </dialog>
  );
}
