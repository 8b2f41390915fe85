"""The verification itself: what is asked in which order, and what is made of the answers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from lithophone.audio.activity import VOICE_FRAME_SAMPLES
from lithophone.audio.waveform import seconds_from_samples
from lithophone.backends.device.facts import DtypeName, read_torch_facts
from lithophone.backends.device.plan import DeviceWishes
from lithophone.backends.memory.estimate import Estimates, estimate_memory
from lithophone.backends.memory.fits import plan_for
from lithophone.backends.quantization.manifest import as_stored
from lithophone.backends.silero import SileroDetector
from lithophone.backends.transformers_backend.checkpoint import (
    Checkpoint,
    ModelReference,
    fetch,
    read_reference,
)
from lithophone.bench.clips import LONGEST_FILE_SECONDS, read_clips
from lithophone.bench.report import BenchReport, word_error_rate
from lithophone.engine.language import tell_language
from lithophone.errors import DoesNotFitError, StartupError
from lithophone.granite.languages import language_code
from lithophone.granite.prompts import Task, hears_language_hint
from lithophone.hub import fetching
from lithophone.hub.cache import DEFAULT_REVISION
from lithophone.hub.progress import OnFetched
from lithophone.verify.arithmetic import measure
from lithophone.verify.door import Door
from lithophone.verify.known import USERS_OWN, expected_of, sample_of
from lithophone.verify.report import (
    LEAST_VOICED,
    Check,
    Heard,
    Served,
    VerifyReport,
    are_in_order,
    arithmetic_checks,
    voiced_share,
)
from lithophone.verify.translating import translation_checks

DTYPES: Final[tuple[DtypeName, ...]] = ("float32", "bfloat16", "float16")
EXAMPLE: Final = Path(__file__).resolve().parents[3] / "examples" / "speech" / "demo.flac"
SAME_SPEED: Final = 1.2
Tell = Callable[[str], None]
"""Says what is being done."""


class VerifyOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What to verify.

    Attributes:
        model: As for the server.
        revision: As for the server.
        wishes: As for the server.
        audio: Recordings of the user's.
        text: What is said in each; may be fewer, then the last ones are heard and not judged.
        quick: Leave out the comparison with transformers.
        command: As it was typed, for the report.
    """

    model: str
    revision: str = DEFAULT_REVISION
    wishes: DeviceWishes = DeviceWishes()
    audio: tuple[Path, ...] = ()
    text: tuple[str, ...] = ()
    quick: bool = False
    command: str = "lithophone verify"


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """A recording to be heard: what is said in it, if that is known, and how near a transcript has to come."""

    file: Path
    text: str | None
    most_errors: float | None


def verify(options: VerifyOptions, tell: Tell, on_fetched: OnFetched) -> VerifyReport:
    """Everything, with what failed among the checks.

    Raises:
        StartupError: the model cannot be had, or there is nothing to hear.
    """
    reference = read_reference(options.model, options.revision)
    tell("looking for the files")
    checkpoint = fetch(reference, on_fetched)
    options = msgspec.structs.replace(options, wishes=as_stored(checkpoint.path, options.wishes))
    recordings = _recordings(options, reference)
    estimates = estimate_memory(checkpoint.path, quantization=options.wishes.quantization)
    visit = Visit(options, checkpoint, recordings, tell)
    try:
        visit.run()
    except StartupError as error:
        visit.checks.append(Check(name="the server", passed=False, detail=error.message))
    arithmetic: tuple[BenchReport, ...] = ()
    if not options.quick and visit.served is not None:
        arithmetic = _arithmetic(options, visit, estimates, tell)
    dtype = visit.served.dtype if visit.served is not None else "float32"
    return VerifyReport(
        command=options.command,
        model=reference.model_id,
        license=reference.spec.license,
        folder=str(checkpoint.path),
        estimated_bytes=estimates[_dtype(dtype)].required_bytes,
        served=visit.served,
        heard=tuple(visit.heard),
        arithmetic=arithmetic,
        checks=(*visit.checks, *arithmetic_checks(arithmetic)),
    )


