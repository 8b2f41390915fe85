"""What a verification found. Owns the report's structs, which are its JSON, and the verdict. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from lithophone.bench.report import BenchReport, Way

MOST_DRIFT = 0.1
"""How far the word error rate in half precision may be from that in float32."""

VOICED = 0.35
"""Probability of voice from which on a frame counts as speech; synthesised voices are less sure than people's."""

NEAR_SECONDS = 0.25
"""How far from speech a word may be: a frame of the CTC head, and the pause that a window ends in."""

LEAST_VOICED = 0.9
"""The share of words that have to be inside of speech; music and noise hide some."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One question and its answer; `passed` is None for what is told and not judged."""

    name: str
    passed: bool | None
    detail: str


class HeardWord(msgspec.Struct, frozen=True, kw_only=True):
    """A word of an answer of the server."""

    word: str
    start: float
    end: float


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the server says about a recording, as far as it is looked at (`verbose_json`)."""

    text: str
    language: str
    duration: float
    words: tuple[HeardWord, ...] = ()


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """A recording through the server. `seconds` is by the clock, from the request to the answer."""

    recording: str
    expected: str | None
    heard: str
    language: str
    audio_seconds: float
    seconds: float
    word_error_rate: float | None
    most_errors: float | None
    words_in_order: bool

    @property
    def passed(self) -> bool | None:
        """Whether it is near enough to what was said."""
        if self.word_error_rate is None or self.most_errors is None:
            return None
        return self.word_error_rate <= self.most_errors

    @property
    def realtime_factor(self) -> float:
        """Time by length of audio."""
        return self.seconds / max(self.audio_seconds, 1e-9)


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """What the server said of itself once it was ready."""

    device: str
    dtype: str
    revision: str | None
    load_seconds: float
    warm_up_seconds: float
    memory_bytes: int


class VerifyReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `lithophone verify` says; `arithmetic` has one report of `lithophone bench` for each dtype."""

    command: str
    model: str
    license: str
    folder: str
    estimated_bytes: int
    served: Served | None
    heard: tuple[Heard, ...]
    arithmetic: tuple[BenchReport, ...]
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return all(check.passed is not False for check in self.checks)


def are_in_order(answer: Answer) -> bool:
    """Whether the words follow each other inside the recording, none ending before it begins."""
    inside = all(0 <= word.start <= word.end <= answer.duration + 0.01 for word in answer.words)
    return inside and all(one.start <= other.start for one, other in pairwise(answer.words))


def voiced_share(answer: Answer, voice: Sequence[float], frame_seconds: float) -> float:
    """How many of the words are spoken where somebody speaks; 1 without words.

    Args:
        answer: With its words.
        voice: Probability of voice in each frame of the recording.
        frame_seconds: The length of a frame.
    """
    if not answer.words:
        return 1.0
    heard = [number * frame_seconds for number, probability in enumerate(voice) if probability >= VOICED]
    spoken = [
        any(word.start - NEAR_SECONDS <= at <= word.end + NEAR_SECONDS for at in heard)
        for word in answer.words
    ]
    return sum(spoken) / len(spoken)


def arithmetic_checks(reports: Sequence[BenchReport]) -> list[Check]:
    """Whether our way says what transformers' own does, and whether dtypes agree.

    In float32 every token has to be the same, alone, drafted and in a batch. In half precision rounding may decide between
    two tokens: that is told, and judged by the word error rate.
    """
    checks: list[Check] = []
    for report in reports:
        rows = [row for row in report.rows if row.way is not Way.GENERATE]
        same, clips = sum(row.same_tokens for row in rows), sum(row.clips for row in rows)
        strict = report.model.dtype == "float32"
        checks.append(
            Check(
                name=f"{report.model.dtype}: the tokens of transformers' generate",
                passed=same == clips if strict else None,
                detail=f"{same} of {clips} transcripts, alone and in batches, with drafts and without",
            )
        )
    return checks + _agreement(reports)


def _agreement(reports: Sequence[BenchReport]) -> list[Check]:
    rates = {report.model.dtype: _rate(report) for report in reports}
    exact = rates.get("float32")
    if exact is None:
        return []
    return [
        Check(
            name=f"{dtype} hears what float32 hears",
            passed=abs(rate - exact) <= MOST_DRIFT,
            detail=f"word error rate {100 * rate:.1f} % against {100 * exact:.1f} %",
        )
        for dtype, rate in rates.items()
        if dtype != "float32" and rate is not None
    ]


def _rate(report: BenchReport) -> float | None:
    return next((row.word_error_rate for row in reversed(report.rows) if row.way is not Way.GENERATE), None)


def marked(expected: str, heard: str) -> str:
    """Both texts in one: words that were expected and not heard as [-so-], those heard instead as {+so+}."""
    said, got = expected.casefold().split(), heard.split()
    plain = [_bare(word) for word in got]
    matcher = difflib.SequenceMatcher(None, [_bare(word) for word in said], plain, autojunk=False)
    parts: list[str] = []
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            parts += got[c:d]
            continue
        parts += [f"[-{' '.join(said[a:b])}-]"] if b > a else []
        parts += [f"{{+{' '.join(got[c:d])}+}}"] if d > c else []
    return " ".join(parts)


def _bare(word: str) -> str:
    return "".join(character for character in word.casefold() if character.isalnum())


def report_json(report: VerifyReport) -> str:
    """The report as one indented JSON document, verdict included."""
    told = {"passed": report.passed, **msgspec.to_builtins(report)}
    return msgspec.json.format(msgspec.json.encode(told), indent=2).decode()
