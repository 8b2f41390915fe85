"""OpenAI's Python SDK in a transcription session: changed only in `base_url`."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

from openai import AsyncOpenAI, OpenAI
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from lithophone.audio.waveform import pcm16_from_waveform
from tests.engine.dictation.spoken import spoken
from tests.http.conftest import Live
from tests.http.realtime.conftest import Talk

TRANSCRIPTION = "conversation.item.input_audio_transcription"


def configuration(**audio_input: Any) -> Any:
    pcm: Any = {"type": "audio/pcm", "rate": 16_000}
    return {"type": "transcription", "audio": {"input": {"format": pcm, **audio_input}}}


def words(*numbers: int, pause_seconds: float = 0.0) -> str:
    return base64.b64encode(pcm16_from_waveform(spoken(*numbers, pause_seconds=pause_seconds))).decode()


def test_the_sync_client_hears_words_and_the_end_of_an_item(live: Live) -> None:
    with (
        OpenAI(base_url=f"{live.url}/v1", api_key="none") as client,
        client.realtime.connect(extra_query={"intent": "transcription"}) as connection,
    ):
        assert connection.recv().type == "session.created"
        connection.session.update(session=configuration(turn_detection=None))
        for number in range(1, 7):
            connection.input_audio_buffer.append(audio=words(number))
        connection.input_audio_buffer.commit()
        deltas, end = "", None
        while end is None:
            event: Any = connection.recv()
            if event.type == f"{TRANSCRIPTION}.delta":
                deltas += event.delta
            elif event.type == f"{TRANSCRIPTION}.completed":
                end = event
        assert end.transcript == deltas == "one two three four five six"
        assert end.usage.type == "tokens"


def test_every_event_is_whole_to_the_sdks_types(talk: Talk) -> None:
    talk.send(
        "session.update",
        session=configuration(
            turn_detection={"type": "server_vad", "silence_duration_ms": 500},
            noise_reduction={"type": "near_field"},
            transcription={"model": "gpt-4o-transcribe", "language": "en"},
        )
        | {"include": ["item.input_audio_transcription.logprobs"]},
    )
    talk.send("input_audio_buffer.append", audio=words(1, 2, 3, 4, pause_seconds=1.0))
    talk.until(f"{TRANSCRIPTION}.completed")
    talk.send("input_audio_buffer.commit")
    talk.until("error")
    talk.send("input_audio_buffer.clear")
    talk.until("input_audio_buffer.cleared")
    known = TypeAdapter[Any](RealtimeServerEvent)
    for event in talk.events:
        parsed = known.validate_python(
            json.loads(json.dumps(event).replace("16000", "24000"))
        )  # its only rate
        assert parsed.type == event["type"]
        assert not parsed.model_extra, parsed.model_extra
    assert len({event["type"] for event in talk.events}) == 11


def test_the_async_client_hears_turns_by_a_token_of_its_own(live: Live) -> None:
    async def scenario() -> list[str]:
        async with AsyncOpenAI(base_url=f"{live.url}/v1", api_key="none") as client:
            secret = await client.realtime.client_secrets.create(
                expires_after={"anchor": "created_at", "seconds": 60},
                session=configuration(
                    turn_detection={"type": "server_vad", "silence_duration_ms": 500},
                    transcription={"model": "gpt-4o-mini-transcribe"},
                ),
            )
        assert secret.session.type == "transcription"
        heard: list[str] = []
        async with (
            AsyncOpenAI(base_url=f"{live.url}/v1", api_key=secret.value) as browser,
            browser.realtime.connect(model="gpt-realtime") as connection,
        ):
            await connection.input_audio_buffer.append(audio=words(1, 2, pause_seconds=0.8))
            await connection.input_audio_buffer.append(audio=words(3, pause_seconds=0.8))
            while len(heard) < 2:
                event: Any = await connection.recv()
                if event.type == f"{TRANSCRIPTION}.completed":
                    heard.append(event.transcript)
        return heard

    assert asyncio.run(asyncio.wait_for(scenario(), 20)) == ["one two", "three"]


def test_an_error_is_the_sdks_event(live: Live) -> None:
    with (
        OpenAI(base_url=f"{live.url}/v1", api_key="none") as client,
        client.realtime.connect(extra_query={"intent": "transcription"}) as connection,
    ):
        connection.input_audio_buffer.commit(event_id="mine")
        connection.recv()
        event: Any = connection.recv()
    assert event.type == "error"
    assert (event.error.code, event.error.event_id) == ("input_audio_buffer_commit_empty", "mine")
