"""What the HTTP layer is told when it is built.

Owns its options. Reads no environment and no file: settings do.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from lithophone.audio.stream import DecodeLimits

FORM_OVERHEAD_BYTES = 1 << 20
"""Room beside the audio for text fields and part headers."""


class HttpOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Limits and keys.

    Attributes:
        api_keys: Who may use `/v1`; empty: everybody.
        max_upload_bytes: Size of the audio file.
        max_audio_seconds: Length of the audio once it is decoded.
        decode_stall_seconds: How long a file may keep the decoder busy without yielding audio.
        upload_idle_seconds: How long an upload may stand still. It holds one of the engine's places meanwhile.
        native_word_times: Whether the times of words come from a model's own tags, where it has them.
        aliases: Served model by other name.
        live_idle_seconds: How long the client of a live session may send nothing.
        live_session_seconds: How long a live session may last.
        cors_origins: Web pages from elsewhere that may ask, by their origin; `*` stands for all.
        allowed_hosts: Names under which a server without keys answers, beside those of the loopback; `*` stands for all.
        root_path: Path that a reverse proxy puts before every route.
        strict: Whether what a request asks for in vain is refused, not named in a header.
    """

    api_keys: tuple[str, ...] = ()
    max_upload_bytes: int = 512 << 20
    max_audio_seconds: float = 4 * 3600.0
    decode_stall_seconds: float = 30.0
    upload_idle_seconds: float = 30.0
    native_word_times: bool = False
    aliases: Mapping[str, str] = {}
    live_idle_seconds: float = 900.0
    live_session_seconds: float = 3600.0
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    root_path: str = ""
    strict: bool = False

    @property
    def max_body_bytes(self) -> int:
        """Size of a whole request body."""
        return self.max_upload_bytes + FORM_OVERHEAD_BYTES

    @property
    def decode_limits(self) -> DecodeLimits:
        """What decoding one file may cost."""
        return DecodeLimits(max_audio_seconds=self.max_audio_seconds, stall_seconds=self.decode_stall_seconds)
