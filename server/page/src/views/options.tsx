/** What is asked of the server: model, task, language, and what the model can do beside. */

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { chooseModel, chosenModel, loading, loadModel, loadProblems, realModel, served } from "../store/server.ts";
import { choose, settings } from "../store/settings.ts";
import type { Model, ModelState } from "../wire/server.ts";
import { CopyButton } from "./copying.tsx";
import { Icon } from "./icons.tsx";
import { byteCount, parameterCount } from "./sizes.ts";
import { languageName } from "../store/wish.ts";

const STATES: Readonly<Record<ModelState, string>> = {
  cold: "Not loaded",
  loading: "Loading",
  ready: "Ready",
  restarting: "Starting again",
  failed: "Could not be loaded",
  stopped: "Stopped",
};

export function Options() {
  const model = chosenModel.value;
  if (!model) return null;
  const { languages, translates_to, speakers, keywords } = model.lithophone;
  const translating = translates_to.includes(settings.value.translateTo);
  return (
    <section class="options" aria-label="Options">
      <Labelled name="Model">
        <select value={model.id} onChange={({ currentTarget }) => chooseModel(currentTarget.value)}>
          {served.value.map(({ id, lithophone }) => (
            <option key={id} value={id}>
              {lithophone.state === "ready" ? id : `${id} (${STATES[lithophone.state].toLowerCase()})`}
            </option>
          ))}
        </select>
      </Labelled>
      <ModelCard model={model} />
      <div class="pair">
        <Labelled name="Task">
          <select
            value={translating ? settings.value.translateTo : ""}
            onChange={({ currentTarget }) => choose({ translateTo: currentTarget.value })}
          >
            <option value="">Transcribe</option>
            {translates_to.map((code) => (
              <option key={code} value={code}>
                Translate into {languageName(code)}
              </option>
            ))}
          </select>
        </Labelled>
        <Labelled name="Language spoken">
          <select
            value={languages.includes(settings.value.language) ? settings.value.language : ""}
            disabled={translating}
            onChange={({ currentTarget }) => choose({ language: currentTarget.value })}
          >
            <option value="">{languages.length > 1 ? "Detect" : languageName(languages[0] ?? "en")}</option>
            {languages.length > 1
              ? languages.map((code) => (
                  <option key={code} value={code}>
                    {languageName(code)}
                  </option>
                ))
              : null}
          </select>
        </Labelled>
      </div>
      {speakers && !translating ? (
        <label class="check">
          <input
            type="checkbox"
            checked={settings.value.speakers}
            onChange={({ currentTarget }) => choose({ speakers: currentTarget.checked })}
          />
          Tell speakers apart
        </label>
      ) : null}
      {keywords && !translating ? (
        <Labelled name="Names and terms to expect, with commas between">
          <input
            type="text"
            value={settings.value.keywords}
            onChange={({ currentTarget }) => choose({ keywords: currentTarget.value })}
          />
        </Labelled>
      ) : null}
    </section>
  );
}

function Labelled({ name, children }: { readonly name: string; readonly children: ComponentChildren }) {
  return (
    <label class="labelled">
      <span>{name}</span>
      {children}
    </label>
  );
}

function ModelCard({ model }: { readonly model: Model }) {
  const { state, parameters, memory_bytes, device, note } = model.lithophone;
  const asked = loading.value.get(model.id);
  const under = asked !== undefined || state === "loading" || state === "restarting";
  const problem = loadProblems.value.get(model.id);
  const size = [
    `${parameterCount(parameters)} parameters`,
    memory_bytes ? `${byteCount(memory_bytes)} of memory` : "",
    state === "ready" && device ? `on ${device === "cpu" ? "CPU" : device}` : "",
  ];
  return (
    <div class="model" data-testid="model">
      <p class="model-state">
        <span class={`dot ${under ? "loading" : state}`} aria-hidden="true" />
        <span class="grow">
          {under ? STATES.loading : STATES[state]}
          {asked !== undefined ? <Elapsed since={asked} /> : null}
        </span>
        {!under && (state === "cold" || state === "failed") ? (
          <button type="button" class="small" onClick={() => void loadModel(model.id)}>
            <Icon name="on" />
            Load
          </button>
        ) : null}
      </p>
      <p class="fine">{size.filter(Boolean).join(" · ")}</p>
      {under ? <progress class="thin" aria-label={`Loading ${model.id}`} /> : null}
      {problem ? (
        <p class="problem" role="alert">
          <Icon name="warn" />
          {problem}
        </p>
      ) : null}
      {note ? <Demonstration model={model} note={note} /> : null}
    </div>
  );
}

function Elapsed({ since }: { readonly since: number }) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  return <span class="number"> {Math.max(0, Math.round((now - since) / 1000))} s</span>;
}

/** A demonstration model says what it is, and where the real one is. */
function Demonstration({ model, note }: { readonly model: Model; readonly note: string }) {
  const real = realModel.value;
  const command = `make run ARGS="--model ${model.lithophone.stands_for ?? ""}"`;
  return (
    <div class="demonstration" role="note">
      <p>{note}</p>
      {real ? (
        <button type="button" class="small" onClick={() => chooseModel(real.id)}>
          Use {real.id}
        </button>
      ) : (
        <p class="command">
          <code>{command}</code>
          <CopyButton text={() => command} name="Copy the command" />
        </p>
      )}
    </div>
  );
}
