"""What a transcription is asked for, whoever asks."""

from __future__ import annotations

import msgspec

from lithophone.audio.voice import TurnOptions
from lithophone.granite.prompts import Tags, Task


class JobOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for.

    `language` is an ISO-639-1 code, `candidates` are several of which the speech is in one; `translate_to` another, of the language to write; `keywords` are words likely to be
    said; `temperature` 0 is greedy; `turns` makes each turn of speech a window of its own; `speakers` are told apart;
    `native_times` takes the times of words from the model's own tags; `urgent` windows are heard before those of other jobs.
    """

    language: str | None = None
    candidates: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    temperature: float = 0.0
    normalise_loudness: bool = False
    turns: TurnOptions | None = None
    translate_to: str | None = None
    speakers: bool = False
    native_times: bool = False
    urgent: bool = False

    @property
    def task(self) -> Task:
        """What the model shall do with each window."""
        times = Tags.WORD_TIMES if self.native_times else None
        return Task(
            language=self.language,
            translate_to=self.translate_to,
            keywords=self.keywords,
            tags=Tags.SPEAKERS if self.speakers else times,
        )
