from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lithophone.audio.windows import Window
from lithophone.backends.base import Recognition, RecognitionRequest
from lithophone.backends.fake import FakeBackend
from lithophone.engine.conversation import Conversation
from lithophone.engine.options import JobOptions
from lithophone.granite.parsing import parse_speakers, spoken_words
from lithophone.granite.prompts import Tags
from lithophone.granite.words import spread_words
from tests.engine.conftest import blocks, noise, running

RATE = 16_000


def window(seconds: float, *, shared: float = 0.0) -> Window:
    return Window(0, np.zeros(round(seconds * RATE), np.float32), shared_before_samples=round(shared * RATE))


def answer(tagged: str, seconds: float = 10.0) -> Recognition:
    """What the backend makes of a tagged answer."""
    spoken = spoken_words(tagged)
    words = tuple(
        msgspec.structs.replace(word, speaker=speaker)
        for word, speaker in zip(spread_words(spoken.text, 0.0, seconds), spoken.speakers, strict=True)
    )
    return Recognition(
        text=spoken.text, tokens=(), prompt_tokens=0, audio_tokens=0, no_speech_probability=0.0, words=words
    )


def speakers(recognition: Recognition) -> list[int | None]:
    return [word.speaker for word in recognition.words]


def test_the_first_window_has_nothing_before_it() -> None:
    context = Conversation().before(window(10))
    assert (len(context.samples), context.text) == (0, "")


def test_what_was_said_goes_before_the_next_window_as_the_model_wrote_it() -> None:
    conversation = Conversation()
    conversation.before(window(10))
    conversation.add(window(10), answer("[Speaker 1]: hello there [Speaker 2]: hi"))
    context = conversation.before(window(10))
    assert len(context.samples) == 10 * RATE
    assert context.text == "[Speaker 1]: hello there [Speaker 2]: hi"


def test_words_before_the_first_tag_are_the_last_speakers() -> None:
    conversation = Conversation()
    conversation.before(window(10))
    conversation.add(window(10), answer("[Speaker 1]: hello [Speaker 2]: hi"))
    conversation.before(window(10))
    assert speakers(conversation.add(window(10), answer("again [Speaker 1]: yes [Speaker 3]: me too"))) == [
        2,
        1,
        3,
        3,
    ]


def test_an_answer_without_any_tag_is_the_first_speakers() -> None:
    conversation = Conversation()
    conversation.before(window(10))
    assert speakers(conversation.add(window(10), answer("no tag at all"))) == [1, 1, 1, 1]


def test_numbers_are_the_recordings_though_the_model_counts_from_one_again() -> None:
    conversation = Conversation(context_seconds=10)
    conversation.before(window(10))
    conversation.add(window(10), answer("[Speaker 1]: one [Speaker 2]: two"))
    conversation.before(window(10))
    conversation.add(window(10), answer("[Speaker 2]: two alone"))
    context = conversation.before(window(10))
    assert context.text == "[Speaker 1]: two alone"
    heard = conversation.add(window(10), answer("[Speaker 1]: still two [Speaker 2]: somebody new"))
    assert speakers(heard) == [2, 2, 3, 3]


def test_the_context_ends_where_the_next_window_begins() -> None:
    conversation = Conversation()
    conversation.before(window(10))
    conversation.add(window(10), answer("[Speaker 1]: aa bb cc dd ee"))
    context = conversation.before(window(10, shared=4.0))
    assert len(context.samples) == 6 * RATE
    assert context.text == "[Speaker 1]: aa bb cc"


turns = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from(["yes", "no no", "well I see"])), min_size=1, max_size=6
)


@given(st.lists(turns, min_size=1, max_size=6), st.sampled_from([10.0, 25.0, 60.0]))
def test_a_context_always_starts_with_speaker_one_and_counts_on(
    windows: Sequence[list[tuple[int, str]]], limit: float
) -> None:
    conversation = Conversation(limit)
    for spoken in windows:
        context = conversation.before(window(10))
        assert len(context.samples) <= limit * RATE
        numbers = [turn.speaker for turn in parse_speakers(context.text)]
        first_seen = list(dict.fromkeys(numbers))
        assert first_seen == list(range(1, len(first_seen) + 1))
        tagged = " ".join(f"[Speaker {number}]: {text}" for number, text in spoken)
        heard = conversation.add(window(10), answer(tagged))
        assert len(heard.words) == len(spoken_words(tagged).speakers)
        assert None not in speakers(heard)


def test_a_job_tells_each_window_what_was_said_before_it() -> None:
    asked: list[RecognitionRequest] = []

    def hear(request: RecognitionRequest) -> str:
        asked.append(request)
        return "[Speaker 1]: hello [Speaker 2]: and hello to you" if not request.task.prefix_text else "bye"

    async def transcribe() -> list[tuple[int | None, str]]:
        async with running(FakeBackend(hear)) as jobs:
            job = jobs.job(blocks(noise(25), bytes(32_000), noise(25)), JobOptions(speakers=True))
            return [(segment.speaker, segment.text) async for segment in job]

    segments = asyncio.run(transcribe())
    assert [speaker for speaker, _ in segments] == [1, 2, 2]
    assert [request.task.tags for request in asked] == [Tags.SPEAKERS] * 2
    assert asked[1].task.prefix_text == "[Speaker 1]: hello [Speaker 2]: and hello to you"
    assert asked[1].context_samples == len(asked[0].samples)
    assert len(asked[1].samples) > asked[1].context_samples
