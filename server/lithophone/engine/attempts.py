"""One window through the model, and once more in another way where the first try went round in circles.

Owns what is tried and which try is kept. Knows no queue: it is given a function that recognises.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import msgspec

from lithophone.audio.waveform import SAMPLE_RATE, samples_from_seconds
from lithophone.audio.windows import quietest_cut
from lithophone.backends.base import Recognition, RecognitionRequest
from lithophone.engine.repetition import is_looping
from lithophone.engine.transcript import compression_ratio
from lithophone.granite.prompts import Tags
from lithophone.granite.words import moved

RETRY_TEMPERATURE: Final = 0.4
LEAST_HALVED_SECONDS: Final = 4.0  # a shorter window is not cut again

Recognise = Callable[[RecognitionRequest], Awaitable[Recognition]]


class Attempt(NamedTuple):
    """What is kept of a window: `temperature` is the highest a part of it was drawn at."""

    recognition: Recognition
    temperature: float
    retried: bool = False


async def recognise_soundly(recognise: Recognise, request: RecognitionRequest) -> Attempt:
    """The window's recognition; one that loops is tried again in two halves, and a half that still loops by sampling.

    Of all that was heard the least repetitive is kept.
    """
    first = Attempt(await recognise(request), request.temperature)
    if not is_looping(first.recognition.text):
        return first
    if not _can_be_halved(request):
        again = await _sampled(recognise, request)
    else:
        again = await _halved(recognise, request)
    return min((first, again), key=_repetitiveness)._replace(retried=True)


def _can_be_halved(request: RecognitionRequest) -> bool:
    """Not where it is short, nor where the second half would count its speakers anew."""
    long_enough = len(request.samples) >= samples_from_seconds(LEAST_HALVED_SECONDS)
    return long_enough and request.task.tags is not Tags.SPEAKERS


async def _halved(recognise: Recognise, request: RecognitionRequest) -> Attempt:
    """Cut at the quietest place of the middle third."""
    length = len(request.samples)
    cut = quietest_cut(request.samples, length // 3, 2 * length // 3)
    halves: list[Attempt] = []
    for samples in (request.samples[:cut], request.samples[cut:]):
        half = msgspec.structs.replace(request, samples=samples)
        attempt = Attempt(await recognise(half), request.temperature)
        if is_looping(attempt.recognition.text):
            attempt = min((attempt, await _sampled(recognise, half)), key=_repetitiveness)
        halves.append(attempt)
    first, second = halves
    return Attempt(
        joined(first.recognition, second.recognition, cut / SAMPLE_RATE),
        max(first.temperature, second.temperature),
    )


async def _sampled(recognise: Recognise, request: RecognitionRequest) -> Attempt:
    temperature = max(request.temperature, RETRY_TEMPERATURE)
    return Attempt(await recognise(msgspec.structs.replace(request, temperature=temperature)), temperature)


def _repetitiveness(attempt: Attempt) -> tuple[bool, float]:
    text = attempt.recognition.text
    return is_looping(text), compression_ratio(text)


def joined(first: Recognition, second: Recognition, cut_seconds: float) -> Recognition:
    """Two parts of one window as one; the second starts `cut_seconds` into it."""
    space = " " if first.text and second.text else ""
    later = [moved(word, cut_seconds) for word in second.words]
    if later:
        later[0] = msgspec.structs.replace(later[0], text=space + later[0].text)
    return msgspec.structs.replace(
        first,
        text=first.text + space + second.text,
        tokens=first.tokens + second.tokens,
        words=(*first.words, *later),
        prompt_tokens=first.prompt_tokens + second.prompt_tokens,
        audio_tokens=first.audio_tokens + second.audio_tokens,
        no_speech_probability=min(first.no_speech_probability, second.no_speech_probability),
        truncated=first.truncated or second.truncated,
        passes=first.passes + second.passes,
        drafted_tokens=first.drafted_tokens + second.drafted_tokens,
        accepted_tokens=first.accepted_tokens + second.accepted_tokens,
    )
