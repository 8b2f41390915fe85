"""From blocks of PCM to the windows a model shall hear.

Owns which splitter a recording goes through: by voice activity where there is a detector, by energy alone where not.
Its methods compute: call them off the event loop.
"""

from __future__ import annotations

from typing import Protocol

import structlog

from lithophone.audio.voice import SpeechSplitter, TurnOptions, TurnSplitter
from lithophone.audio.waveform import seconds_from_samples, waveform_from_pcm16
from lithophone.audio.windows import Window, WindowSplitter
from lithophone.backends.base import VoiceStream
from lithophone.granite.family import ModelSpec

log = structlog.get_logger(__name__)


class Listener(Protocol):
    """Takes a recording block by block."""

    def push(self, block: bytes) -> list[Window]:
        """The next s16le samples; returns the windows they complete."""
        ...

    def finish(self) -> list[Window]:
        """The windows of what is left."""
        ...


class VoiceListener:
    """Windows by voice activity; `turns` asks for one for each turn of speech."""

    def __init__(
        self, max_window_seconds: float, search_share: float, voice: VoiceStream, turns: TurnOptions | None
    ) -> None:
        self._voice = voice
        self._splitter = (
            SpeechSplitter(max_window_seconds, search_share=search_share)
            if turns is None
            else TurnSplitter(max_window_seconds, turns, search_share=search_share)
        )

    def push(self, block: bytes) -> list[Window]:
        """See `Listener`."""
        samples = waveform_from_pcm16(block)
        return _logged(self._splitter.push(samples, self._voice.push(samples)))

    def finish(self) -> list[Window]:
        """See `Listener`."""
        return _logged(self._splitter.finish(self._voice.finish()))


def _logged(windows: list[Window]) -> list[Window]:
    """Where the cuts fell, for whoever asks for that much detail."""
    for window in windows:
        log.debug(
            "window",
            start_seconds=round(window.start_seconds, 3),
            stop_seconds=round(window.stop_seconds, 3),
            shared_before_seconds=round(seconds_from_samples(window.shared_before_samples), 3),
            speech_probability=round(window.speech_probability or 0.0, 3),
        )
    return windows


def open_listener(spec: ModelSpec, voice: VoiceStream | None, turns: TurnOptions | None) -> Listener:
    """A listener at the start of a recording, for the windows a model is at home with.

    Raises:
        ValueError: turns are asked for, but there is nothing to tell them by.
    """
    if voice is not None:
        return VoiceListener(spec.max_window_seconds, spec.pause_search_share, voice, turns)
    if turns is not None:
        raise ValueError("turns of speech need a voice detector")
    return WindowSplitter(spec.max_window_seconds)
