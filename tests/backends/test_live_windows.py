"""A window that is heard again while it grows: the model goes on behind the words that stand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from lithophone.backends.base import Backend, LiveWindow, Recognition, RecognitionRequest, Samples
from lithophone.backends.device.facts import read_torch_facts
from lithophone.backends.device.plan import DevicePlan
from lithophone.backends.device.runtime import TorchRuntime
from lithophone.backends.transformers_backend.checkpoint import fetch, read_reference
from lithophone.backends.transformers_backend.speech import SpeechBackend
from lithophone.granite.family import DEMONSTRATION_ID
from tests.backends.conftest import RATE, heard_by, opened, transcribed

SPEECH = Path(__file__).resolve().parents[2] / "examples" / "speech"
FRAME = 320
CTC = "granite-speech-tiny-ctc"


def demo() -> Samples:
    samples, _ = soundfile.read(SPEECH / "demo.flac", dtype="float32")
    return np.asarray(samples, np.float32)


@pytest.fixture(scope="module")
def backend(plan: DevicePlan) -> Backend:
    return opened(DEMONSTRATION_ID, plan)


def heard_live(
    backend: Backend, samples: Samples, said: tuple[int, ...] = (), context: int = 0, expected: str = ""
) -> Recognition:
    live = LiveWindow(key="window", said=said, expected=expected)
    return transcribed(backend, RecognitionRequest(samples=samples, context_samples=context, live=live))[0]


def behind(recognition: Recognition, word: int) -> tuple[tuple[int, ...], int]:
    """What is given back of the words up to one: their tokens, and where the last of them ends."""
    said = tuple(token.id for token in recognition.tokens[: recognition.token_stops[word]])
    return said, round(recognition.words[word].end_seconds * RATE) // FRAME * FRAME


@pytest.mark.parametrize("name", [DEMONSTRATION_ID, CTC])
def test_what_follows_the_words_that_stand_is_what_followed_them(name: str, plan: DevicePlan) -> None:
    backend = opened(name, plan)
    whole = heard_live(backend, demo())
    for word in range(len(whole.words) - 1):
        said, context = behind(whole, word)
        rest = heard_live(backend, demo(), said, context)
        assert rest.text == "".join(other.text for other in whole.words[word + 1 :])
        assert rest.text.startswith(" ")
        assert "".join(other.text for other in rest.words) == rest.text
        assert [token.id for token in rest.tokens] == [
            token.id for token in whole.tokens[whole.token_stops[word] :]
        ]


@pytest.mark.parametrize("name", [DEMONSTRATION_ID, CTC])
def test_times_count_from_where_the_words_that_stand_end(name: str, plan: DevicePlan) -> None:
    backend = opened(name, plan)
    whole = heard_live(backend, demo())
    said, context = behind(whole, 3)
    rest = heard_live(backend, demo(), said, context)
    for now, then in zip(rest.words, whole.words[4:], strict=True):
        assert now.start_seconds + context / RATE == pytest.approx(then.start_seconds, abs=0.1)
        assert now.end_seconds + context / RATE == pytest.approx(then.end_seconds, abs=0.1)


@pytest.mark.parametrize("name", [DEMONSTRATION_ID, CTC])
def test_each_word_has_its_tokens(name: str, plan: DevicePlan) -> None:
    whole = heard_live(opened(name, plan), demo())
    starts = (0, *whole.token_stops)
    texts = [
        "".join(token.text for token in whole.tokens[start:stop])
        for start, stop in zip(starts, whole.token_stops, strict=False)
    ]
    spoken = [word.text.strip() for word in whole.words]
    assert [text.replace(" ", "") for text in texts] == spoken
    assert whole.token_stops[-1] == len(whole.tokens)


def test_what_was_heard_before_saves_passes_and_changes_nothing(backend: Backend) -> None:
    samples = demo()
    before = heard_live(backend, samples[: 2 * RATE])
    plain = heard_live(backend, samples)
    guided = heard_live(backend, samples, expected=before.text)
    assert (guided.text, guided.words) == (plain.text, plain.words)
    assert heard_live(backend, samples, expected=plain.text).passes == 1


def test_a_model_says_how_sure_it_is_that_nothing_follows(backend: Backend) -> None:
    recognition = heard_live(backend, demo())
    assert recognition.end_logprob is not None
    assert recognition.end_logprob <= 0


def test_a_piece_of_a_transcript_tells_nothing_of_how_the_next_is_written(plan: DevicePlan) -> None:
    """A live window's answer ends in the middle of a sentence: drafts of files must not learn from it."""
    backend = opened(DEMONSTRATION_ID, plan)
    plain = transcribed(backend, RecognitionRequest(samples=demo()))[0]
    whole = heard_live(backend, demo())
    for word in range(3):
        heard_live(backend, demo(), *behind(whole, word))
    again = transcribed(backend, RecognitionRequest(samples=demo()))[0]
    assert again.passes <= plain.passes


def test_what_is_settled_of_a_window_that_grows_is_not_heard_again(plan: DevicePlan) -> None:
    with TorchRuntime().thread():
        backend = SpeechBackend(fetch(read_reference(DEMONSTRATION_ID)), plan, read_torch_facts())
    hearing, samples = backend._model.hearing, np.tile(demo(), 2)
    ends = range(4 * RATE, len(samples), RATE // 2)
    texts = [heard_live(backend, samples[:end]).text for end in ends]
    assert hearing.frame_counts.frames < sum(end // FRAME for end in ends) / 2
    assert texts[-1] == heard_by(backend, samples[: ends[-1]]).text
