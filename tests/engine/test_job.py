import asyncio
from collections.abc import AsyncGenerator

import numpy as np
import pytest

from lithophone.backends.base import RecognitionRequest
from lithophone.backends.fake import FakeBackend
from lithophone.engine.job import Job
from lithophone.engine.options import JobOptions
from lithophone.engine.transcript import Segment
from lithophone.errors import InternalError, UndecodableAudioError
from lithophone.granite.family import FAMILY
from tests.engine.conftest import blocks, noise, running

SILENCE = bytes(2 * 16_000 * 40)


async def collect(job: Job, heard: list[Segment]) -> None:
    async for segment in job:
        heard.append(segment)  # noqa: PERF401 - what came before a failure counts


def test_long_audio_becomes_segments_that_tile_it_and_deltas_that_join_to_the_text() -> None:
    async def scenario() -> None:
        async with running(FakeBackend()) as jobs:
            job = jobs.job(blocks(noise(70)), JobOptions())
            segments = [segment async for segment in job]
            transcript = await job.transcript()
            assert len(segments) == 3
            assert segments[0].start_seconds == 0
            assert segments[-1].end_seconds == transcript.duration_seconds == 70
            ends = [segment.end_seconds for segment in segments[:-1]]
            assert ends == [segment.start_seconds for segment in segments[1:]]
            assert "".join(segment.delta for segment in segments) == transcript.text
            assert transcript.text == " ".join(segment.text for segment in segments)
            assert transcript.usage.output_tokens == sum(len(segment.tokens) for segment in segments)

    asyncio.run(scenario())


def test_silence_never_reaches_the_model() -> None:
    async def scenario() -> None:
        backend = FakeBackend()
        async with running(backend) as jobs:
            job = jobs.job(blocks(SILENCE), JobOptions())
            segments = [segment async for segment in job]
            assert backend.calls == []
            assert (await job.transcript()).text == ""
            assert all(segment.no_speech_probability == 1.0 for segment in segments)

    asyncio.run(scenario())


def test_the_first_segment_leaves_before_the_last_byte_is_decoded() -> None:
    async def scenario() -> None:
        fed: list[int] = []

        async def endless() -> AsyncGenerator[bytes, None]:
            for second in range(3600):
                fed.append(second)
                await asyncio.sleep(0)
                yield noise(1, seed=second)

        async with running(FakeBackend()) as jobs:
            stream = aiter(jobs.job(endless(), JobOptions()))
            first = await anext(stream)
            await stream.aclose()
            assert first.text
            assert len(fed) < 40 * 5, "decoding ran far ahead of the model"

    asyncio.run(scenario())


def test_leaving_early_closes_the_decoder_and_cancels_the_model() -> None:
    async def scenario() -> None:
        closed = asyncio.Event()

        async def watched() -> AsyncGenerator[bytes, None]:
            try:
                async for block in blocks(noise(200)):
                    yield block
            finally:
                closed.set()

        backend = FakeBackend(delay_seconds=0.05)
        async with running(backend) as jobs:
            stream = aiter(jobs.job(watched(), JobOptions()))
            await anext(stream)
            await stream.aclose()
            assert closed.is_set()
            calls = len(backend.calls)
            await asyncio.sleep(0.2)
            assert len(backend.calls) <= calls + 1

    asyncio.run(scenario())


def test_a_file_that_breaks_in_the_middle_gives_what_came_before_then_the_error() -> None:
    async def scenario() -> None:
        async def broken() -> AsyncGenerator[bytes, None]:
            yield noise(70)
            raise UndecodableAudioError("broken")

        heard: list[Segment] = []
        async with running(FakeBackend()) as jobs:
            with pytest.raises(UndecodableAudioError):
                await collect(jobs.job(broken(), JobOptions()), heard)
        assert len(heard) >= 1

    asyncio.run(scenario())


def test_a_failing_model_ends_the_job_with_the_error() -> None:
    def fail(_: RecognitionRequest) -> str:
        raise RuntimeError("boom")

    async def scenario() -> None:
        async with running(FakeBackend(fail)) as jobs:
            with pytest.raises(InternalError):
                await collect(jobs.job(blocks(noise(40)), JobOptions()), [])

    asyncio.run(scenario())


def test_loudness_is_raised_only_when_asked_for() -> None:
    async def peak(options: JobOptions) -> float:
        backend = FakeBackend()
        async with running(backend) as jobs:
            async for _ in jobs.job(blocks(noise(2, level=0.005)), options):
                pass
        return float(np.abs(backend.calls[0][0].samples).max())

    quiet = asyncio.run(peak(JobOptions()))
    raised = asyncio.run(peak(JobOptions(normalise_loudness=True)))
    assert raised > 3 * quiet


def test_options_reach_the_model() -> None:
    async def scenario() -> None:
        backend = FakeBackend()
        async with running(backend) as jobs:
            job = jobs.job(blocks(noise(1)), JobOptions(language="en", keywords=("ore",), temperature=0.4))
            segments = [segment async for segment in job]
        request = backend.calls[0][0]
        assert (request.task.language, request.task.keywords, request.temperature) == ("en", ("ore",), 0.4)
        assert segments[0].temperature == 0.4
        assert (await job.transcript()).language == "en"

    asyncio.run(scenario())


def test_the_language_is_told_among_the_candidates() -> None:
    async def told(options: JobOptions) -> str | None:
        spec = FAMILY["granite-speech-4.1-2b"]
        async with running(FakeBackend(lambda _: "where is the next train", spec=spec), spec=spec) as jobs:
            job = jobs.job(blocks(noise(1)), options)
            async for _ in job:
                pass
            return (await job.transcript()).language

    assert asyncio.run(told(JobOptions())) == "en"
    assert asyncio.run(told(JobOptions(candidates=("ja", "de")))) in {"ja", "de"}


def test_two_jobs_share_the_model_in_turns() -> None:
    async def scenario() -> None:
        order: list[str] = []

        async def run(name: str) -> None:
            job = jobs.job(blocks(noise(100)), JobOptions())
            async for segment in job:
                order.append(f"{name}{segment.id}")  # noqa: PERF401 - the jobs write in turns

        async with running(FakeBackend(delay_seconds=0.2)) as jobs:  # long beside the cutting of a window
            await asyncio.gather(run("a"), run("b"))
        assert set(order[:2]) == {"a0", "b0"}
        assert set(order[2:4]) == {"a1", "b1"}

    asyncio.run(scenario())
