"""An archive of 500 files on a Ray cluster, killed half-way and gone on with: on disk, and in S3 (moto's server)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pytest

from lithophone.transcribe.arrow_store import open_store
from lithophone.transcribe.manifest import FILE_NAME, FOLDER_NAME, Entry
from tests.clusters import Nodes, two_nodes
from tests.figures.archive import short_clips

pytest.importorskip("ray")
moto = pytest.importorskip("moto.server")
dataset = pytest.importorskip("pyarrow.dataset")
fs = pytest.importorskip("pyarrow.fs")
pytestmark = [pytest.mark.ray, pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]

FILES = 500
BROKEN = "sub/broken"
BUCKET = "archive"


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with two_nodes() as nodes:
        yield nodes


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """500 short clips in two folders, of which one is none."""
    folder = tmp_path_factory.mktemp("archive") / "talks"
    (folder / "sub").mkdir(parents=True)
    clips = [path for path, _ in short_clips()]
    for number in range(FILES - 1):
        clip = clips[number % len(clips)]
        below = folder / "sub" if number % 2 else folder
        shutil.copy(clip, below / f"{clip.stem}-{number:03}{clip.suffix}")
    (folder / f"{BROKEN}.mp3").write_bytes(b"ID3 and nothing more")
    return folder


class Place(Protocol):
    """Where recordings are and documents go."""

    source: str
    target: str

    def names(self) -> set[str]:
        """Of what is there, below the target."""
        ...

    def read(self, name: str) -> bytes:
        """What is there by this name."""
        ...


class OnDisk:
    def __init__(self, talks: Path, texts: Path) -> None:
        self.source, self.target = str(talks), str(texts)
        self._texts = texts

    def names(self) -> set[str]:
        return {str(path.relative_to(self._texts)) for path in self._texts.rglob("*.*")}

    def read(self, name: str) -> bytes:
        return (self._texts / name).read_bytes()


class InS3:
    def __init__(self, talks: Path) -> None:
        self.source, self.target = f"s3://{BUCKET}/talks", f"s3://{BUCKET}/texts"
        self._store, self._root = open_store(self.target)
        for path in talks.rglob("*.*"):
            self._store.write(f"{BUCKET}/talks/{path.relative_to(talks)}", path.read_bytes())

    def names(self) -> set[str]:
        found = self._store.find(self._root, recursive=True)
        return {one.key.removeprefix(f"{self._root}/") for one in found}

    def read(self, name: str) -> bytes:
        return self._store.read(f"{self._root}/{name}")


@pytest.fixture(params=["disk", "s3"])
def place(
    request: pytest.FixtureRequest, talks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    if request.param == "disk":
        yield OnDisk(talks, tmp_path / "texts")
        return
    server: Any = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    fs.FileSystem.from_uri(f"s3://{BUCKET}?allow_bucket_creation=true")[0].create_dir(BUCKET)
    yield InS3(talks)
    server.stop()


def start(place: Place, nodes: Nodes, temporary: Path) -> subprocess.Popen[str]:
    formats = ("--output-format", "txt", "--output-format", "parquet")
    ray = (
        "--hosts",
        "ray",
        "--ray-address",
        nodes.address,
        "--ray-min-replicas",
        "2",
        "--ray-max-replicas",
        "2",
    )
    command = (sys.executable, "-m", "lithophone", "transcribe", place.source, "--recursive")
    return subprocess.Popen(
        [*command, "--output-dir", place.target, *formats, *ray],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )


def entries(documents: dict[str, bytes]) -> list[Entry]:
    lines = [
        line
        for name, content in sorted(documents.items())
        if name == FILE_NAME or name.startswith(f"{FOLDER_NAME}/")
        for line in content.splitlines()
    ]
    return [msgspec.json.decode(line, type=Entry) for line in lines]


def test_an_archive_that_is_killed_half_way_has_every_file_once(
    place: Place, nodes: Nodes, talks: Path, tmp_path: Path
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with start(place, nodes, temporary) as killed:
        while len(done := [name for name in place.names() if name.endswith(".txt")]) < FILES // 2:
            assert killed.poll() is None, killed.stderr.read() if killed.stderr else ""
            time.sleep(0.5)
        killed.kill()
    assert list(temporary.iterdir()) == []  # of copies under way
    assert FILES // 2 <= len(done) < FILES - 1

    with start(place, nodes, temporary) as again:
        _, told = again.communicate(timeout=600)
    assert again.returncode == 1, told
    assert told.count(f"{BROKEN}.mp3: ") == 1

    documents = {name: place.read(name) for name in place.names()}
    recordings = {str(path.relative_to(talks).with_suffix("")) for path in talks.rglob("*.*")} - {BROKEN}
    made = Counter(entry.place for entry in entries(documents))
    assert set(made) == recordings
    assert set(made.values()) == {1}
    assert {name for name in documents if name.endswith(".txt")} == {f"{name}.txt" for name in recordings}
    assert_texts_are_those_of_their_clips(documents)
    assert_the_table_has_all(documents, tmp_path / "table", recordings)


def assert_texts_are_those_of_their_clips(documents: dict[str, bytes]) -> None:
    """Each clip is there many times, and heard beside others each time."""
    texts: dict[str, set[bytes]] = {}
    for name, content in documents.items():
        if name.endswith(".txt"):
            texts.setdefault(Path(name).stem.rpartition("-")[0], set()).add(content)
    assert {clip: len(heard) for clip, heard in texts.items()} == dict.fromkeys(texts, 1)
    assert len(set().union(*texts.values())) == len(texts)


def assert_the_table_has_all(documents: dict[str, bytes], folder: Path, recordings: set[str]) -> None:
    for name, content in documents.items():
        if name.endswith(".parquet"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    table = dataset.dataset(folder).to_table()
    assert {str(Path(file).with_suffix("")) for file in table["file"].to_pylist()} == recordings
    words = Counter(table["file"].to_pylist())
    for name, content in documents.items():
        if name.endswith(".txt"):
            (file,) = (file for file in words if str(Path(file).with_suffix("")) == name.removesuffix(".txt"))
            assert words[file] == len(content.split())
