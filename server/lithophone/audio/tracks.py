"""Which audio track of a file is transcribed.

Owns the choice and the sentence that tells of it. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from lithophone.audio.report import Track
from lithophone.errors import InvalidRequestError

# Dispositions, as ffmpeg prints them, of tracks that accompany another one.
SECONDARY: Final = frozenset(
    ("comment", "lyrics", "karaoke", "visual impaired", "clean effects", "descriptions", "non-diegetic")
)
_COMMENTARY: Final = re.compile(
    r"\b[ck]omm?ent|audio.?descri|descriptive", re.IGNORECASE
)  # en, de, fr, es, it


def by_preference(audio_tracks: Sequence[Track]) -> list[Track]:
    """The tracks in the order in which they are tried: flagged as default, no commentary, first in the file."""
    return sorted(
        audio_tracks,
        key=lambda track: ("default" not in track.dispositions, _is_commentary(track), track.index),
    )


def _is_commentary(track: Track) -> bool:
    return bool(track.dispositions & SECONDARY) or _COMMENTARY.search(track.title) is not None


def require_track(number: int | None, track_count: int) -> None:
    """Raises if a file with sound has no track of this number, counted from 1.

    Raises:
        InvalidRequestError: it has fewer.
    """
    if number is not None and number > track_count > 0:
        raise InvalidRequestError(
            f"There is no audio track {number}; the file has {track_count}.", param="audio_track"
        )


def choice_made(chosen: Track, audio_tracks: Sequence[Track]) -> str | None:
    """What to tell about the choice, in ASCII, if there was one."""
    if len(audio_tracks) < 2:
        return None
    number = 1 + [track.index for track in audio_tracks].index(chosen.index)
    language = f" ({chosen.language})" if chosen.language.isascii() and chosen.language else ""
    return f"audio_track: {number} of {len(audio_tracks)}{language} was taken; the field chooses another."
