/** The transcript: words that seek, light up and are changed in place. */

import { computed, type Signal, signal, useComputed } from "@preact/signals";
import { Component, type TargetedKeyboardEvent, type TargetedMouseEvent } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { player } from "../sound/player.ts";
import { change, correct, find, linesOf } from "../store/recordings.ts";
import { settings } from "../store/settings.ts";
import { replaceWord, rewriteLine } from "../text/editing.ts";
import { isUnsure, neighbour, neighbourLine, type Place, VERY_UNSURE, wordAt } from "../text/finding.ts";
import { nameOf, placeOf, startsTurn } from "../text/speakers.ts";
import { shortClock } from "../text/times.ts";
import { leadingSpace, type Line, strip, textOf, type Word } from "../text/words.ts";
import { bringIntoSight, focusWord, hasStop, lightUp, makeStop, placeOfElement, wordElement } from "./cursor.ts";
import { Icon } from "./icons.tsx";

const BLOCK_LINES = 25;
const BLOCKS_AT_ONCE = 4;

/** What is being changed: a word, or a whole line. */
export interface Editing {
  readonly line: number;
  readonly word?: number;
}

export const editing = signal<Editing | undefined>(undefined);
/** Whether the view goes with what is heard; scrolling by hand ends it, seeking begins it again. */
export const following = signal(true);

/** Hear the recording from a time on. */
export function hearFrom(seconds: number): void {
  following.value = true;
  player.seek(seconds);
}

export function Transcript({ id }: { readonly id: string }) {
  const lines = linesOf(id);
  const box = useRef<HTMLDivElement>(null);
  const blocks = Math.ceil(lines.value.length / BLOCK_LINES);
  const shown = useSteps(blocks);
  useListening(lines);
  useEffect(() => {
    if (!hasStop()) makeStop(box.current?.querySelector<HTMLElement>("[data-w]") ?? null);
  });
  return (
    <div
      ref={box}
      class={settings.value.markUnsure ? "transcript marks" : "transcript"}
      role="group"
      aria-label="Transcript"
      onClick={(event) => clicked(event, lines.value)}
      onDblClick={(event) => doubleClicked(event)}
      onKeyDown={(event) => keyed(event, lines.value)}
      onWheel={() => (following.value = false)}
      onTouchMove={() => (following.value = false)}
    >
      {Array.from({ length: Math.min(shown, blocks) }, (_, place) => {
        const start = place * BLOCK_LINES;
        return <Block key={start} id={id} lines={lines.value.slice(start, start + BLOCK_LINES)} before={lines.value[start - 1]} />;
      })}
    </div>
  );
}

/** A count that grows a few at a time, so that a long transcript never holds the page up. */
function useSteps(goal: number): number {
  const [count, setCount] = useState(BLOCKS_AT_ONCE);
  useEffect(() => {
    if (count >= goal) return undefined;
    const timer = setTimeout(() => setCount(count + BLOCKS_AT_ONCE), 16);
    return () => clearTimeout(timer);
  }, [count, goal]);
  return count;
}

/** Light up what is heard, and go with it. */
function useListening(lines: Signal<readonly Line[]>): void {
  useEffect(() => {
    let line = -1;
    const stop = player.watch((seconds) => {
      const place = player.time > 0 || player.playing.value ? wordAt(lines.value, seconds) : undefined;
      lightUp(place);
      if (!place || place.line === line) return;
      line = place.line;
      const element = wordElement(place);
      if (element && following.value && !editing.value) bringIntoSight(element);
    });
    return () => {
      stop();
      lightUp(undefined);
    };
  }, [lines]);
}

function clicked(event: TargetedMouseEvent<HTMLDivElement>, lines: readonly Line[]): void {
  const element = event.target as Element;
  if (getSelection()?.isCollapsed === false) return;
  const place = placeOfElement(element);
  if (place) {
    makeStop(wordElement(place));
    hearFrom(lines[place.line]?.words[place.word]?.start ?? 0);
    return;
  }
  const line = Number(element.closest<HTMLElement>("[data-line]")?.dataset.line);
  if (element.closest(".time")) hearFrom(lines[line]?.words[0]?.start ?? 0);
  if (element.closest(".edit-line")) editing.value = { line };
}

function doubleClicked(event: TargetedMouseEvent<HTMLDivElement>): void {
  const place = placeOfElement(event.target as Element);
  if (!place) return;
  getSelection()?.removeAllRanges();
  editing.value = place;
}

