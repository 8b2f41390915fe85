"""Many recordings with somebody who only reads them: what is done, skipped, and said."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from lithophone.errors import CheckpointError
from lithophone.formats.cues import CueLimits
from lithophone.transcribe.documents import TEXTS, Layout, OutputFormat
from lithophone.transcribe.folders import LocalFolder
from lithophone.transcribe.manifest import FILE_NAME, Recipe
from lithophone.transcribe.recordings import find_recordings
from lithophone.transcribe.run import Run
from lithophone.transcribe.shelf import FolderShelf, PipeShelf, Shelf
from tests.transcribe.conftest import RECIPE, Notes, Reader, each, fill

TXT = (OutputFormat.TXT,)


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    return fill(tmp_path / "talks", "a.mp3", "b.mp3", "sub/c.mp3")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    return tmp_path / "texts"


def run(
    talks: Path, shelf: Shelf, reader: Reader | None = None, at_once: int = 4
) -> tuple[Reader, Notes, int]:
    reader, notes = reader or Reader(), Notes()
    whole = Run(reader, shelf, notes, at_once)
    asyncio.run(whole.all(each(find_recordings([str(talks)], recursive=True))))
    return reader, notes, whole.failures


def shelf(texts: Path, formats: Sequence[OutputFormat] = TXT, recipe: Recipe = RECIPE) -> FolderShelf:
    return FolderShelf(LocalFolder(texts), formats, Layout(), recipe)


def written(texts: Path) -> set[str]:
    return {path.relative_to(texts).as_posix() for path in texts.rglob("*") if path.is_file()}


def test_documents_lie_as_their_recordings_do(talks: Path, texts: Path) -> None:
    run(talks, shelf(texts, TEXTS))
    names = {f"{place}.{suffix}" for place in ("a", "b", "sub/c") for suffix in TEXTS}
    assert written(texts) == {*names, FILE_NAME}
    assert (texts / "sub" / "c.txt").read_text() == "c\n"


def test_what_is_there_is_not_made_again(talks: Path, texts: Path) -> None:
    run(talks, shelf(texts))
    reader, notes, _ = run(talks, shelf(texts))
    assert (reader.read, sorted(notes.told)) == ([], ["skipped a", "skipped b", "skipped sub/c"])


def test_a_recipe_with_what_json_does_not_have_is_the_same_the_next_time(talks: Path, texts: Path) -> None:
    recipe = Recipe(model="fake", revision=None, options={"languages": (), "clips": [(1.0, float("inf"))]})
    run(talks, shelf(texts, recipe=recipe))
    assert run(talks, shelf(texts, recipe=recipe))[0].read == []


@pytest.mark.parametrize(
    "recipe",
    [
        msgspec.structs.replace(RECIPE, model="another"),
        msgspec.structs.replace(RECIPE, revision="2"),
        msgspec.structs.replace(RECIPE, options={"language": "de"}),
    ],
    ids=["model", "revision", "options"],
)
def test_what_was_made_otherwise_is_made_again(talks: Path, texts: Path, recipe: Recipe) -> None:
    run(talks, shelf(texts))
    assert len(run(talks, shelf(texts, recipe=recipe))[0].read) == 3
    assert len(run(talks, shelf(texts, recipe=recipe))[0].read) == 0


def test_a_recording_that_was_replaced_is_made_again(talks: Path, texts: Path) -> None:
    run(talks, shelf(texts))
    (talks / "b.mp3").write_text("something else")
    assert run(talks, shelf(texts))[0].read == ["b.mp3"]
    assert (texts / "b.txt").read_text() == "something else\n"


def test_a_document_that_is_missing_or_was_not_asked_for_before_is_made(talks: Path, texts: Path) -> None:
    run(talks, shelf(texts))
    (texts / "b.txt").unlink()
    assert run(talks, shelf(texts))[0].read == ["b.mp3"]
    assert len(run(talks, shelf(texts, (*TXT, OutputFormat.SRT)))[0].read) == 3


def test_one_bad_recording_is_reported_and_the_others_go_on(talks: Path, texts: Path) -> None:
    (talks / "a.mp3").write_text("bad")
    _, notes, failures = run(talks, shelf(texts))
    assert failures == 1
    assert "failed a: not audio" in notes.told
    assert written(texts) == {"b.txt", "sub/c.txt", FILE_NAME}
    assert run(talks, shelf(texts))[2] == 1  # it is tried again


def test_a_document_that_cannot_be_written_is_a_failure_of_its_recording(talks: Path, texts: Path) -> None:
    (texts / "a.txt").mkdir(parents=True)
    _, notes, failures = run(talks, shelf(texts))
    assert failures == 1
    assert any(line.startswith("failed a: ") for line in notes.told)
    assert (texts / "b.txt").is_file()


def test_a_model_that_is_gone_ends_the_run(talks: Path, texts: Path) -> None:
    with pytest.raises(CheckpointError, match="gone"):
        run(talks, shelf(texts), Reader(failure=CheckpointError("gone")))


def test_so_many_are_under_way_and_no_more(tmp_path: Path, texts: Path) -> None:
    talks = fill(tmp_path / "many", *(f"{number}.mp3" for number in range(20)))
    assert run(talks, shelf(texts), Reader(seconds=0.005), at_once=5)[0].most_at_once == 5


def test_a_stream_keeps_the_order_of_the_recordings_and_passes_over_failures(talks: Path) -> None:
    (talks / "a.mp3").write_text("later")
    (talks / "b.mp3").write_text("bad")
    found = find_recordings([str(talks)], recursive=True)
    stream = io.BytesIO()
    run(talks, PipeShelf(stream, found, OutputFormat.TXT, Layout()))
    assert stream.getvalue() == b"later\nc\n"


def test_a_torn_line_of_the_manifest_costs_one_recording(talks: Path, texts: Path) -> None:
    run(talks, shelf(texts), at_once=1)
    manifest = texts / FILE_NAME
    manifest.write_bytes(manifest.read_bytes()[:-9])
    assert run(talks, shelf(texts))[0].read == ["c.mp3"]
    assert run(talks, shelf(texts))[0].read == []


def test_layout_reaches_the_documents(talks: Path, texts: Path) -> None:
    (talks / "a.mp3").write_text("one two three four")
    narrow = Layout(limits=CueLimits(line_characters=7, lines=1), words=True)
    run(talks, FolderShelf(LocalFolder(texts), (OutputFormat.SRT, OutputFormat.JSON), narrow, RECIPE))
    lines = [line for line in (texts / "a.srt").read_text().splitlines() if line[:1].isalpha()]
    assert max(map(len, lines)) <= 7
    assert "words" in json.loads((texts / "a.json").read_text())
