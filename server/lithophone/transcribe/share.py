"""Which recordings a run takes of those that several runs divide among themselves, without talking to each other. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

import msgspec

from lithophone.errors import ConfigurationError
from lithophone.transcribe.recordings import Recording


class Share(msgspec.Struct, frozen=True):
    """The `number`-th of `runs`, counted from 1."""

    number: int
    runs: int

    def of(self, recordings: Iterable[Recording]) -> list[Recording]:
        """Those whose place falls to this run: each to one, whatever comes to the archive or leaves it."""
        return [
            recording for recording in recordings if _draw(recording.place) % self.runs == self.number - 1
        ]


def parse_share(text: str) -> Share:
    """`2/8` for the second of eight runs.

    Raises:
        ConfigurationError: it is no such pair.
    """
    number, slash, runs = text.partition("/")
    if slash and number.isdecimal() and runs.isdecimal() and 1 <= int(number) <= int(runs):
        return Share(int(number), int(runs))
    raise ConfigurationError(f"--share {text}: write K/N, as 2/8 for the second of eight runs")


def _draw(place: str) -> int:
    return int.from_bytes(sha256(place.encode()).digest()[:8])
