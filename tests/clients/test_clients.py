"""Programs' own libraries against a live server, by base URL alone. `make test-clients` runs them where they are installed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

KEY = "none"


@pytest.mark.clients("openai")
def test_openai(url: str, wav: Path, spoken: str) -> None:
    """`json`, `verbose_json` with words, `srt`, a stream, `BadRequestError` for what is not audio."""
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
        create = client.audio.transcriptions.create
        assert create(model="gpt-4o-transcribe", file=wav).text == spoken
        timed = create(
            model="whisper-1", file=wav, response_format="verbose_json", timestamp_granularities=["word"]
        )
        assert [word.word for word in timed.words] == spoken.split()
        assert "00:00:" in create(model="whisper-1", file=wav, response_format="srt")
        events = [
            event for event in create(model="whisper-1", file=wav, stream=True) if hasattr(event, "delta")
        ]
        assert "".join(event.delta for event in events) == spoken
        with pytest.raises(openai.BadRequestError):
            create(model="whisper-1", file=("a.wav", b"no sound"))


@pytest.mark.clients("litellm")
def test_litellm(url: str, wav: Path, spoken: str) -> None:
    """`transcription`, plain and with word times."""
    litellm = pytest.importorskip("litellm")
    for options in ({}, {"response_format": "verbose_json", "timestamp_granularities": ["word"]}):
        with wav.open("rb") as file:
            answer = litellm.transcription(
                model="openai/whisper-1",
                file=file,
                api_base=f"{url}/v1",
                api_key=KEY,
                language="en",
                **options,
            )
        assert answer.text == spoken


@pytest.mark.clients("SpeechRecognition")
def test_speech_recognition(url: str, wav: Path, spoken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`recognize_openai`."""
    recognition = pytest.importorskip("speech_recognition")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    recognizer = recognition.Recognizer()
    with recognition.AudioFile(str(wav)) as source:
        audio = recognizer.record(source)
    assert recognizer.recognize_openai(audio, language="en") == spoken


@pytest.mark.clients("langchain-community")
def test_langchain(url: str, wav: Path, spoken: str) -> None:
    """`OpenAIWhisperParser`, which sends MP3."""
    pydub = pytest.importorskip("pydub")
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    audio = pytest.importorskip("langchain_community.document_loaders.parsers.audio")
    blobs = pytest.importorskip("langchain_core.documents.base")
    pydub.AudioSegment.converter = ffmpeg.get_ffmpeg_exe()
    parser = audio.OpenAIWhisperParser(api_key=KEY, base_url=f"{url}/v1", language="en")
    (document,) = parser.lazy_parse(blobs.Blob.from_path(wav))
    assert document.page_content == spoken


@pytest.mark.clients("pipecat-ai")
def test_pipecat(url: str, wav: Path, spoken: str) -> None:
    """`OpenAISTTService`, with token probabilities."""
    stt = pytest.importorskip("pipecat.services.openai.stt")

    recording = wav.read_bytes()

    async def text(model: str) -> str:
        service = stt.OpenAISTTService(
            api_key=KEY,
            base_url=f"{url}/v1",
            include_prob_metrics=True,
            settings=stt.OpenAISTTService.Settings(model=model),
        )
        return (await service._transcribe(recording)).text

    for model in ("gpt-transcribe", "gpt-4o-transcribe", "whisper-1"):
        assert asyncio.run(text(model)) == spoken


@pytest.mark.clients("livekit-plugins-openai")
def test_livekit(url: str, wav: Path, spoken: str) -> None:
    """`STT.recognize`, with `whisper-1`, `gpt-4o-mini-transcribe` and several languages."""
    plugin = pytest.importorskip("livekit.plugins.openai")
    rtc = pytest.importorskip("livekit.rtc")
    soundfile = pytest.importorskip("soundfile")
    samples, rate = soundfile.read(wav, dtype="int16")

    async def text(model: str, language: Any) -> str:
        frame = rtc.AudioFrame(
            data=samples.tobytes(), sample_rate=rate, num_channels=1, samples_per_channel=len(samples)
        )
        stt = plugin.STT(
            model=model, language=language, base_url=f"{url}/v1", api_key=KEY, use_realtime=False
        )
        event = await stt.recognize([frame])
        await stt.aclose()
        return event.alternatives[0].text

    for model, language in (
        ("whisper-1", "en"),
        ("gpt-4o-mini-transcribe", "en-US"),
        ("gpt-transcribe", ["en", "de"]),
    ):
        assert asyncio.run(text(model, language)) == spoken


@pytest.mark.clients("openai-agents")
def test_openai_agents(url: str, wav: Path, spoken: str) -> None:
    """`OpenAISTTModel`, static audio."""
    voice = pytest.importorskip("agents.voice")
    openai = pytest.importorskip("openai")
    soundfile = pytest.importorskip("soundfile")
    samples, rate = soundfile.read(wav, dtype="int16")

    async def text() -> str:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY) as client:
            model = voice.OpenAISTTModel("gpt-4o-transcribe", client)
            heard = voice.AudioInput(buffer=samples, frame_rate=rate)
            settings = voice.STTModelSettings(language="en", temperature=0.0, prompt="Nancy")
            untraced = {"trace_include_sensitive_data": False, "trace_include_sensitive_audio_data": False}
            return str(await model.transcribe(heard, settings, **untraced))

    assert asyncio.run(text()) == spoken


@pytest.mark.clients("npm:ai")
def test_vercel_ai_sdk(node: Any, spoken: str) -> None:
    """`transcribe` of the Vercel AI SDK with `@ai-sdk/openai`: every name, language, prompt and word times."""
    for result in node("vercel.mjs"):
        assert result.get("text") == spoken, result


@pytest.mark.clients("npm:openai")
def test_openai_js(node: Any, spoken: str) -> None:
    """`json`, `verbose_json` with words and segments, a stream."""
    result = node("openai.mjs")
    assert result == {"json": spoken, "verbose": spoken, "words": len(spoken.split()), "streamed": spoken}
