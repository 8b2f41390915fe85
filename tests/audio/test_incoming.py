"""Audio as live sessions are sent it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.audio.incoming import Encoding, IncomingAudio, IncomingFormat
from lithophone.audio.waveform import SAMPLE_RATE, Waveform, pcm16_from_waveform

PCM_16K = IncomingFormat(Encoding.PCM16, SAMPLE_RATE)
PCM_24K = IncomingFormat(Encoding.PCM16, 24_000)


def tone(seconds: float, rate: int) -> bytes:
    times = np.arange(round(seconds * rate)) / rate
    return pcm16_from_waveform((0.5 * np.sin(2 * np.pi * 440 * times)).astype(np.float32))


def pushed(incoming: IncomingAudio, pieces: list[bytes]) -> Waveform:
    return np.concatenate([*(incoming.push(piece) for piece in pieces), incoming.flush()])


def test_samples_at_the_models_rate_are_taken_as_they_are() -> None:
    whole = tone(0.3, SAMPLE_RATE)
    assert pcm16_from_waveform(pushed(IncomingAudio(PCM_16K), [whole])) == whole


@given(
    cuts=st.lists(st.integers(0, 24_000), max_size=12),
    rate=st.sampled_from([8_000, 11_025, 16_000, 24_000, 48_000]),
)
def test_it_does_not_matter_where_the_bytes_are_cut(cuts: list[int], rate: int) -> None:
    """Half samples too."""
    whole = tone(0.5, rate)
    places = sorted({0, len(whole), *(cut % len(whole) for cut in cuts)})
    pieces = [whole[start:stop] for start, stop in itertools.pairwise(places)]
    incoming = IncomingFormat(Encoding.PCM16, rate)
    together, apart = pushed(IncomingAudio(incoming), [whole]), pushed(IncomingAudio(incoming), pieces)
    assert len(together) == len(apart) == len(whole) // 2 * SAMPLE_RATE // rate
    np.testing.assert_allclose(together, apart, atol=1e-4)


def test_a_tone_stays_the_tone_it_was() -> None:
    heard = pushed(IncomingAudio(PCM_24K), [tone(1.0, 24_000)])
    spectrum = np.abs(np.fft.rfft(heard))
    assert int(spectrum.argmax()) == 440  # a bin is a hertz
    assert spectrum[440] > 1000 * np.delete(spectrum, range(430, 451)).max()


def test_what_no_one_at_16_khz_can_hear_is_gone_and_not_folded_back() -> None:
    times = np.arange(24_000) / 24_000
    high = pcm16_from_waveform((0.5 * np.sin(2 * np.pi * 10_000 * times)).astype(np.float32))
    assert np.abs(pushed(IncomingAudio(PCM_24K), [high])[800:-800]).max() < 0.001


@pytest.mark.parametrize(
    ("encoding", "quiet", "loudest", "level"),
    [(Encoding.ULAW, 0xFF, 0x80, 32_124), (Encoding.ALAW, 0xD5, 0xAA, 32_256)],  # ITU-T G.711
)
def test_telephone_audio_is_two_samples_a_byte(
    encoding: Encoding, quiet: int, loudest: int, level: int
) -> None:
    incoming = IncomingFormat(encoding, 8_000)
    assert len(pushed(IncomingAudio(incoming), [bytes([quiet]) * 800])) == 1600
    assert np.abs(pushed(IncomingAudio(incoming), [bytes([quiet]) * 800])).max() < 0.001
    loud = pushed(IncomingAudio(incoming), [bytes([loudest]) * 800])[400:1200]
    np.testing.assert_allclose(loud, level / 32_768, atol=0.01)


def test_audio_behind_a_flush_is_new() -> None:
    incoming = IncomingAudio(PCM_24K)
    first = np.concatenate([incoming.push(tone(0.2, 24_000) + b"\1"), incoming.flush()])
    second = np.concatenate([incoming.push(tone(0.2, 24_000)), incoming.flush()])
    np.testing.assert_allclose(first, second, atol=1e-6)
    assert len(first) == 3200
