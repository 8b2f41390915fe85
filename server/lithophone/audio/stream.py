"""PCM of one file, block by block, whoever decodes it.

Owns the size of a block, what one file may cost, and the check of its length. Knows no format and starts no process.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable
from typing import Final, Protocol, Self

import msgspec

from lithophone.audio.fence import DecoderMemory
from lithophone.audio.sniff import Container
from lithophone.audio.waveform import samples_in_pcm16, seconds_from_samples
from lithophone.errors import AudioTooLongError

BLOCK_BYTES: Final = 262_144  # 8.192 s of PCM16; each block costs a few changes of thread
STATED_TOLERANCE_SECONDS: Final = 1.0  # containers round, and count encoder padding


ReadAt = Callable[[int, int], bytes]
"""So many bytes of a file from an offset; fewer at its end."""


class StoredFile(Protocol):
    """An open binary file; `tempfile.SpooledTemporaryFile` and what `open(path, "rb")` returns are such."""

    def flush(self) -> None:
        """Writes what is buffered."""

    def fileno(self) -> int:
        """The descriptor; a `SpooledTemporaryFile` moves itself to disk for it."""
        ...


class DecodeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one file may cost."""

    max_audio_seconds: float = 7_200.0
    decode_seconds: float = 900.0  # spent waiting for ffmpeg; the time the consumer takes does not count
    stall_seconds: float = 30.0  # of that, without a new block
    memory_bytes: int = 2 * 2**30  # address space of the process, where the system can limit it
    decoder_memory: DecoderMemory = DecoderMemory(0)  # of all decoders; does not limit


class PcmSource(Protocol):
    """A recording that is decoded as its blocks are asked for."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is not in the blocks, or was chosen; in ASCII. Known in part as they come, whole at their end."""
        ...

    def blocks(self) -> AsyncGenerator[bytes]:
        """PCM16 at 16 kHz, mono; once. Closing the generator frees all it holds."""
        ...


class PcmStream(ABC):
    """PCM16 blocks of one file, in order; iterate once, with `async for`.

    Attributes:
        container: what the file is.
        decoded_samples: samples handed out so far; after the last block, the length of the audio.
    """

    def __init__(self, container: Container, limits: DecodeLimits) -> None:
        self.container = container
        self.decoded_samples = 0
        self._limits = limits
        self._received_bytes = 0
        self._next_block = b""

    @property
    @abstractmethod
    def stated_seconds(self) -> float | None:
        """How long the container says it is, if it does; `decoded_samples` is the truth."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What of the file is not in the samples, or was chosen; in ASCII. Known in part as blocks come, whole at the end."""
        return ()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next block of signed 16-bit little-endian mono samples: `BLOCK_BYTES`, the last one shorter, or a short file whole.

        Raises:
            AudioTooLongError: more audio than `max_audio_seconds`.
            UndecodableAudioError: the decoder died or made no progress.
        """
        block, self._next_block = self._next_block or await self._checked(), b""
        if not block:
            raise StopAsyncIteration
        self.decoded_samples += samples_in_pcm16(len(block))
        return block

    async def open(self) -> None:
        """Waits for the first block, so that a file that cannot be decoded at all fails here."""
        self._next_block = await self._checked()

    @abstractmethod
    async def close(self) -> None:
        """Ends the decoding wherever it is."""

    @abstractmethod
    async def _receive(self) -> bytes:
        """The next block from the decoder; empty at the end."""

    def _require_sound(self, block: bytes) -> None:  # noqa: B027 - most decoders have nothing to add
        """Raises what is wrong with the decoding beyond the length; `block` is the one just received."""

    async def _checked(self) -> bytes:
        block = await self._receive()
        self._received_bytes += len(block)
        self._require_allowed_length()
        self._require_sound(block)
        return block

    def _require_allowed_length(self) -> None:
        """Raises `AudioTooLongError` if the container says so or the blocks show it."""
        received_seconds = seconds_from_samples(samples_in_pcm16(self._received_bytes))
        allowed = self._limits.max_audio_seconds
        if received_seconds > allowed or (self.stated_seconds or 0) > allowed + STATED_TOLERANCE_SECONDS:
            raise self._too_long()

    def _too_long(self) -> AudioTooLongError:
        allowed = self._limits.max_audio_seconds
        return AudioTooLongError(f"The audio is longer than the {allowed:g} seconds allowed.", param="file")
