"""Recordings and documents in an object store: what is found, what is made once, and what a manifest of parts keeps."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from lithophone.errors import ConfigurationError
from lithophone.transcribe.documents import Layout, OutputFormat
from lithophone.transcribe.manifest import Recipe
from lithophone.transcribe.objects import ObjectFolder, ObjectJournal
from lithophone.transcribe.recordings import Recording, find_recordings, objects_found
from lithophone.transcribe.run import Run
from lithophone.transcribe.shelf import FolderShelf
from tests.transcribe.conftest import RECIPE, Notes, Reader, each
from tests.transcribe.stores import Shelves

ARCHIVE = ("in/a.mp3", "in/b.mp3", "in/sub/c.mp3", "in/._a.mp3", "in/notes.pdf", "inner/d.mp3")
MANIFEST = "out/lithophone-manifest"


def recordings(store: Shelves, key: str = "in", *, recursive: bool = True) -> list[Recording]:
    found = objects_found(store, key, store.find(key, recursive=recursive))
    return [
        Recording(source=one.source, place=str(one.relative).removesuffix(one.relative.suffix))
        for one in found
    ]


def run(store: Shelves, recipe: Recipe = RECIPE) -> tuple[list[str], list[str]]:
    reader, notes = Reader(), Notes()
    shelf = FolderShelf(ObjectFolder(store, "out"), (OutputFormat.TXT,), Layout(), recipe)
    asyncio.run(Run(reader, shelf, notes, 4).all(each(recordings(store))))
    return sorted(reader.read), sorted(line for line in notes.told if not line.startswith("heard"))


def parts(store: Shelves) -> list[str]:
    return [key for key in store.objects if key.startswith(MANIFEST)]


def test_a_prefix_gives_its_recordings_and_nothing_else() -> None:
    store = Shelves(*ARCHIVE)
    assert [one.place for one in recordings(store)] == ["a", "b", "sub/c"]
    assert [one.place for one in recordings(store, recursive=False)] == ["a", "b"]
    assert [(str(one.source), one.file) for one in recordings(store, "in/sub/c.mp3")] == [
        ("s3://in/sub/c.mp3", "c.mp3")
    ]
    assert [one.file for one in recordings(store)] == ["a.mp3", "b.mp3", "sub/c.mp3"]


def test_every_recording_is_made_once() -> None:
    store = Shelves(*ARCHIVE)
    assert run(store)[0] == ["a", "b", "c"]
    assert store.objects["out/sub/c.txt"] == b"c\n"
    assert run(store) == ([], ["skipped a", "skipped b", "skipped sub/c"])


def test_what_was_replaced_is_missing_or_made_otherwise_is_made_again() -> None:
    store = Shelves(*ARCHIVE)
    run(store)
    store.write("in/a.mp3", b"a")
    store.delete("out/b.txt")
    assert run(store)[0] == ["a", "b"]
    assert len(run(store, msgspec.structs.replace(RECIPE, revision="2"))[0]) == 3


def test_one_that_cannot_be_written_or_is_gone_does_not_stop_the_others() -> None:
    store = Shelves(*ARCHIVE)
    store.refused = "out/a"
    _, told = run(store)
    assert "failed a: AWS Error ACCESS_DENIED" in told
    assert {"out/b.txt", "out/sub/c.txt"} <= set(store.objects)


def test_the_next_run_joins_the_parts_of_a_manifest() -> None:
    store = Shelves(*ARCHIVE)
    run(store)
    assert len(parts(store)) == 3
    run(store)
    (joined,) = parts(store)
    assert len(store.objects[joined].splitlines()) == 3


def test_later_lines_win_after_parts_were_joined() -> None:
    store = Shelves()
    journal = ObjectJournal(store, MANIFEST)
    for line in (b"1", b"2"):
        journal.add(line)
    assert journal.lines() == [b"1", b"2"]
    journal.add(b"3")
    assert journal.lines() == [b"1", b"2", b"3"]
    assert journal.lines() == [b"1", b"2", b"3"]


class JoinedMeanwhile(Shelves):
    """Another run reads and joins all parts in the moment after this one has listed them."""

    def __init__(self) -> None:
        super().__init__()
        self.beside = False

    def read(self, key: str) -> bytes:
        if not self.beside:
            self.beside = True
            ObjectJournal(self, MANIFEST).lines()
        return super().read(key)


def test_two_runs_that_join_at_once_lose_no_line() -> None:
    store = JoinedMeanwhile()
    journal = ObjectJournal(store, MANIFEST)
    for number in range(20):
        journal.add(b"%d" % number)
    all_lines = [b"%d" % number for number in range(20)]
    assert journal.lines() == all_lines
    assert set(ObjectJournal(store, MANIFEST).lines()) == set(all_lines)


def test_a_store_that_lets_nobody_join_costs_no_line() -> None:
    store = Shelves()
    journal = ObjectJournal(store, MANIFEST)
    journal.add(b"1")
    journal.add(b"2")
    store.refused = MANIFEST
    assert journal.lines() == journal.lines() == [b"1", b"2"]


def test_what_is_no_store_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="zz:// is not a store of recordings"):
        find_recordings(["zz://talks"], recursive=False)
