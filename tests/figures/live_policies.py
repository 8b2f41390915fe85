"""What a commit policy costs and saves, without waiting for anybody to speak: `python -m tests.figures.live_policies --help`.

Plays utterances to the machine of a live session, in steps of 50 ms and with a model that answers at once, for each level of
`delay` and each way to change it that is asked for. What the model heard is noted in a file, so that policies which ask the
same are replayed in seconds. Delays lack the model's own time; texts are those of a session on a quiet machine. The texts are
compared with what the same machine hears without live updates: the file route's windows.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec
import numpy as np

from lithophone.audio.waveform import SAMPLE_RATE, Waveform
from lithophone.backends.base import Backend, Recognition, RecognitionRequest, VoiceDetector
from lithophone.backends.batches import recognise
from lithophone.backends.device.plan import DeviceWishes
from lithophone.backends.opening import open_backend
from lithophone.backends.silero import SileroDetector
from lithophone.backends.transformers_backend.checkpoint import read_reference
from lithophone.bench.report import edit_distance
from lithophone.engine.dictation import turn as turns
from lithophone.engine.dictation.events import Delta, DictationEvent
from lithophone.engine.dictation.machine import Dictation
from lithophone.engine.dictation.options import POLICIES, CommitPolicy, Delay, DictationOptions
from lithophone.engine.recognition import WindowRecogniser
from lithophone.granite.family import DEMONSTRATION_ID, FAMILY, ModelSpec
from lithophone.granite.words import Word
from tests.figures.live import bare
from tests.figures.recording import SPEECH, Clip, human_clips, manifest_clips, samples_of
from tests.figures.scoring import normalised

SPEC: Final = FAMILY[DEMONSTRATION_ID]
FRAME_SAMPLES: Final = 800  # 50 ms
LEAST_CLIP_SECONDS: Final = 1.6


class NotedModel:
    """The embedded model, and what it heard before.

    Args:
        notes: An SQLite file, made if there is none.
    """

    spec: ModelSpec = SPEC
    wants_more = False

    def __init__(self, notes: Path) -> None:
        self._notes = sqlite3.connect(notes)
        self._notes.execute("create table if not exists heard (key blob primary key, recognition blob)")

    @cached_property
    def _backend(self) -> Backend:
        return open_backend(read_reference(DEMONSTRATION_ID), DeviceWishes(device="cpu"))

    def hear(self, request: RecognitionRequest) -> Recognition:
        """What is heard in a window; the same as the last time, if there was one."""
        said = None if request.live is None else request.live.said
        asked = repr((request.context_samples, said, request.temperature)).encode()
        key = hashlib.sha256(request.samples.tobytes() + asked).digest()
        noted = self._notes.execute("select recognition from heard where key = ?", (key,)).fetchone()
        if noted is not None:
            return msgspec.msgpack.decode(noted[0], type=Recognition)
        (recognition,) = recognise(self._backend, [request])
        self._notes.execute("insert into heard values (?, ?)", (key, msgspec.msgpack.encode(recognition)))
        self._notes.commit()
        return recognition

    async def recognise(self, request: RecognitionRequest) -> Recognition:
        """See `Recogniser`."""
        return self.hear(request)

    def cancel(self) -> None:
        """See `Recogniser`."""


class ToldWord(NamedTuple):
    """A word, and the second of the utterance it was told at."""

    word: Word
    told_seconds: float


class Player:
    """A session that hears one utterance."""

    def __init__(self, model: NotedModel, voice: VoiceDetector, delay: Delay) -> None:
        ids = itertools.count()
        self._options = DictationOptions(model_id=SPEC.id, spec=SPEC, turns=None, delay=delay)
        self._machine = Dictation(self._options, lambda: f"item_{next(ids)}")
        self._model = model
        self._voice = voice.open_stream()
        self.told: list[ToldWord] = []
        self.updates = 0

    def play(self, samples: Waveform, *, live: bool) -> list[ToldWord]:
        """All of it, and the commit; without `live` nothing is heard before a window closes."""
        for start in range(0, len(samples), FRAME_SAMPLES):
            frame = samples[start : start + FRAME_SAMPLES]
            self._take(self._machine.hear(frame, self._voice.push(frame)))
            self._hear_windows()
            while live and (update := self._machine.next_update()) is not None:
                self.updates += 1
                self._take(self._machine.updated(update, self._model.hear(update.request)))
        self._take(self._machine.commit(self._voice.finish()))
        self._hear_windows()
        return self.told

    def _hear_windows(self) -> None:
        while (closed := self._machine.next_window()) is not None:
            window = WindowRecogniser(self._model, self._options.window_job).recognise(closed.window)
            self._take(self._machine.window_done(closed, asyncio.run(window)))

    def _take(self, events: Sequence[DictationEvent]) -> None:
        deltas = (event for event in events if isinstance(event, Delta))
        self.told += [ToldWord(word, self._machine.seconds) for delta in deltas for word in delta.words]


@dataclass(frozen=True, slots=True)
class Result:
    """Of one utterance: its words, as said, as the file route heard them and as they were told, and its length."""

    said: list[str]
    file: list[ToldWord]
    live: list[ToldWord]
    seconds: float
    updates: int

    def delays(self) -> Iterator[float]:
        """From the end of each word until it was told, for those told while the utterance was spoken."""
        live, file = ([bare(word.text) for word, _ in words] for words in (self.live, self.file))
        for block in SequenceMatcher(a=live, b=file, autojunk=False).get_matching_blocks():
            for place in range(block.size):
                told = self.live[block.a + place].told_seconds
                if told < self.seconds:
                    yield told - self.file[block.b + place].word.end_seconds


def written(words: Sequence[ToldWord]) -> list[str]:
    """Their text, word by word, without case and punctuation."""
    return normalised("".join(told.word.text for told in words))


def result(model: NotedModel, voice: VoiceDetector, delay: Delay, clips: Sequence[Clip]) -> Result:
    """What a session tells of clips one behind the other, and what the file route hears."""
    samples = np.concatenate([samples_of(clip.path) for clip in clips])
    file = Player(model, voice, delay).play(samples, live=False)
    player = Player(model, voice, delay)
    live = player.play(samples, live=True)
    said = normalised(" ".join(clip.text for clip in clips))
    return Result(said, file, live, len(samples) / SAMPLE_RATE, player.updates)


def row(results: Sequence[Result]) -> str:
    """The figures of a policy."""
    words = sum(len(written(one.file)) for one in results)
    said = sum(len(one.said) for one in results)
    differing = sum(edit_distance(written(one.file), written(one.live)) for one in results)
    live, file = (
        sum(edit_distance(one.said, written(words)) for one, words in pairs)
        for pairs in ([(one, one.live) for one in results], [(one, one.file) for one in results])
    )
    delays = [delay for one in results for delay in one.delays()] or [float("nan")]
    p50, p95 = np.percentile(delays, [50, 95])
    return (
        f"{words} | {100 * differing / words:.2f} % | {p50:.2f} / {p95:.2f} s | "
        f"{100 * live / said:.2f} / {100 * file / said:.2f} % | {sum(one.updates for one in results)}"
    )


def utterances(table: Path | None, most: int) -> list[list[Clip]]:
    """Two clips of the spoken test set one behind the other, or three of a table of human speech, in a fixed order."""
    clips = manifest_clips(SPEECH, ["short"]) if table is None else human_clips(table)
    long_enough = [clip for clip in clips if len(samples_of(clip.path)) > LEAST_CLIP_SECONDS * SAMPLE_RATE]
    seed, together = (3, 2) if table is None else (5, 3)
    order = np.random.default_rng(seed).permutation(len(long_enough)).tolist()
    groups = [order[start : start + together] for start in range(0, len(order) - together + 1, together)]
    return [[long_enough[place] for place in group] for group in groups[:most]]


def changed(policy: CommitPolicy, changes: str) -> CommitPolicy:
    """The policy with `field=value` pairs, comma-separated, in place of its own."""
    pairs = dict(pair.split("=") for pair in changes.split(",") if pair)
    return msgspec.convert(msgspec.structs.asdict(policy) | pairs, CommitPolicy, strict=False)


def main() -> None:
    """A line for each level and each change."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--notes", type=Path, required=True, help="where to note what the model heard")
    parser.add_argument("--human", type=Path, help="a table of human speech, in place of the spoken test set")
    parser.add_argument("--utterances", type=int, default=80)
    parser.add_argument(
        "--delays", type=lambda text: [Delay(part) for part in text.split(",")], default=[*Delay]
    )
    parser.add_argument("changes", nargs="*", default=[""], help="such as doubt_seconds=0.5,agreeing=3")
    arguments = parser.parse_args()
    model, voice = NotedModel(arguments.notes), SileroDetector()
    spoken = utterances(arguments.human, arguments.utterances)
    print("| delay | changed | words | differ from file | delay p50 / p95 | WER live / file | updates |")
    print("|---|---|---|---|---|---|---|")
    for delay, changes in itertools.product(arguments.delays, arguments.changes):
        turns.POLICIES = MappingProxyType({**POLICIES, delay: changed(POLICIES[delay], changes)})  # type: ignore[misc]
        results = [result(model, voice, delay, clips) for clips in spoken]
        print(f"| {delay.value} | {changes or '-'} | {row(results)} |", flush=True)


if __name__ == "__main__":
    main()
