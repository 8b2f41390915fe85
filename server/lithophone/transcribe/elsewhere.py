"""Transcribing by a server, over the network, with `lithophone-client`.

Owns how its answers become transcripts again, so that documents are written here by the same code. Only this module
imports the client, which is a distribution of its own.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import BinaryIO, Final

from lithophone.backends.base import Token
from lithophone.engine import transcript as whole
from lithophone.errors import ConfigurationError, InvalidRequestError, UnavailableError
from lithophone.granite.family import LANGUAGE_NAMES
from lithophone.granite.words import Word
from lithophone.http.forms import TranslationForm
from lithophone.transcribe.transcriber import Heard, Maker, Wanted
from lithophone_client import (
    APIError,
    AsyncLithophone,
    AuthenticationError,
    CannotConnectError,
    LithophoneError,
    Model,
    NotFoundError,
    VerboseTranscription,
)
from lithophone_client import (
    Segment as HeardSegment,
)
from lithophone_client import (
    Word as HeardWord,
)

AT_ONCE: Final = 8
"""Requests under way: enough for the batch of most servers, and few of the places that others want too."""

OF_ONE_RECORDING: Final = ("file: ", "audio_track: ", "model: ")
"""How warnings begin that are true of a recording, and may be of the next; the others are of what is asked for."""

PATIENT_RETRIES: Final = 20
"""A server that is full says for how long; a folder has time."""


class TranscriberElsewhere:
    """See `Transcriber`; `client` is open."""

    def __init__(self, client: AsyncLithophone, model: Model, wanted: Wanted) -> None:
        self._client = client
        self._model = model
        self._wanted = wanted
        self._told: set[str] = set()

    @property
    def maker(self) -> Maker:
        """See `Transcriber`."""
        details = self._model.lithophone
        if details is None:
            return Maker(self._model.id, None)
        return Maker(details.alias_of or self._model.id, details.revision)

    @property
    def note(self) -> str | None:
        """What a demonstration model says of itself."""
        return self._model.lithophone and self._model.lithophone.note

    @property
    def at_once(self) -> int:
        """See `Transcriber`."""
        return AT_ONCE

    async def transcribe(self, file: BinaryIO, heard: Callable[[Heard], None]) -> whole.Transcript:
        """See `Transcriber`."""
        try:
            answer = await self._ask(file)
        except (AuthenticationError, NotFoundError, CannotConnectError) as error:
            raise ConfigurationError(f"the server: {error.message}") from error
        except APIError as error:
            raise InvalidRequestError(error.message) from error
        except LithophoneError as error:
            raise UnavailableError(error.message) from error
        heard(Heard(answer.duration, answer.duration, self._untold(answer.warnings)))
        return transcript_of(answer, translated_to=self._translated_to)

    def _untold(self, warnings: tuple[str, ...]) -> tuple[str, ...]:
        """Those of this recording, and those of every one that were not told yet; of the model its note is told by now."""
        note = self.note
        told = [warning for warning in warnings if warning not in self._told and warning != f"model: {note}"]
        self._told.update(warning for warning in told if not warning.startswith(OF_ONE_RECORDING))
        return tuple(told)

    @property
    def _translated_to(self) -> str | None:
        form = self._wanted.form
        return form.to_language if isinstance(form, TranslationForm) else None

    async def _ask(self, file: BinaryIO) -> VerboseTranscription:
        form = self._wanted.form
        if isinstance(form, TranslationForm):
            return await self._client.translate_verbose(
                file,
                model=form.model,
                prompt=form.prompt or None,
                temperature=form.temperature,
                audio_track=form.audio_track,
                to_language=form.to_language,
            )
        return await self._client.transcribe_verbose(
            file,
            model=form.model,
            prompt=form.prompt or None,
            temperature=form.temperature,
            audio_track=form.audio_track,
            language=form.language or None,
            keywords=form.keywords or None,
            timestamp_granularities=["word", "segment"],
        )


@asynccontextmanager
async def connected(url: str, api_key: str | None, wanted: Wanted) -> AsyncGenerator[TranscriberElsewhere]:
    """A server that answers and has the model.

    Raises:
        ConfigurationError: there is none, or it has not.
    """
    async with AsyncLithophone(url, api_key=api_key) as client:
        try:
            model = await client.model(wanted.form.model)
        except LithophoneError as error:
            raise ConfigurationError(f"--server {url}: {error.message}") from error
    async with AsyncLithophone(url, api_key=api_key, retries=PATIENT_RETRIES) as client:
        yield TranscriberElsewhere(client, model, wanted)


def transcript_of(answer: VerboseTranscription, *, translated_to: str | None = None) -> whole.Transcript:
    """The transcript that a `verbose_json` answer was written from, as far as documents show it.

    Log-probabilities of single tokens and who spoke are not in it.
    """
    words = _Words(answer.words or ())
    segments: list[whole.Segment] = []
    for segment in answer.segments or ():
        separator = " " if segment.text and any(before.text for before in segments) else ""
        segments.append(_segment(segment, separator, tuple(words.of(segment.text))))
    return whole.Transcript(
        text=answer.text,
        language=translated_to or _code(answer.language),
        duration_seconds=answer.duration,
        segments=tuple(segments),
        usage=whole.Usage(),
    )


def _segment(heard: HeardSegment, separator: str, words: tuple[Word, ...]) -> whole.Segment:
    return whole.Segment(
        id=heard.id,
        start_seconds=heard.start,
        end_seconds=heard.end,
        text=heard.text,
        delta=separator + heard.text,
        tokens=tuple(Token(token, "", heard.avg_logprob) for token in heard.tokens),
        temperature=heard.temperature,
        average_logprob=heard.avg_logprob,
        compression_ratio=heard.compression_ratio,
        no_speech_probability=heard.no_speech_prob,
        usage=whole.Usage(),
        words=words,
        retried=heard.retried,
    )


class _Words:
    """Words in a row, handed out text by text; each gets the white space that its text has before it."""

    def __init__(self, words: tuple[HeardWord, ...]) -> None:
        self._words = list(reversed(words))

    def of(self, text: str) -> Iterator[Word]:
        """The words that make the text up, from the first that was not handed out yet."""
        place = 0
        while self._words:
            word = self._words[-1]
            start = text.find(word.word, place)
            if start < 0 or text[place:start].strip():
                return
            self._words.pop()
            yield Word(
                text=text[place:start] + word.word,
                start_seconds=word.start,
                end_seconds=word.end,
                probability=word.probability,
            )
            place = start + len(word.word)


def _code(name: str) -> str | None:
    return next((code for code, known in LANGUAGE_NAMES.items() if known.lower() == name.lower()), None)
