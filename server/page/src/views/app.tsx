/** The whole page: the list at the side, what is open beside it. */

import { useEffect } from "preact/hooks";
import { about, keyWanted, reachable } from "../store/server.ts";
import { announcement, keeping, opened } from "../store/recordings.ts";
import { AddPanel, DropTarget, Hero } from "./adding.tsx";
import { ShortcutHelp } from "./help.tsx";
import { Icon, Mark } from "./icons.tsx";
import { KeyDialog } from "./key.tsx";
import { LiveView } from "./live.tsx";
import { Options } from "./options.tsx";
import { RecordingList } from "./list.tsx";
import { RecordingView } from "./recording.tsx";
import { listenForShortcuts } from "./shortcuts.ts";
import { helpShown, keyShown, liveShown } from "./shown.ts";

export function App() {
  useEffect(listenForShortcuts, []);
  const recording = opened.value;
  const shown = liveShown.value || recording !== undefined;
  return (
    <DropTarget>
      <TopBar />
      <Notices />
      <div class={shown ? "columns shows" : "columns"}>
        <aside class="side" aria-label="Recordings">
          <AddPanel />
          <Options />
          <RecordingList />
        </aside>
        <main class="main" id="main">
          {liveShown.value ? <LiveView /> : recording ? <RecordingView key={recording.id} id={recording.id} /> : <Hero />}
        </main>
      </div>
      <div class="unseen" role="status" aria-live="polite" data-testid="announcer">
        {announcement.value}
      </div>
      <KeyDialog />
      <ShortcutHelp />
    </DropTarget>
  );
}

function TopBar() {
  return (
    <header class="bar">
      <a class="skip" href="#main">
        Skip to the transcript
      </a>
      <div class="brand">
        <Mark />
        <span>Lithophone</span>
      </div>
      <div class="bar-end">
        {about.value?.needs_key || keyWanted.value ? (
          <button type="button" class="quiet" onClick={() => (keyShown.value = true)}>
            <Icon name="key" />
            API key
          </button>
        ) : null}
        <button type="button" class="quiet" onClick={() => (helpShown.value = true)}>
          <Icon name="keyboard" />
          <span class="wide">Shortcuts</span>
          <span class="unseen narrow-name">Shortcuts</span>
        </button>
      </div>
    </header>
  );
}

/** What concerns everything: the server is gone, it wants a key, nothing is kept. */
function Notices() {
  return (
    <>
      {reachable.value ? null : (
        <div class="notice bad" role="alert">
          <Icon name="warn" />
          <p>
            <strong>The server cannot be reached.</strong> Your recordings and transcripts are safe in this browser. The page
            keeps looking for the server and then goes on with the queue.
          </p>
        </div>
      )}
      {keyWanted.value && !keyShown.value ? (
        <div class="notice" role="note">
          <Icon name="key" />
          <p class="grow">This server asks for an API key. Until it has one, recordings wait.</p>
          <button type="button" class="small" onClick={() => (keyShown.value = true)}>
            Enter the key
          </button>
        </div>
      ) : null}
      {keeping.value ? (
        <div class="notice" role="note">
          <Icon name="warn" />
          <p>{keeping.value}</p>
        </div>
      ) : null}
    </>
  );
}
