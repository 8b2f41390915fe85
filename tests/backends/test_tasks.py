"""Prompts and answers of every kind of task, on checkpoints of the family's shapes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lithophone.backends.base import Recognition, RecognitionRequest
from lithophone.backends.decoding.decoded import Decoded
from lithophone.backends.device.facts import TorchFacts
from lithophone.backends.device.plan import DevicePlan
from lithophone.backends.transformers_backend.checkpoint import fetch, read_reference
from lithophone.backends.transformers_backend.speech_model import SpeechModel
from lithophone.granite.prompts import Tags, Task
from tests.backends.conftest import babble

PLUS = "granite-speech-4.1-2b-plus"
SECONDS = 12.0
SYSTEM = (
    "Knowledge Cutoff Date: April 2024.\nToday's Date: {date}.\n"
    "You are Granite, developed by IBM. You are a helpful AI assistant"
)
SPEAKERS = (
    "<|audio|> Speaker attribution: Transcribe and denote who is speaking by adding [Speaker 1]: and [Speaker 2]: tags "
    "before speaker turns."
)


def control(role: str, content: str) -> str:
    return f"<|start_of_role|>{role}<|end_of_role|>{content}<|end_of_text|>\n"


ASSISTANT = "<|start_of_role|>assistant<|end_of_role|>"
PLAIN = "can you transcribe the speech into a written format?"
SYSTEM_3_3 = control("system", SYSTEM.format(date="April 9, 2025"))
SYSTEM_PLUS = control("system", SYSTEM.format(date="December 19, 2024"))
RENDERED = [
    ("granite-speech-3.3-2b", Task(), SYSTEM_3_3 + control("user", f"<|audio|>{PLAIN}") + ASSISTANT),
    ("granite-speech-3.3-8b", Task(), SYSTEM_3_3 + control("user", f"<|audio|>{PLAIN}") + ASSISTANT),
    ("granite-4.0-1b-speech", Task(), f"USER: <|audio|>{PLAIN}\n ASSISTANT:"),
    (
        "granite-4.0-1b-speech",
        Task(keywords=("gneiss",)),
        f"USER: <|audio|>{PLAIN} Keywords: gneiss\n ASSISTANT:",
    ),
    (
        "granite-4.0-1b-speech",
        Task(translate_to="ja"),
        "USER: <|audio|>translate the speech to Japanese.\n ASSISTANT:",
    ),
    (
        "granite-speech-4.1-2b",
        Task(),
        "USER: <|audio|>transcribe the speech with proper punctuation and capitalization.\n ASSISTANT:",
    ),
    (PLUS, Task(), SYSTEM_PLUS + control("user", f"<|audio|> {PLAIN}") + ASSISTANT),
    (
        "granite-speech-3.3-2b",
        Task(translate_to="fr"),
        SYSTEM_3_3 + control("user", "<|audio|>translate the speech to French") + ASSISTANT,
    ),
    (
        "granite-speech-4.1-2b",
        Task(language="de"),
        "USER: <|audio|>transcribe the German speech with proper punctuation and capitalization.\n ASSISTANT:",
    ),
    (
        "granite-speech-4.1-2b",
        Task(keywords=("gneiss", "Ada Lovelace")),
        "USER: <|audio|>transcribe the speech to text. Keywords: gneiss, Ada Lovelace\n ASSISTANT:",
    ),
    (
        PLUS,
        Task(tags=Tags.SPEAKERS, prefix_text="[Speaker 1]: how are you"),
        SYSTEM_PLUS + control("user", SPEAKERS) + ASSISTANT + "[Speaker 1]: how are you",
    ),
]


@pytest.fixture
def model_of(
    shape: Callable[[str], Path], plan: DevicePlan, facts: TorchFacts
) -> Callable[[str], SpeechModel]:
    def opened(name: str) -> SpeechModel:
        return SpeechModel.load(
            fetch(read_reference(str(shape(name)))), plan, facts, windows=4, speculate=True
        )

    return opened


@pytest.mark.parametrize(("name", "task", "text"), RENDERED, ids=lambda value: str(value)[:24])
def test_a_prompt_is_rendered_to_the_letter(
    model_of: Callable[[str], SpeechModel], name: str, task: Task, text: str
) -> None:
    assert model_of(name).prompting.prompt(task) == text


def answered(model: SpeechModel, text: str, task: Task, context_seconds: float = 0.0) -> Recognition:
    """What is made of it when the model says `text` to 12 s behind a context."""
    samples = babble(context_seconds + SECONDS)
    request = RecognitionRequest(samples=samples, task=task, context_samples=round(context_seconds * 16_000))
    (window,) = model.hear([request])
    tokens = model.prompting.encode(text)
    decoded = Decoded(
        key=0,
        tokens=tuple(tokens),
        log_probs=(-0.5,) * len(tokens),
        truncated=False,
        passes=1,
        drafted=0,
        accepted=0,
    )
    return model.answers.answer(model.decoded_window(window, decoded))


def test_speaker_tags_become_speakers_of_words(model_of: Callable[[str], SpeechModel]) -> None:
    said = "[Speaker 1]: hello how are you [Speaker 2]: fine [Speaker 1]: good"
    heard = answered(model_of(PLUS), said, Task(tags=Tags.SPEAKERS))
    assert heard.text == "hello how are you fine good"
    assert [word.speaker for word in heard.words] == [1, 1, 1, 1, 2, 1]
    assert "".join(word.text for word in heard.words) == heard.text


def test_an_answer_behind_a_context_is_timed_from_the_contexts_end(
    model_of: Callable[[str], SpeechModel],
) -> None:
    task = Task(tags=Tags.SPEAKERS, prefix_text="[Speaker 1]: hello")
    heard = answered(model_of(PLUS), "and so on [Speaker 2]: yes", task, context_seconds=20.0)
    assert [word.speaker for word in heard.words] == [None, None, None, 2]
    assert all(0 <= word.start_seconds <= word.end_seconds <= SECONDS for word in heard.words)


def test_native_times_are_unwrapped_and_glued_words_parted(model_of: Callable[[str], SpeechModel]) -> None:
    said = "_ [T:50] one [T:100]two[T:180] three [T:30] late [T:999]"
    heard = answered(model_of(PLUS), said, Task(tags=Tags.WORD_TIMES))
    assert heard.text == "one two three late"
    times = [(word.start_seconds, word.end_seconds) for word in heard.words]
    assert times == [(0.5, 1.0), (1.0, 1.8), (1.8, 10.3), (10.3, 12.0)]


def test_a_model_that_writes_no_times_is_aligned_instead(model_of: Callable[[str], SpeechModel]) -> None:
    heard = answered(model_of(PLUS), "no times here", Task(tags=Tags.WORD_TIMES))
    assert heard.text == "no times here"
    assert len(heard.words) == 3
    assert heard.words[0].probability is not None


def test_a_translation_is_spread_over_the_speech(model_of: Callable[[str], SpeechModel]) -> None:
    heard = answered(model_of("granite-speech-3.3-2b"), "Bonjour tout le monde", Task(translate_to="fr"))
    assert heard.text == "Bonjour tout le monde"
    assert {word.probability for word in heard.words} == {0.0}
    ends = [word.end_seconds for word in heard.words]
    assert ends == sorted(ends)
    assert ends[-1] <= SECONDS


@pytest.mark.parametrize(
    "task", [Task(tags=Tags.SPEAKERS), Task(tags=Tags.WORD_TIMES)], ids=["speakers", "times"]
)
def test_a_tagged_task_runs_from_audio_to_words(model_of: Callable[[str], SpeechModel], task: Task) -> None:
    model = model_of(PLUS)
    request = RecognitionRequest(samples=babble(2.0), task=task)
    (window,) = model.hear([request])
    batch = model.start_decoding(settle_ties=True)
    batch.admit([model.sequence(0, window, speculate=True)])
    done: list[Decoded] = []
    while not done:
        done = batch.step()
    heard = model.answers.answer(model.decoded_window(window, done[0]))
    assert "".join(word.text for word in heard.words) == heard.text