function keyed(event: TargetedKeyboardEvent<HTMLDivElement>, lines: readonly Line[]): void {
  const place = placeOfElement(event.target as Element);
  if (!place || event.ctrlKey || event.metaKey || event.altKey) return;
  const act = actionFor(event.key, place, lines);
  if (!act) return;
  event.preventDefault();
  event.stopPropagation();
  act();
}

function actionFor(key: string, place: Place, lines: readonly Line[]): (() => void) | undefined {
  switch (key) {
    case "ArrowRight":
      return () => focusWord(neighbour(lines, place, 1));
    case "ArrowLeft":
      return () => focusWord(neighbour(lines, place, -1));
    case "ArrowDown":
      return () => focusLine(lines, place, 1);
    case "ArrowUp":
      return () => focusLine(lines, place, -1);
    case "Enter":
      return () => {
        hearFrom(lines[place.line]?.words[place.word]?.start ?? 0);
        player.play();
      };
    case "F2":
      return () => (editing.value = place);
    default:
      return undefined;
  }
}

function focusLine(lines: readonly Line[], place: Place, way: 1 | -1): void {
  const line = neighbourLine(lines, place.line, way);
  if (line !== undefined) focusWord({ line, word: Math.min(place.word, (lines[line]?.words.length ?? 1) - 1) });
}

interface BlockProps {
  readonly id: string;
  readonly lines: readonly Line[];
  readonly before: Line | undefined;
}

/** Some lines together; the browser leaves out those that are far away. */
class Block extends Component<BlockProps> {
  override shouldComponentUpdate({ lines, before }: BlockProps): boolean {
    const old = this.props;
    return before?.speaker !== old.before?.speaker || lines.length !== old.lines.length || lines.some((line, place) => line !== old.lines[place]);
  }

  override render({ id, lines, before }: BlockProps) {
    const all = before ? [before, ...lines] : lines;
    const first = before ? 1 : 0;
    return (
      <div class="block">
        {lines.map((line, place) => (
          <LineView key={line.id} id={id} line={line} turn={startsTurn(all, place + first)} />
        ))}
      </div>
    );
  }
}

interface LineProps {
  readonly id: string;
  readonly line: Line;
  readonly turn: boolean;
}

class LineView extends Component<LineProps> {
  override shouldComponentUpdate({ line, turn }: LineProps): boolean {
    return line !== this.props.line || turn !== this.props.turn;
  }

  override render(props: LineProps) {
    return props.line.words.length === 0 ? null : <ShownLine {...props} />;
  }
}

function ShownLine({ id, line, turn }: LineProps) {
  const mine = useComputed(() => (editing.value?.line === line.id ? editing.value : undefined)).value;
  const at = shortClock(line.words[0]?.start ?? 0);
  const speaker = line.speaker === undefined ? "" : ` speaker speaker-${placeOf(line.speaker) % 8}`;
  const whole = mine && mine.word === undefined;
  return (
    <div class={`line${speaker}${turn ? " turn" : ""}`} id={`line-${line.id}`} data-line={line.id}>
      {turn && line.speaker !== undefined ? <SpeakerName id={id} label={line.speaker} /> : null}
      <button type="button" class="time" tabIndex={-1} aria-label={`Play from ${at}`}>
        {at}
      </button>
      {whole ? (
        <LineEditor id={id} line={line} />
      ) : (
        <p class="said">
          {line.words.map((word, place) =>
            mine?.word === place ? <WordEditor key={place} id={id} line={line} place={place} /> : <WordView key={place} word={word} place={place} />,
          )}
        </p>
      )}
      <button type="button" class="bare edit-line" tabIndex={-1} aria-label={`Change the line at ${at}`} title="Change this line">
        <Icon name="edit" />
      </button>
    </div>
  );
}

function WordView({ word, place }: { readonly word: Word; readonly place: number }) {
  const unsure = isUnsure(word);
  const kind = unsure ? ((word.probability ?? 1) < VERY_UNSURE ? "w unsure very" : "w unsure") : "w";
  return (
    <>
      {leadingSpace(word.text) ? " " : ""}
      <span class={kind} data-w={place} aria-description={unsure ? "unsure" : undefined}>
        {strip(word.text)}
      </span>
    </>
  );
}

interface EditorProps {
  readonly id: string;
  readonly line: Line;
}

