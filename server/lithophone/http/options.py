"""What the HTTP layer is told when it is built.

Owns its options. Reads no environment and no file: settings do.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from lithophone.audio.fence import DecoderMemory
from lithophone.audio.stream import DecodeLimits
from lithophone.http.keys import Keys, KeysFile

FORM_OVERHEAD_BYTES = 1 << 20
"""Room beside the audio for text fields and part headers."""


class HttpOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Limits and keys.

    Attributes:
        api_keys: Who may use `/v1`; none, and no file: everybody.
        keys_file: More of them.
        max_upload_bytes: Size of the audio file.
        max_audio_seconds: Length of the audio once it is decoded.
        decode_stall_seconds: How long a file may keep the decoder busy without yielding audio.
        upload_idle_seconds: How long an upload may stand still.
        upload_bytes_per_second: The least pace of an upload, beyond its first `upload_idle_seconds`; 0: any.
        upload_seconds: How long an upload may take altogether; 0: as long as it takes.
        max_uploads: How many may come in, wait or be at work at once.
        max_stored_bytes: What they may take on disk together; 0: whatever the disk has.
        decoder_memory: What decoders may have in memory together.
        native_word_times: Whether the times of words come from a model's own tags, where it has them.
        aliases: Served model by other name.
        live_idle_seconds: How long the client of a live session may send nothing.
        live_session_seconds: How long a live session may last.
        cors_origins: Web pages from elsewhere that may ask, by their origin; `*` stands for all.
        allowed_hosts: Names under which the server answers, beside those of the loopback; `*` stands for all. None: without keys
            no others, with keys any.
        root_path: Path that a reverse proxy puts before every route.
        strict: Whether what a request asks for in vain is refused, not named in a header.
    """

    api_keys: tuple[str, ...] = ()
    keys_file: KeysFile | None = None
    max_upload_bytes: int = 512 << 20
    max_audio_seconds: float = 4 * 3600.0
    decode_stall_seconds: float = 30.0
    upload_idle_seconds: float = 30.0
    upload_bytes_per_second: int = 1024
    upload_seconds: float = 3600.0
    max_uploads: int = 512
    max_stored_bytes: int = 16 << 30
    decoder_memory: DecoderMemory = msgspec.field(default_factory=lambda: DecoderMemory(2 << 30))
    native_word_times: bool = False
    aliases: Mapping[str, str] = {}
    live_idle_seconds: float = 900.0
    live_session_seconds: float = 3600.0
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    root_path: str = ""
    strict: bool = False

    @property
    def keys(self) -> Keys:
        """All keys there are."""
        return Keys(self.api_keys, self.keys_file)

    @property
    def max_body_bytes(self) -> int:
        """Size of a whole request body."""
        return self.max_upload_bytes + FORM_OVERHEAD_BYTES

    @property
    def decode_limits(self) -> DecodeLimits:
        """What decoding one file may cost."""
        return DecodeLimits(
            max_audio_seconds=self.max_audio_seconds,
            stall_seconds=self.decode_stall_seconds,
            decoder_memory=self.decoder_memory,
        )
