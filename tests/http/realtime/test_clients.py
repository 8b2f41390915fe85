"""Clients of others, changed only in their base URL; skipped where they are not installed. `make test-live-clients` brings them."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray
from openai import AsyncOpenAI

from tests.conftest import LiveServer
from tests.figures.recording import SPEECH

RATE = 24_000
FRAME_SAMPLES = 1_200
WAIT_SECONDS = 60.0


@pytest.fixture(scope="module")
def speech() -> NDArray[np.int16]:
    samples, rate = soundfile.read(SPEECH / "demo.flac", dtype="float32")
    spoken = np.clip(soxr.resample(samples, rate, RATE), -1, 1)
    silence = np.zeros(RATE, np.int16)
    return np.concatenate([silence, (spoken * 32_767).astype(np.int16), silence])


def frames(speech: NDArray[np.int16]) -> list[NDArray[np.int16]]:
    return [speech[start : start + FRAME_SAMPLES] for start in range(0, len(speech), FRAME_SAMPLES)]


@pytest.mark.parametrize(
    ("model", "turns"),
    [("gpt-transcribe", None), ("gpt-4o-transcribe", {"type": "server_vad"})],  # its own default is semantic
)
def test_openai_agents(
    live_server: LiveServer, speech: NDArray[np.int16], model: str, turns: dict[str, str] | None
) -> None:
    pytest.importorskip("agents")
    voice: Any = importlib.import_module("agents.voice")
    stt: Any = importlib.import_module("agents.voice.models.openai_stt")
    importlib.import_module("agents").set_tracing_disabled(True)

    async def scenario() -> list[str]:
        heard = voice.StreamedAudioInput()
        async with AsyncOpenAI(base_url=f"{live_server.url}/v1", api_key="none") as client:
            wanted = voice.STTModelSettings(turn_detection=turns, language="en")
            session = await stt.OpenAISTTModel(model, client).create_session(
                heard,
                wanted,
                trace_include_sensitive_data=False,
                trace_include_sensitive_audio_data=False,
            )
            for frame in frames(speech):
                await heard.add_audio(frame)
            await heard.add_audio(None)
            texts = [turn async for turn in session.transcribe_turns()]
            await session.close()
        return texts

    texts = asyncio.run(asyncio.wait_for(scenario(), WAIT_SECONDS))
    assert "chair" in " ".join(texts)


@pytest.mark.parametrize("model", ["gpt-4o-mini-transcribe", "gpt-realtime-whisper"])
def test_livekit(live_server: LiveServer, speech: NDArray[np.int16], model: str) -> None:
    plugin: Any = pytest.importorskip("livekit.plugins.openai")
    rtc: Any = importlib.import_module("livekit.rtc")
    aiohttp: Any = importlib.import_module("aiohttp")

    async def scenario() -> str:
        async with aiohttp.ClientSession() as http:
            stt = plugin.STT(model=model, base_url=f"{live_server.url}/v1", api_key="none", use_realtime=True)
            stt._session = http  # what a LiveKit job would bring
            stream = stt.stream()
            for frame in frames(speech):
                stream.push_frame(rtc.AudioFrame(frame.tobytes(), RATE, 1, len(frame)))
                await asyncio.sleep(0.01)
            async for event in stream:
                if event.type == "final_transcript":
                    await stream.aclose()
                    return str(event.alternatives[0].text)
        return ""

    assert "chair" in run(scenario)


def run(scenario: Callable[[], Coroutine[Any, Any, str]]) -> str:
    return asyncio.run(asyncio.wait_for(scenario(), WAIT_SECONDS))
