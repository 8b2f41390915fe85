"""Windows of a model that is a CTC head alone: company changes no word, and what goes together is bounded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from lithophone.backends.answers.ctc import LABELS_SEEN, stops_without_space
from lithophone.backends.base import Recognition, RecognitionRequest, Samples
from lithophone.backends.device.plan import DevicePlan
from lithophone.backends.device.runtime import TorchRuntime
from lithophone.backends.transformers_backend.ctc import LEAST_FILLED, CtcBackend, fitting
from tests.backends.conftest import babble, opened

SPEECH = Path(__file__).resolve().parents[2] / "examples" / "speech"
LENGTHS = st.lists(st.integers(1, 400), min_size=1, max_size=12)


def answered(backend: CtcBackend, clips: list[Samples]) -> list[Recognition]:
    """All of them in one pass, whatever their lengths."""
    with TorchRuntime().thread():
        windows = backend.label([RecognitionRequest(samples=clip) for clip in clips])
    return [backend.answers.answer(window) for window in windows]


def speech(most: int) -> list[Samples]:
    files = [json.loads(line)["file"] for line in (SPEECH / "manifest.jsonl").read_text().splitlines()]
    return [
        np.asarray(soundfile.read(SPEECH / file, dtype="float32")[0], np.float32) for file in files[:most]
    ]


def ctc(reference: str, plan: DevicePlan) -> CtcBackend:
    backend = opened(reference, plan)
    assert isinstance(backend, CtcBackend)
    return backend


def test_company_changes_no_word_of_speech(plan: DevicePlan) -> None:
    backend = ctc("granite-speech-tiny-ctc", plan)
    clips = speech(8)
    assert len({len(clip) for clip in clips}) > 1
    alone = [answered(backend, [clip])[0] for clip in clips]
    together = answered(backend, clips)
    assert [one.text for one in together] == [one.text for one in alone]
    assert all(one.text for one in alone)
    times = [[(word.start_seconds, word.end_seconds) for word in one.words] for one in together]
    assert times == [[(word.start_seconds, word.end_seconds) for word in one.words] for one in alone]


def test_company_changes_no_label_of_the_real_layout(shape: Callable[[str], Path], plan: DevicePlan) -> None:
    backend = ctc(str(shape("granite-speech-5.0-470m-turboctc")), plan)
    clips: list[Samples] = [babble(seconds, seed) for seed, seconds in enumerate((6.1, 1.3, 3.7, 0.4))]
    together = answered(backend, clips)
    for clip, one in zip(clips, together, strict=True):
        alone = answered(backend, [clip])[0]
        assert [token.id for token in one.tokens] == [token.id for token in alone.tokens]
        assert one.audio_tokens == alone.audio_tokens
        assert one.no_speech_probability == pytest.approx(alone.no_speech_probability, rel=1e-3)


def test_words_end_where_the_text_before_them_does(plan: DevicePlan) -> None:
    """What the stops are by definition, each from the text of all labels up to it."""
    backend = ctc("granite-speech-tiny-ctc", plan)
    with TorchRuntime().thread():
        (window,) = backend.label([RecognitionRequest(samples=speech(1)[0])])
    answers = backend.answers
    runs = answers._runs(window)
    prefixes = [answers._decode(window.labels[: run.span.stop]).strip() for run in runs]
    assert answers._stops([run.label for run in runs]) == [len(prefix) for prefix in prefixes]
    assert len(runs) > LABELS_SEEN


@given(text=st.text(alphabet="ab \n", max_size=30), data=st.data())
def test_stops_without_space_are_the_lengths_of_stripped_texts(text: str, data: st.DataObject) -> None:
    stops = data.draw(st.lists(st.integers(0, len(text))))
    leading = len(text) - len(text.lstrip())
    expected = [max(0, len(text[:stop].rstrip()) - leading) for stop in stops]
    assert stops_without_space(text, stops) == expected == [len(text[:stop].strip()) for stop in stops]


@given(lengths=LENGTHS, most=st.integers(1, 2000))
def test_a_pass_takes_the_first_and_what_fits_beside_it(lengths: list[int], most: int) -> None:
    chosen = fitting(lengths, most)
    taken = [lengths[place] for place in chosen]
    padded = max(taken) * len(taken)
    assert chosen[0] == 0
    assert chosen == sorted(set(chosen))
    assert len(taken) == 1 or (padded <= most and sum(taken) >= LEAST_FILLED * padded)


def test_windows_of_one_length_go_together_and_a_long_one_alone() -> None:
    assert fitting([10, 10, 10, 10], 30) == [0, 1, 2]
    assert fitting([30, 3, 30], 30) == [0]
    assert fitting([3, 30, 3], 30) == [0, 2]
    assert fitting([40], 30) == [0]
