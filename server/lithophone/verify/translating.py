"""Whether a model translates: into a recognisable language, and as IBM's own test says where that is known."""

from __future__ import annotations

import asyncio
import wave
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from difflib import SequenceMatcher
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from lithophone.audio.waveform import SAMPLE_RATE, Waveform, pcm16_from_waveform, samples_from_seconds
from lithophone.bench.clips import LONGEST_FILE_SECONDS, read_clips
from lithophone.engine.language import tell_language
from lithophone.granite.family import ModelSpec
from lithophone.verify.known import KnownTranslation, translation_of
from lithophone.verify.report import Answer, Check


class Translator(Protocol):
    """The door, as far as it is needed here."""

    def translate(self, file: Path, model: str, language: str) -> tuple[Answer, float]:
        """A file's words in another language, and the seconds that took."""
        ...


def translation_checks(
    door: Translator, spec: ModelSpec, model_id: str, files: Sequence[Path]
) -> list[Check]:
    """What can be said of a model's translations; nothing for one without any.

    Args:
        door: Of a server that has the model.
        spec: What it is.
        model_id: Its name there.
        files: Recordings.
    """
    checks: list[Check] = []
    if spec.translation_targets and files:
        checks.append(_into_another(door, spec, model_id, files[-1]))
    known = translation_of(spec)
    checks += [_as_known(door, model_id, file, known) for file in files if known and file.stem == known.stem]
    return checks


def _into_another(door: Translator, spec: ModelSpec, model_id: str, file: Path) -> Check:
    """Of a demonstration, which knows few words, it is shown and not judged."""
    targets = spec.translation_targets
    wanted = "de" if "de" in targets else next(iter(targets))
    answer, _ = door.translate(file, model_id, wanted)
    told = asyncio.run(tell_language(answer.text, tuple({*targets, "en"})))
    return Check(
        name=f"translation into {wanted}",
        passed=None if spec.demonstration else told == wanted,
        detail=f"reads as {told}: {answer.text[:200]!r}",
    )


def _as_known(door: Translator, model_id: str, file: Path, known: KnownTranslation) -> Check:
    name = f"{file.name} from {known.start_seconds:g} s: translation into {known.language}"
    (clip,) = read_clips([str(file)], LONGEST_FILE_SECONDS)
    behind = clip.samples[samples_from_seconds(known.start_seconds) :]
    if len(behind) == 0:
        return Check(
            name=name, passed=False, detail=f"it ends after {clip.seconds:.1f} s: it is another recording"
        )
    with _as_file(behind, file.stem) as part:
        answer, _ = door.translate(part, model_id, known.language)
    alike = SequenceMatcher(None, known.text.casefold(), answer.text.casefold(), autojunk=False).ratio()
    return Check(
        name=name,
        passed=alike >= known.least_alike,
        detail=f"{100 * alike:.0f} % as IBM's ({100 * known.least_alike:.0f} % pass): {answer.text[:200]!r}",
    )


@contextmanager
def _as_file(samples: Waveform, stem: str) -> Generator[Path]:
    """Audio as a file of this name, for as long as it is needed."""
    with TemporaryDirectory() as folder:
        part = Path(folder) / f"{stem}.wav"
        with wave.open(str(part), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(SAMPLE_RATE)
            out.writeframes(pcm16_from_waveform(samples))
        yield part
