# pyright: basic, reportMissingImports=false
"""What needs Arrow: words as Parquet, and its file systems as stores (S3 itself is tried in tests/ray)."""

from __future__ import annotations

import math
from io import BytesIO
from pathlib import Path

import msgspec
import pytest

from lithophone.cli import main
from lithophone.granite.words import Word
from lithophone.transcribe.arrow_store import ArrowStore
from lithophone.transcribe.documents import Layout, OutputFormat, write_document
from tests.formats.samples import TRANSCRIPT, segment

fs = pytest.importorskip("pyarrow.fs")
parquet = pytest.importorskip("pyarrow.parquet")


WORDS = (
    Word(text="Good", start_seconds=0.5, end_seconds=1.0, probability=0.5, speaker=1),
    Word(text=" morning.", start_seconds=1.0, end_seconds=1.5, probability=0.0, speaker=2),
    Word(text=" ", start_seconds=1.5, end_seconds=1.5, probability=1.0),
    Word(text=" Yes.", start_seconds=2.0, end_seconds=2.5),
)
SPOKEN = msgspec.structs.replace(
    TRANSCRIPT, segments=(msgspec.structs.replace(segment(0, 0.0, 3.0, "Good morning. Yes."), words=WORDS),)
)


def test_words_are_rows() -> None:
    document = write_document(SPOKEN, OutputFormat.PARQUET, Layout(), "sub/talk.mp3")
    rows = parquet.read_table(BytesIO(document)).to_pylist()
    assert rows[0] == {
        "file": "sub/talk.mp3",
        "start": 0.5,
        "end": 1.0,
        "word": "Good",
        "speaker": 1,
        "log_probability": pytest.approx(math.log(0.5)),
    }
    assert [row["word"] for row in rows] == ["Good", "morning.", "Yes."]
    assert [row["speaker"] for row in rows] == [1, 2, None]
    assert [row["log_probability"] for row in rows[1:]] == [None, None]


def test_the_files_of_a_folder_are_one_table(tmp_path: Path) -> None:
    for name, transcript in (("a", SPOKEN), ("b", SPOKEN), ("silence", TRANSCRIPT)):
        document = write_document(transcript, OutputFormat.PARQUET, Layout(), f"{name}.mp3")
        (tmp_path / f"{name}.parquet").write_bytes(document)
    table = parquet.read_table(tmp_path)
    assert table["file"].to_pylist() == [*["a.mp3"] * 3, *["b.mp3"] * 3]


def test_a_file_system_of_arrow_is_a_store(tmp_path: Path) -> None:
    store = ArrowStore("s3", fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()))
    (tmp_path / "in" / "sub").mkdir(parents=True)
    store.write("in/a", b"one")
    store.write("in/sub/b", b"three")
    assert {(one.key, one.state.size_bytes) for one in store.find("in", recursive=True)} == {
        ("in/a", 3),
        ("in/sub/b", 5),
    }
    assert [one.key for one in store.find("in", recursive=False)] == ["in/a"]
    assert [one.key for one in store.find("in/a", recursive=False)] == ["in/a"]
    assert store.find("nowhere", recursive=True) == []
    copy = BytesIO()
    store.fetch("in/a", copy)
    assert copy.getvalue() == store.read("in/a") == b"one"
    store.delete("in/a")
    with pytest.raises(FileNotFoundError):
        store.read("in/a")


@pytest.mark.parametrize("location", ["s3://", "s3:///talks"])
def test_a_location_without_a_bucket_is_refused(location: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transcribe", location]) == 2
    assert "s3://" in capsys.readouterr().err