def _dtype(name: str) -> DtypeName:
    return next(dtype for dtype in DTYPES if dtype == name)


def _recordings(options: VerifyOptions, reference: ModelReference) -> list[Recording]:
    """The user's, and the one that the repository or the package carries.

    Raises:
        StartupError: there is none.
    """
    found = [
        _recording(file, options.text[place] if place < len(options.text) else None, USERS_OWN)
        for place, file in enumerate(options.audio)
    ]
    name = sample_of(reference.spec)
    beside = _beside(reference, name) if name is not None else None
    if beside is not None:
        found.append(_recording(beside, None, None))
    if reference.spec.demonstration and not found and EXAMPLE.is_file():
        found.append(_recording(EXAMPLE, EXAMPLE.with_suffix(".txt").read_text().strip(), 0.0))
    if not found:
        raise StartupError(
            f"{reference.model_id} has no recording beside its weights: give one with --audio FILE --text WORDS"
        )
    return found


def _beside(reference: ModelReference, name: str) -> Path | None:
    if reference.path is None:
        return fetching.fetch_sample(reference.repository, name)
    file = reference.path / name
    return file if file.is_file() else None


def _recording(file: Path, text: str | None, most_errors: float | None) -> Recording:
    """With what is known of it, unless the user says what is said in it.

    Raises:
        StartupError: there is no such file.
    """
    if not file.is_file():
        raise StartupError(f"--audio {file}: there is no such file")
    known = expected_of(file.stem)
    if text is None and known is not None:
        return Recording(file=file, text=known.text, most_errors=known.most_errors)
    return Recording(file=file, text=text, most_errors=most_errors if text is not None else None)


class Visit:
    """The recordings through the server's door.

    Args:
        options: See there.
        checkpoint: What the server shall serve.
        recordings: What it hears.
        tell: Says what is being done.

    Attributes:
        served: What the server is, once it was ready.
        heard: What it said.
        checks: What is made of it.
        flags: What the server is started with.
    """

    def __init__(
        self, options: VerifyOptions, checkpoint: Checkpoint, recordings: Sequence[Recording], tell: Tell
    ) -> None:
        self._options = options
        self._checkpoint = checkpoint
        self.recordings = recordings
        self._tell = tell
        self.served: Served | None = None
        self.heard: list[Heard] = []
        self.checks: list[Check] = []
        self.flags = _flags(options)

    def run(self) -> None:
        """Start, hear, translate, unload, end.

        Raises:
            StartupError: the server does not start, or does not answer.
        """
        self._tell("starting the server")
        with Door([*self.flags, "--dtype", self._options.wishes.dtype]) as door:
            self.served = door.served()
            for recording in self.recordings:
                self._tell(f"hearing {recording.file.name}")
                self._hear(door, recording)
            self._tell("translating")
            files = [recording.file for recording in self.recordings]
            self.checks += translation_checks(door, self._checkpoint.spec, self._checkpoint.model_id, files)
            state = door.unload(self._checkpoint.model_id)
            self.checks.append(Check(name="unload", passed=state == "cold", detail=f"the model is {state}"))

    def _hear(self, door: Door, recording: Recording) -> None:
        answer, first_seconds = door.transcribe(recording.file, self._checkpoint.model_id)
        again, seconds = door.transcribe(recording.file, self._checkpoint.model_id)
        errors = word_error_rate([recording.text], [answer.text]) if recording.text else None
        heard = Heard(
            recording=recording.file.name,
            expected=recording.text,
            heard=answer.text,
            language=answer.language,
            audio_seconds=answer.duration,
            seconds=seconds,
            word_error_rate=errors,
            most_errors=recording.most_errors,
            words_in_order=are_in_order(answer),
        )
        share = voiced_share(answer, *_voice(recording.file))
        self.checks += _checks_of(heard, words=len(answer.words), same=again.text == answer.text, share=share)
        if not self.heard:
            ratio = first_seconds / seconds
            detail = f"{first_seconds:.2f} s against {seconds:.2f} s (wanted: {SAME_SPEED} times at most, on a quiet machine)"
            self.checks.append(
                Check(
                    name="the first request as fast as the second",
                    passed=None,
                    detail=f"{ratio:.2f} times: {detail}",
                )
            )
            self._told_language(door, recording, heard)
        self.heard.append(heard)

    def _told_language(self, door: Door, recording: Recording, heard: Heard) -> None:
        """Which language it is found to be in, and what is heard when the model is told."""
        spec = self._checkpoint.spec
        if len(spec.speech_languages) == 1 or not recording.text:
            return
        spoken = asyncio.run(tell_language(recording.text, spec.speech_languages))
        found = language_code(heard.language)
        name = f"{recording.file.name}: the language"
        detail = f"told to be {heard.language}, and what is said in it reads as {spoken}"
        self.checks.append(Check(name=name, passed=found == spoken, detail=detail))
        if spoken is None or not hears_language_hint(spec, Task()):
            return
        answer, _ = door.transcribe(recording.file, self._checkpoint.model_id, language=spoken)
        errors = word_error_rate([recording.text], [answer.text])
        judged = None if errors is None or recording.most_errors is None else errors <= recording.most_errors
        detail = "no words" if errors is None else f"word error rate {100 * errors:.1f} %"
        self.checks.append(Check(name=f"{name} said beforehand", passed=judged, detail=detail))


