"""Translations that are judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from lithophone.granite.family import FAMILY
from lithophone.verify.known import translation_of
from lithophone.verify.report import Answer
from lithophone.verify.translating import translation_checks

RATE = 16_000
SPEC = FAMILY["granite-speech-4.1-2b"]
GERMAN = "Als es Zeit war, rief sie in der folgenden Nacht ihre Schwester und bat sie um die Geschichte des Fischers."


class Translator:
    """Says the same into each language, and remembers how long the files were."""

    def __init__(self, **texts: str) -> None:
        self.texts = texts
        self.seconds: list[float] = []

    def translate(self, file: Path, model: str, language: str) -> tuple[Answer, float]:
        assert model == "served"
        self.seconds.append(soundfile.info(file).duration)
        return Answer(text=self.texts[language], language="english", duration=1.0), 0.1


def recording(folder: Path, name: str, seconds: int = 20) -> Path:
    path = folder / name
    soundfile.write(path, np.zeros(seconds * RATE, np.float32), RATE)
    return path


def verdicts(folder: Path, name: str, english: str) -> tuple[list[bool | None], list[float]]:
    door = Translator(de=GERMAN, en=english)
    checks = translation_checks(door, SPEC, "served", [recording(folder, name)])
    return [check.passed for check in checks], door.seconds


@pytest.mark.parametrize(
    ("english", "passed"), [("the very words", True), ("Something else was said.", False)]
)
def test_the_french_half_has_to_be_translated_as_ibm_says(tmp_path: Path, english: str, passed: bool) -> None:
    known = translation_of(SPEC)
    assert known is not None
    said = known.text.replace("called", "did call") if passed else english
    assert verdicts(tmp_path, "multilingual_sample.wav", said) == ([True, passed], [20.0, 8.0])


def test_a_recording_that_ends_before_its_french_half_is_another_one(tmp_path: Path) -> None:
    short = recording(tmp_path, "multilingual_sample.wav", seconds=3)
    *_, known = translation_checks(Translator(de=GERMAN), SPEC, "served", [short])
    assert known.passed is False
    assert known.detail == "it ends after 3.0 s: it is another recording"


def test_of_another_recording_the_language_alone_is_judged(tmp_path: Path) -> None:
    assert verdicts(tmp_path, "other.wav", "") == ([True], [20.0])


def test_a_model_without_translation_is_asked_for_none(tmp_path: Path) -> None:
    spec = FAMILY["granite-speech-4.1-2b-plus"]
    assert not spec.translation_targets
    assert translation_checks(Translator(), spec, "served", [recording(tmp_path, "a.wav")]) == []
