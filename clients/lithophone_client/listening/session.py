"""A live session over its socket: audio out, events in, until everything that was said is told."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Final

import httpx
import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from lithophone_client._errors import CannotConnectError, TransportError
from lithophone_client._http import USER_AGENT, key_header, server_address
from lithophone_client._responses import api_error
from lithophone_client.listening.captions import Caption, Captions
from lithophone_client.listening.sources import SAMPLE_BYTES, Source

PATH: Final = "/v1/realtime?intent=transcription"
END_ID: Final = "end"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a session is asked for; None is the server's choice."""

    model: str | None = None
    language: str | None = None
    prompt: str | None = None
    delay: str | None = None

    def session(self, rate: int) -> dict[str, Any]:
        """The configuration of `session.update`."""
        asked = {
            "model": self.model,
            "language": self.language,
            "prompt": self.prompt,
            "delay": self.delay,
        }
        audio_input = {
            "format": {"type": "audio/pcm", "rate": rate},
            "transcription": {name: value for name, value in asked.items() if value is not None},
            "turn_detection": {"type": "server_vad"},
        }
        return {"type": "transcription", "audio": {"input": audio_input}}


class Listener:
    """Listens to a source and says what was heard.

    Args:
        source: The audio.
        wishes: What is asked for.
        caption: Takes each caption when it is final.
        under_way: Takes the words so far of what is not, each time there are more.
        warn: Takes what the server says of the session, each sentence once.
    """

    def __init__(
        self,
        source: Source,
        wishes: Wishes,
        *,
        caption: Callable[[Caption], None],
        under_way: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        self._source = source
        self._wishes = wishes
        self._caption = caption
        self._under_way = under_way
        self._warn = warn
        self._captions = Captions(END_ID)
        self._sent_samples = 0
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Listen no longer; what was said is still told."""
        self._stopped.set()

    async def listen(self, base_url: str, api_key: str | None) -> None:
        """Until the source ends or `stop` is called.

        Raises:
            LithophoneError: the server cannot be reached, refuses, or fails.
        """
        url = f"ws{server_address(base_url).removeprefix('http')}{PATH}"
        headers = key_header(api_key)
        try:
            async with connect(
                url, additional_headers=headers, user_agent_header=USER_AGENT, compression=None
            ) as socket:
                await self._talk(socket)
        except InvalidStatus as error:
            answer = error.response
            raise api_error(answer.status_code, httpx.Headers(answer.headers), answer.body) from error
        except ConnectionClosed as error:
            raise TransportError(f"the connection broke: {error}") from error
        except (OSError, InvalidHandshake) as error:
            raise CannotConnectError(f"cannot connect to {base_url}: {error}") from error

    async def _talk(self, socket: ClientConnection) -> None:
        hearing = asyncio.create_task(self._hear(socket))
        speaking = asyncio.create_task(self._speak(socket))
        try:
            done, _ = await asyncio.wait({hearing, speaking}, return_when=asyncio.FIRST_EXCEPTION)
            if hearing not in done:
                with suppress(ConnectionClosed):  # a server that closes has said why
                    await speaking
            await hearing
        finally:
            for task in (hearing, speaking):
                task.cancel()
            await asyncio.gather(hearing, speaking, return_exceptions=True)

    async def _hear(self, socket: ClientConnection) -> None:
        while not self._captions.is_over:
            frame = await socket.recv()
            told = len(self._captions.warnings)
            final = self._captions.take(frame, self._sent_samples / self._source.rate)
            for warning in self._captions.warnings[told:]:
                self._warn(warning)
            if final is not None:
                self._caption(final)
            self._under_way(self._captions.under_way)

    async def _speak(self, socket: ClientConnection) -> None:
        await _send(socket, "session.update", session=self._wishes.session(self._source.rate))
        stopped = asyncio.create_task(self._stopped.wait())
        try:
            async with aclosing(self._source.pieces) as pieces:
                while (piece := await _next_unless(stopped, pieces)) is not None:
                    self._sent_samples += len(piece) // SAMPLE_BYTES
                    audio = base64.b64encode(piece).decode()
                    await _send(socket, "input_audio_buffer.append", audio=audio)
        finally:
            stopped.cancel()
        await _send(socket, "input_audio_buffer.commit", event_id=END_ID)
        await _send(socket, "input_audio_buffer.clear")


async def _next_unless(stopped: asyncio.Task[Any], pieces: Any) -> bytes | None:
    """The next piece; None when there is none, or nobody wants it."""
    coming = asyncio.ensure_future(anext(pieces, None))
    try:
        await asyncio.wait({coming, stopped}, return_when=asyncio.FIRST_COMPLETED)
        return None if stopped.done() else coming.result()
    finally:
        if not coming.done():
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)


async def _send(socket: ClientConnection, kind: str, **fields: Any) -> None:
    await socket.send(msgspec.json.encode({"type": kind, **fields}).decode())
