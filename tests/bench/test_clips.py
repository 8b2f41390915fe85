from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lithophone.bench.clips import demonstration_clips, joined_clips, read_clips
from lithophone.errors import ConfigurationError
from tests.recordings import speech_like, wav_bytes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(4):
        (tmp_path / f"{number}.wav").write_bytes(wav_bytes(speech_like(1.5, seed=number)))
    return tmp_path


def test_a_folder_is_read_in_order_and_cut(folder: Path) -> None:
    (folder / "notes.txt").write_text("not audio")
    clips = read_clips([str(folder)], longest_seconds=1.0)
    assert [clip.name for clip in clips] == ["0.wav", "1.wav", "2.wav", "3.wav"]
    assert {clip.seconds for clip in clips} == {1.0}
    assert {clip.text for clip in clips} == {None}


def test_a_manifest_says_which_files_and_what_is_said(folder: Path) -> None:
    (folder / "manifest.jsonl").write_text(
        '{"file": "2.wav", "text": "two", "kind": "x"}\n{"file": "0.wav"}\n'
    )
    clips = read_clips([str(folder)], longest_seconds=30)
    assert [(clip.name, clip.text) for clip in clips] == [("2.wav", "two"), ("0.wav", None)]


def test_a_clip_that_is_cut_has_no_transcript(folder: Path) -> None:
    (folder / "manifest.jsonl").write_text('{"file": "2.wav", "text": "two"}\n')
    assert read_clips([str(folder)], longest_seconds=1.0)[0].text is None


def test_some_of_the_clips_are_spread_over_all(folder: Path) -> None:
    assert [clip.name for clip in read_clips([str(folder)], 30, most=2)] == ["0.wav", "3.wav"]


def test_what_cannot_be_read_is_refused_by_name(folder: Path) -> None:
    (folder / "bad.wav").write_bytes(b"no audio at all")
    empty = folder / "empty"
    empty.mkdir()
    for path in (folder / "bad.wav", empty, folder / "missing.wav"):
        with pytest.raises(ConfigurationError, match=path.name):
            read_clips([str(path)], 30)


def test_the_speech_of_the_package_is_what_its_texts_say_it_is() -> None:
    clips = demonstration_clips()
    assert len(clips) >= 12
    assert all(clip.text and 2 < clip.seconds < 8 for clip in clips)


def test_joined_clips_differ_have_the_length_asked_for_and_never_change() -> None:
    first, second = joined_clips(2, 90.0)
    assert first.seconds == second.seconds == 90.0
    assert not np.array_equal(first.samples, second.samples)
    assert np.array_equal(first.samples, joined_clips(1, 90.0)[0].samples)
    assert float(np.abs(first.samples[-16_000:]).max()) > 0.01, "over again, not filled with silence"
