"""Voice activity on real sound: speech is speech, and nothing else is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from lithophone.audio.activity import Probabilities, speech_probability
from lithophone.audio.waveform import Waveform
from lithophone.backends.silero import SileroDetector
from tests.noises import NOISES

SPEECH = Path(__file__).resolve().parents[2] / "examples" / "speech"
DETECTOR = SileroDetector()


def probabilities(samples: Waveform, block: int = 1 << 20) -> Probabilities:
    stream = DETECTOR.open_stream()
    blocks = [stream.push(samples[at : at + block]) for at in range(0, len(samples), block)]
    return np.concatenate([*blocks, stream.finish()])


def spoken(name: str) -> Waveform:
    samples, _ = soundfile.read(SPEECH / name, dtype="float32")
    return np.asarray(samples, np.float32)


def test_speech_is_heard_as_speech_and_the_pause_before_it_as_none() -> None:
    silence = np.zeros(16_000, np.float32)
    found = probabilities(np.concatenate([silence, spoken("demo.flac")]))
    assert speech_probability(found) > 0.95
    assert speech_probability(found[:28]) < 0.1


@pytest.mark.parametrize("name", NOISES)
def test_no_noise_is_heard_as_speech(name: str) -> None:
    assert speech_probability(probabilities(NOISES[name])) < 0.5


@pytest.mark.parametrize("block", [1, 511, 512, 7_777])
def test_the_blocks_sound_arrives_in_do_not_matter(block: int) -> None:
    samples = spoken("demo.flac")[:16_100] if block == 1 else spoken("demo.flac")
    whole, parts = probabilities(samples), probabilities(samples, block)
    assert len(whole) == -(-len(samples) // 512)
    assert np.allclose(whole, parts, atol=1e-4)


def test_streams_do_not_disturb_each_other() -> None:
    samples = spoken("demo.flac")
    alone = probabilities(samples)
    one, other = DETECTOR.open_stream(), DETECTOR.open_stream()
    first = one.push(samples[:20_000])
    other.push(np.random.default_rng(0).normal(0, 0.1, 20_000).astype(np.float32))
    found = np.concatenate([first, one.push(samples[20_000:]), one.finish()])
    assert np.allclose(found, alone, atol=1e-4)


def set_and_asked(threads: int) -> int:
    torch.set_num_threads(threads)
    return torch.get_num_threads()


def test_whoever_listens_computes_alone() -> None:
    with ThreadPoolExecutor(1) as earlier, ThreadPoolExecutor(1) as listener:
        earlier.submit(set_and_asked, 2).result()
        SileroDetector()
        assert listener.submit(torch.get_num_threads).result() == 1
        assert earlier.submit(torch.get_num_threads).result() == 2
