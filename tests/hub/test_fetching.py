"""Models from a hub that is well, and from hubs that are not."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from huggingface_hub import constants, scan_cache_dir, snapshot_download
from huggingface_hub.utils import WeakFileLock

from lithophone.errors import CheckpointError
from lithophone.hub import download
from lithophone.hub.cache import Repository, find_snapshot, lacks
from lithophone.hub.fetching import fetch_anew, fetch_config, fetch_model, fetch_sample
from lithophone.hub.layout import CONFIG_FILES
from lithophone.hub.progress import Fetched
from tests.hub.conftest import HUB_ID, NEEDED, SHARD_BYTES, published
from tests.hub.fake import FakeHub, etag_of

SHARD = "model-00002-of-00003.safetensors"


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def partials(repository: Repository) -> list[Path]:
    return list((repository.folder / "blobs").glob("*.incomplete"))


def test_a_model_takes_what_its_index_names_and_nothing_else(hub: FakeHub, repository: Repository) -> None:
    snapshot = fetch_model(repository)
    assert names(snapshot.path) == hub.asked_for_files() == NEEDED
    assert all((snapshot.path / name).read_bytes() == published()[name] for name in NEEDED)
    assert snapshot.commit == hub.commit(HUB_ID)
    assert not partials(repository)


def test_others_find_in_the_cache_what_was_fetched(hub: FakeHub, repository: Repository) -> None:
    snapshot = fetch_model(repository)
    hub.asked.clear()
    (found,) = scan_cache_dir(constants.HF_HUB_CACHE).repos
    assert found.repo_id == HUB_ID
    assert {file.file_name for one in found.revisions for file in one.files} == NEEDED
    theirs = snapshot_download(
        HUB_ID, local_files_only=True, allow_patterns=["*.json"], cache_dir=constants.HF_HUB_CACHE
    )
    assert Path(theirs) == snapshot.path
    assert not hub.asked


def test_a_configuration_comes_without_weights(hub: FakeHub, repository: Repository) -> None:
    assert names(fetch_config(repository).path) == {*CONFIG_FILES}
    hub.asked.clear()
    fetch_config(repository)
    assert not hub.asked


def test_a_whole_cache_needs_no_network(hub: FakeHub, repository: Repository) -> None:
    fetched = fetch_model(repository)
    hub.asked.clear()
    assert fetch_model(repository) == fetched
    assert not hub.asked


@pytest.mark.parametrize("missing", sorted(NEEDED - {"tokenizer_config.json", "adapter_config.json"}))
def test_what_is_missing_in_the_cache_is_fetched(missing: str, hub: FakeHub, repository: Repository) -> None:
    snapshot = fetch_model(repository)
    blob = (snapshot.path / missing).resolve()
    (snapshot.path / missing).unlink()
    blob.unlink()
    hub.asked.clear()
    assert names(fetch_model(repository).path) == NEEDED
    assert hub.asked_for_files() == {missing}


def test_progress_goes_up_to_the_whole(repository: Repository) -> None:
    told: list[Fetched] = []
    fetch_model(repository, told.append)
    assert {one.total_bytes for one in told} == {4 * SHARD_BYTES}
    assert told[-1].done_bytes == 4 * SHARD_BYTES
    assert [one.done_bytes for one in told] == sorted(one.done_bytes for one in told)
    assert str(Fetched(3_100_000_000, 6_000_000_000)) == "3.1 of 6.0 GB"


def test_a_connection_that_breaks_goes_on_where_it_was(hub: FakeHub, repository: Repository) -> None:
    hub.break_after[SHARD] = [20_000, 0, 10_000, SHARD_BYTES]
    fetch_model(repository)
    assert hub.ranges == ["bytes=20000-", "bytes=20000-", "bytes=30000-"]


def test_a_hub_that_knows_no_ranges_begins_anew(hub: FakeHub, repository: Repository) -> None:
    hub.ignores_ranges = True
    hub.break_after[SHARD] = [20_000, SHARD_BYTES]
    snapshot = fetch_model(repository)
    assert (snapshot.path / SHARD).read_bytes() == published()[SHARD]


def test_a_hub_that_breaks_off_for_ever_is_given_up_and_what_came_is_kept(
    hub: FakeHub, repository: Repository
) -> None:
    hub.break_after[SHARD] = [20_000, *[0] * 99]
    with pytest.raises(CheckpointError, match=r"cannot be reached .*ended|cannot be reached .*peer"):
        fetch_model(repository)
    partial = repository.folder / "blobs" / f"{etag_of(published()[SHARD])}.incomplete"
    assert partial.stat().st_size == 20_000
    hub.break_after.clear()
    hub.sent_bytes = 0
    fetch_model(repository)
    assert hub.ranges[-1] == "bytes=20000-"
    assert hub.sent_bytes <= 4 * SHARD_BYTES - 20_000
    assert not partials(repository)


def test_a_file_that_came_damaged_is_fetched_once_more(hub: FakeHub, repository: Repository) -> None:
    hub.spoilt[SHARD] = 1
    snapshot = fetch_model(repository)
    assert (snapshot.path / SHARD).read_bytes() == published()[SHARD]


def test_a_file_that_comes_damaged_every_time_is_named(hub: FakeHub, repository: Repository) -> None:
    hub.spoilt[SHARD] = 9
    with pytest.raises(CheckpointError, match=rf"{SHARD} came damaged 2 times"):
        fetch_model(repository)
    assert not (find_snapshot(repository) and lacks(find_snapshot(repository)) is None)  # type: ignore[arg-type]


def test_what_was_begun_of_another_state_leaves_no_litter(hub: FakeHub, repository: Repository) -> None:
    hub.break_after["model-00001-of-00003.safetensors"] = [20_000] * 20
    hub.refuse["/cdn/"] = (500, {})
    hub.refusals_left["/cdn/"] = 10**6
    with pytest.raises(CheckpointError):
        fetch_model(repository)
    blobs = repository.folder / "blobs"
    (begun, other) = (blobs / f"{digit * 64}.incomplete" for digit in "ab")
    for partial in (begun, other):
        partial.write_bytes(b"x" * 1000)
    hub.refuse.clear()
    hub.break_after.clear()
    with WeakFileLock(repository.locks / f"{'b' * 64}.lock"):  # somebody else fetches that one
        fetch_model(repository)
    assert partials(repository) == [other]


def test_a_partial_file_of_something_else_is_forgotten(repository: Repository) -> None:
    (repository.folder / "blobs").mkdir(parents=True)
    etag = etag_of(published()[SHARD])
    (repository.folder / "blobs" / f"{etag}.incomplete").write_bytes(b"x" * (SHARD_BYTES + 5))
    assert (fetch_model(repository).path / SHARD).read_bytes() == published()[SHARD]


class Refusal(NamedTuple):
    status: int
    headers: dict[str, str]
    words: str


REFUSALS = [
    Refusal(401, {}, r"refuses \(401\): check the name"),
    Refusal(401, {"X-Error-Message": "Invalid credentials in Authorization header"}, r"refuses \(401\)"),
    Refusal(403, {"X-Error-Code": "GatedRepo"}, "it is gated: accept its terms at http://.*HF_TOKEN"),
    Refusal(403, {}, r"refuses \(403\).*HF_TOKEN"),
    Refusal(404, {"X-Error-Code": "RepoNotFound"}, "no such model, or it is private: check the name"),
    Refusal(404, {"X-Error-Code": "RevisionNotFound"}, "it has no revision 'main'"),
    Refusal(429, {}, r"too many requests .*\(429\)"),
    Refusal(429, {"Retry-After": "3600"}, r"too many requests .*\(429\)"),
    Refusal(500, {}, r"the hub fails \(500\): start again later"),
    Refusal(503, {}, r"the hub fails \(503\)"),
]


@pytest.mark.parametrize("path", ["/api/", "/cdn/"], ids=["listing", "file"])
@pytest.mark.parametrize("refusal", REFUSALS, ids=[f"{r.status} {r.words[:20]}" for r in REFUSALS])
def test_a_refusal_arrives_in_one_line(
    refusal: Refusal, path: str, hub: FakeHub, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "LONGEST_PAUSE_SECONDS", 0.02)
    hub.refuse[path] = (refusal.status, refusal.headers)
    words = refusal.words if path == "/api/" or refusal.headers else rf"\({refusal.status}\)"
    with pytest.raises(CheckpointError, match=words) as refused:
        fetch_model(repository)
    assert len(refused.value.message.splitlines()) == 1
    assert HUB_ID in refused.value.message


@pytest.mark.parametrize("path", ["/api/", "/cdn/"], ids=["listing", "file"])
@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_hub_is_asked_again(status: int, path: str, hub: FakeHub, repository: Repository) -> None:
    hub.refuse[path] = (status, {"Retry-After": "0"})
    hub.refusals_left[path] = 2
    assert names(fetch_model(repository).path) == NEEDED


@pytest.mark.usefixtures("hub")
def test_a_name_that_is_mistyped_is_said() -> None:
    with pytest.raises(CheckpointError, match=r"ibm/granit cannot be downloaded: the hub has no such model"):
        fetch_model(Repository("ibm/granit"))
    with pytest.raises(CheckpointError, match="it is written as OWNER/NAME"):
        fetch_model(Repository("ibm/granite--speech"))


def test_a_shard_that_the_hub_lacks_is_named(hub: FakeHub, repository: Repository) -> None:
    del hub.repositories[HUB_ID][SHARD]
    with pytest.raises(CheckpointError, match=rf"lacks '{SHARD}', which model.safetensors.index.json names"):
        fetch_model(repository)
    assert "adapter_model.safetensors" not in hub.asked_for_files()  # known before the large ones come


def test_a_silent_hub_is_not_waited_for(hub: FakeHub, repository: Repository) -> None:
    hub.silent = True
    began = time.monotonic()
    with pytest.raises(CheckpointError, match="cannot be reached"):
        fetch_model(repository)
    assert time.monotonic() - began < 5


def test_a_newer_state_is_asked_for_and_the_cache_stands_in(
    hub: FakeHub,
    repository: Repository,
) -> None:
    old = fetch_model(repository)
    hub.repositories[HUB_ID]["generation_config.json"] = b"{}"
    assert fetch_model(repository) == old
    new = fetch_model(repository, newest=True)
    assert new.commit == hub.commit(HUB_ID) != old.commit
    assert names(new.path) == NEEDED | {"generation_config.json"}
    hub.silent = True
    assert fetch_model(repository, newest=True) == new


def test_a_commit_is_pinned(hub: FakeHub) -> None:
    old = hub.commit(HUB_ID)
    pinned = fetch_model(Repository(HUB_ID, old))
    assert pinned.commit == old
    hub.asked.clear()
    assert fetch_model(Repository(HUB_ID, old), newest=True) == pinned
    assert not hub.asked


def test_offline_takes_the_cache_and_says_what_it_lacks(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fetch_model(repository)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch_model(repository) == whole
    (whole.path / SHARD).unlink()
    with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE is set and the cache does not have all of it"):
        fetch_model(repository)


def test_room_is_asked_for_before_the_first_byte(
    hub: FakeHub, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100_000))
    with pytest.raises(CheckpointError, match=r"needs 0\.0 GB on the disk of .*HF_HOME"):
        fetch_model(repository)
    assert not {name for name in hub.asked_for_files() if name.endswith("safetensors")}


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOSPC, "is full: make room, or set HF_HOME"), (errno.EROFS, "cannot be written: set HF_HOME")],
)
def test_a_disk_that_takes_nothing_is_said(
    code: int, words: str, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(code, os.strerror(code), "/cache/file")

    monkeypatch.setattr(download.Progress, "at", refuse)
    with pytest.raises(CheckpointError, match=words):
        fetch_model(repository)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_may_not_be_written_is_said(repository: Repository, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(CheckpointError, match="cannot be written: set HF_HOME"):
        fetch_model(repository)


def test_a_whole_cache_may_be_read_only(repository: Repository) -> None:
    fetched = fetch_model(repository)
    folders = [path for path in Path(constants.HF_HUB_CACHE).rglob("*") if path.is_dir()]
    for folder in folders:
        folder.chmod(0o500)
    assert fetch_model(repository) == fetched
    for folder in folders:
        folder.chmod(0o700)


def test_two_at_once_fetch_each_file_once(hub: FakeHub, repository: Repository) -> None:
    hub.pause_seconds = 0.01
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(fetch_model(repository).path)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1]
    assert hub.sent_bytes < 5 * SHARD_BYTES
    assert not partials(repository)


def test_a_damaged_file_in_the_cache_is_found_and_fetched_anew(hub: FakeHub, repository: Repository) -> None:
    snapshot = fetch_model(repository)
    assert fetch_anew(repository, snapshot) == ()
    blob = (snapshot.path / SHARD).resolve()
    content = bytearray(blob.read_bytes())
    content[1000] ^= 1
    blob.write_bytes(content)
    hub.asked.clear()
    assert fetch_anew(repository, snapshot) == (SHARD,)
    assert (fetch_model(repository).path / SHARD).read_bytes() == published()[SHARD]
    assert hub.asked_for_files() == {SHARD}


def test_a_sample_beside_the_weights_comes_when_it_is_wanted(hub: FakeHub, repository: Repository) -> None:
    name = "10226_10111_000000.wav"
    assert fetch_sample(repository, name) == fetch_sample(repository, name)
    assert hub.asked_for_files() == {name}
    assert fetch_sample(repository, "nothing.wav") is None
    hub.silent = True
    assert fetch_sample(repository, "other.wav") is None
