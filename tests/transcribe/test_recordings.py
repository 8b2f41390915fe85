from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from lithophone.errors import ConfigurationError
from lithophone.transcribe.recordings import find_recordings, watched_recordings
from lithophone.transcribe.sources import State, state_of
from tests.transcribe.conftest import fill


def places(*paths: str, recursive: bool = False) -> list[str]:
    return [recording.place for recording in find_recordings(paths, recursive=recursive)]


def test_a_folder_gives_its_recordings_by_name_and_nothing_else(tmp_path: Path) -> None:
    fill(tmp_path, "b.mp3", "a.WAV", "notes.txt", "._a.wav", "sub/c.flac", ".git/d.wav")
    assert places(str(tmp_path)) == ["a", "b"]
    assert places(str(tmp_path), recursive=True) == ["a", "b", "sub/c"]


def test_a_named_file_is_taken_whatever_it_is_called(tmp_path: Path) -> None:
    fill(tmp_path, "sub/notes.txt")
    assert places(str(tmp_path / "sub" / "notes.txt")) == ["notes"]


def test_a_pattern_keeps_the_folders_behind_its_first_wildcard(tmp_path: Path) -> None:
    fill(tmp_path, "2025/may/a.mp3", "2026/b.mp3", "2026/c.wav")
    assert places(f"{tmp_path}/**/*.mp3") == ["2025/may/a", "2026/b"]


def test_a_file_named_twice_is_transcribed_once(tmp_path: Path) -> None:
    fill(tmp_path, "a.mp3", "b.mp3")
    assert places(str(tmp_path / "b.mp3"), str(tmp_path)) == ["b", "a"]


def test_two_files_of_one_name_keep_their_suffixes(tmp_path: Path) -> None:
    fill(tmp_path, "talk.mp3", "talk.wav", "other.mp3")
    assert places(str(tmp_path)) == ["other", "talk.mp3", "talk.wav"]


def test_two_recordings_that_would_share_a_file_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, "a/talk.mp3", "b/talk.mp3")
    with pytest.raises(ConfigurationError, match="--output-dir"):
        places(str(tmp_path / "a"), str(tmp_path / "b"))
    assert places(str(tmp_path), recursive=True) == ["a/talk", "b/talk"]


def test_a_path_that_is_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        places(str(tmp_path / "gone.mp3"))


def test_a_watched_folder_gives_what_has_stopped_growing_and_again_what_was_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, "first.mp3")
    sizes = [1, 2, 3, 4, 4]

    def growing(path: Path) -> State:
        grown = path.name == "second.mp3" and sizes
        return State(sizes.pop(0), 0) if grown else state_of(path)

    async def watch() -> list[str]:
        async with aclosing(
            watched_recordings([str(tmp_path)], recursive=False, look_seconds=0.0)
        ) as watching:
            seen = [await anext(watching)]
            fill(tmp_path, "second.mp3")
            seen.append(await anext(watching))
            assert sizes == []
            replace(tmp_path / "first.mp3")
            replace(tmp_path / "second.mp3")
            seen += [await anext(watching), await anext(watching)]
        return [recording.place for recording in seen]

    monkeypatch.setattr("lithophone.transcribe.sources.state_of", growing)
    assert asyncio.run(watch()) == ["first", "second", "first", "second"]


def replace(path: Path) -> None:
    path.write_text("another one")