/** A field in place of a word: Enter keeps, Escape does not, Tab goes on to the next. */
function WordEditor({ id, line, place }: EditorProps & { readonly place: number }) {
  const field = useRef<HTMLInputElement>(null);
  const text = strip(line.words[place]?.text ?? "");
  useLayoutEffect(() => {
    field.current?.focus(); // before the next key can come
    field.current?.select();
  }, []);
  const finish = (keep: boolean, way?: 1 | -1): void => {
    if (editing.value?.line !== line.id || editing.value.word !== place) return;
    const after = keep ? replaceWord(line, place, field.current?.value ?? text) : line;
    correct(id, after);
    const last = way === 1 ? place + after.words.length - line.words.length : place;
    editing.value = way && neighbour(linesOf(id).value, { line: line.id, word: last }, way);
    if (!way) requestAnimationFrame(() => focusNear(id, line.id, place));
  };
  const keyed = (event: TargetedKeyboardEvent<HTMLInputElement>): void => {
    event.stopPropagation();
    if (event.key === "Enter") finish(true);
    if (event.key === "Escape") finish(false);
    if (event.key === "Tab") {
      event.preventDefault();
      finish(true, event.shiftKey ? -1 : 1);
    }
  };
  return (
    <>
      {leadingSpace(line.words[place]?.text ?? "") ? " " : ""}
      <input
        ref={field}
        class="edit-word"
        aria-label={`Change ${text}`}
        autocomplete="off"
        spellcheck
        size={Math.max(3, text.length + 1)}
        value={text}
        onInput={({ currentTarget }) => (currentTarget.size = Math.max(3, currentTarget.value.length + 1))}
        onKeyDown={keyed}
        onBlur={() => finish(true)}
      />
    </>
  );
}

/** A field in place of a line: Enter keeps, Escape does not. */
function LineEditor({ id, line }: EditorProps) {
  const field = useRef<HTMLTextAreaElement>(null);
  const text = strip(textOf(line.words));
  const fit = (): void => {
    if (!field.current) return;
    field.current.style.height = "auto";
    field.current.style.height = `${field.current.scrollHeight + 2}px`;
  };
  useLayoutEffect(() => {
    fit();
    field.current?.focus();
    field.current?.setSelectionRange(text.length, text.length);
  }, []);
  const finish = (keep: boolean): void => {
    if (editing.value?.line !== line.id || editing.value.word !== undefined) return;
    if (keep) correct(id, rewriteLine(line, field.current?.value ?? text));
    editing.value = undefined;
    requestAnimationFrame(() => focusNear(id, line.id, 0));
  };
  const keyed = (event: TargetedKeyboardEvent<HTMLTextAreaElement>): void => {
    event.stopPropagation();
    if (event.key === "Enter" || event.key === "Escape") {
      event.preventDefault();
      finish(event.key === "Enter");
    }
  };
  return (
    <textarea
      ref={field}
      class="edit-whole"
      aria-label={`Change the line at ${shortClock(line.words[0]?.start ?? 0)}`}
      rows={1}
      value={text}
      onInput={fit}
      onKeyDown={keyed}
      onBlur={() => finish(true)}
    />
  );
}

/** The focus back where the change was, or beside it if nothing is left of it. */
function focusNear(id: string, line: number, word: number): void {
  if (document.activeElement && document.activeElement !== document.body) return;
  const lines = linesOf(id).value;
  const words = lines[line]?.words.length ?? 0;
  const near = words > 0 ? line : (neighbourLine(lines, line, -1) ?? neighbourLine(lines, line, 1));
  if (near !== undefined) focusWord({ line: near, word: Math.min(word, (lines[near]?.words.length ?? 1) - 1) });
}

/** A speaker's name, to be changed by a click: it changes wherever they speak. */
function SpeakerName({ id, label }: { readonly id: string; readonly label: string }) {
  const name = useComputed(() => nameOf(label, find(id)?.speakers ?? {})).value;
  const [changing, setChanging] = useState(false);
  const field = useRef<HTMLInputElement>(null);
  useLayoutEffect(() => field.current?.select(), [changing]);
  const finish = (keep: boolean): void => {
    if (keep && field.current) {
      change(id, { speakers: { ...find(id)?.speakers, [label]: field.current.value.trim() } });
    }
    setChanging(false);
  };
  if (!changing) {
    return (
      <button type="button" class="name" title="Rename" aria-label={`Rename ${name}`} onClick={() => setChanging(true)}>
        {name}
      </button>
    );
  }
  return (
    <input
      ref={field}
      class="name"
      aria-label={`Name of ${name}`}
      value={name}
      onKeyDown={(event) => {
        event.stopPropagation();
        if (event.key === "Enter") finish(true);
        if (event.key === "Escape") finish(false);
      }}
      onBlur={() => finish(true)}
    />
  );
}

/** How many words the model was unsure of. */
export const unsureCount = (id: string) =>
  computed(() => linesOf(id).value.reduce((sum, line) => sum + line.words.filter(isUnsure).length, 0));
