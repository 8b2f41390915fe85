"""What is known of the recordings the figures are measured on."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from lithophone.audio.waveform import SAMPLE_RATE
from tests.figures.recording import SPEECH, Composer, manifest_clips, room_tone, samples_of, spoken_part


def composed(seconds: float, seed: int) -> tuple[np.ndarray, Composer]:
    composer = Composer(manifest_clips(SPEECH, ["short"]), seconds, seed)
    return np.concatenate(list(composer.blocks())), composer


def test_utterances_lie_where_the_recording_says() -> None:
    samples, composer = composed(120.0, 3)
    assert len(samples) <= 120 * SAMPLE_RATE
    assert any(utterance.followed_closely for utterance in composer.utterances)
    for utterance in composer.utterances:
        clip = samples_of(utterance.clip.path)
        begin, end = spoken_part(clip)
        start = round(utterance.start * SAMPLE_RATE)
        assert np.array_equal(samples[start : start + end - begin], clip[begin:end])
        assert [word.text for word in utterance.words] == utterance.clip.text.split()
    for utterance, following in pairwise(composer.utterances):
        pause = following.start - utterance.end
        assert following.origin > utterance.origin
        assert pause > -0.001
        assert utterance.followed_closely or pause > 0.2


def test_the_last_word_has_a_known_time() -> None:
    _, composer = composed(30.0, 3)
    assert composer.utterances[-1].words[-1].exact


def test_room_tone_is_the_quietest_there_is() -> None:
    samples = np.full(SAMPLE_RATE, 0.5, np.float32)
    samples[8000:12_000] = 0.001
    assert np.array_equal(room_tone(samples, 5000), np.full(5000, 0.001, np.float32))