def _voice(file: Path) -> tuple[list[float], float]:
    """Probability of voice in each frame of a recording, and the seconds of a frame."""
    (clip,) = read_clips([str(file)], LONGEST_FILE_SECONDS)
    stream = SileroDetector().open_stream()
    voice = [*stream.push(clip.samples).tolist(), *stream.finish().tolist()]
    return voice, seconds_from_samples(VOICE_FRAME_SAMPLES)


def _checks_of(heard: Heard, *, words: int, same: bool, share: float) -> list[Check]:
    rate = heard.word_error_rate
    errors = "nobody said what is said in it" if rate is None else f"word error rate {100 * rate:.1f} %"
    allowed = "" if heard.most_errors is None else f" ({100 * heard.most_errors:.0f} % pass)"
    name = heard.recording
    return [
        Check(name=f"{name}: the words", passed=heard.passed, detail=errors + allowed),
        Check(
            name=f"{name}: times of the words",
            passed=heard.words_in_order and (words > 0 or not heard.heard),
            detail=f"{words} words, one behind the other and inside of {heard.audio_seconds:.1f} s",
        ),
        Check(
            name=f"{name}: words inside of the speech",
            passed=share >= LEAST_VOICED,
            detail=f"{100 * share:.0f} % of them ({100 * LEAST_VOICED:.0f} % pass)",
        ),
        Check(
            name=f"{name}: the same when asked again", passed=same, detail="greedy decoding repeats itself"
        ),
    ]


def _flags(options: VerifyOptions) -> list[str]:
    flags = ["--model", options.model, "--device", options.wishes.device]
    if options.revision != DEFAULT_REVISION:
        flags += ["--revision", options.revision]
    if options.wishes.quantization != "none":
        flags += ["--quantization", options.wishes.quantization]
    return flags


def _arithmetic(
    options: VerifyOptions, visit: Visit, estimates: Estimates, tell: Tell
) -> tuple[BenchReport, ...]:
    """In every number format that fits here."""
    reports: list[BenchReport] = []
    recordings = [(one.file, one.text) for one in visit.recordings]
    for dtype in DTYPES:
        wishes = msgspec.structs.replace(options.wishes, dtype=dtype)
        tell(f"comparing with transformers in {dtype}")
        try:
            plan_for(options.model, estimates, read_torch_facts(), wishes, os.environ)
            with TemporaryDirectory(prefix="lithophone-") as folder:
                reports.append(measure(visit.flags, dtype, recordings, Path(folder)))
        except DoesNotFitError:
            visit.checks.append(Check(name=dtype, passed=None, detail="does not fit here"))
        except StartupError as error:
            visit.checks.append(Check(name=dtype, passed=False, detail=error.message))
    return tuple(reports)
