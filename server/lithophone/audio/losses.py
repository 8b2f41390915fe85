"""What of a file is not in the text, told in the warning header.

Owns the sentences and when they are true. Pure.
"""

from __future__ import annotations

from typing import Final

import msgspec

MISSING_SECONDS: Final = 0.25  # containers round, and count encoder padding
ROUNDING_SECONDS: Final = 0.02  # ffmpeg states lengths in hundredths


class Losses(msgspec.Struct, kw_only=True):
    """What is known so far.

    Attributes:
        is_faulty: something could not be read or decoded.
        is_cut: the file ends where no whole file can.
        gap_seconds: how long no sound is stored between what is.
        missing_seconds: how much shorter the sound is than the file states.
    """

    is_faulty: bool = False
    is_cut: bool = False
    gap_seconds: float = 0.0
    missing_seconds: float = 0.0

    def end(self, missing_seconds: float, *, may_have_junk: bool) -> None:
        """The file is at its end, so much before the length it states.

        If nothing is missing, what could not be decoded may be junk behind the sound: tags of all kinds, in MP3.
        """
        self.missing_seconds = missing_seconds
        if may_have_junk and missing_seconds <= ROUNDING_SECONDS:
            self.is_faulty = False

    @property
    def warnings(self) -> tuple[str, ...]:
        """In ASCII, for a header."""
        return tuple(self._sentences())

    def _sentences(self) -> list[str]:
        sentences: list[str] = []
        if self.missing_seconds > MISSING_SECONDS:
            sentences.append(f"file: it ends {self.missing_seconds:.1f} s before the length it states.")
        elif self.is_cut:
            sentences.append("file: its end is cut off.")
        if self.is_faulty:
            sentences.append("file: a part of it could not be decoded.")
        if self.gap_seconds:
            sentences.append(
                f"file: {self.gap_seconds:.1f} s between its sounds are not stored and count as silence."
            )
        return sentences
