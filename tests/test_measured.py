from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from lithophone.backends.base import BackendInfo
from lithophone.backends.device.plan import DeviceWishes
from lithophone.backends.fake import FakeBackend
from lithophone.measured import MeasuredMemory, Measurement, measured_path

INFO = FakeBackend().info
AUTO = DeviceWishes()


def info(**changes: str) -> BackendInfo:
    return msgspec.structs.replace(INFO, **changes)


def test_what_was_measured_is_known_after_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "measured.json"
    memory = MeasuredMemory(path)
    assert memory.expected_bytes(INFO.model_id, AUTO) == 0
    memory.record(INFO, AUTO, 5)
    memory.record(INFO, AUTO, 7)
    assert list(MeasuredMemory(path)) == [
        Measurement(model=INFO.model_id, device="cpu", dtype="float32", quantization="none", memory_bytes=7)
    ]
    assert MeasuredMemory(path).expected_bytes(INFO.model_id, AUTO) == 7
    assert [file.name for file in path.parent.iterdir()] == ["measured.json"]


def test_only_what_was_loaded_in_the_same_way_says_what_to_expect(tmp_path: Path) -> None:
    memory = MeasuredMemory(tmp_path / "measured.json")
    memory.record(info(dtype="float32"), AUTO, 10)
    memory.record(info(dtype="bfloat16"), AUTO, 5)
    memory.record(info(dtype="bfloat16"), DeviceWishes(quantization="int8"), 3)
    name = INFO.model_id
    assert memory.expected_bytes(name, DeviceWishes(dtype="float32")) == 10
    assert memory.expected_bytes(name, AUTO) == 5, "what auto chose last"
    assert memory.expected_bytes(name, DeviceWishes(quantization="int8")) == 3
    assert memory.expected_bytes(name, DeviceWishes(device="cuda")) == 0
    assert memory.expected_bytes("another", AUTO) == 0


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff"])
def test_a_file_that_cannot_be_read_says_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "measured.json"
    path.write_bytes(content)
    memory = MeasuredMemory(path)
    memory.record(INFO, AUTO, 5)
    assert MeasuredMemory(path).expected_bytes(INFO.model_id, AUTO) == 5


def test_where_nothing_can_be_written_it_is_known_until_the_end(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    memory = MeasuredMemory(tmp_path / "file" / "measured.json")
    memory.record(INFO, AUTO, 5)
    assert memory.expected_bytes(INFO.model_id, AUTO) == 5


def test_the_file_is_among_the_persons_caches() -> None:
    assert measured_path({"XDG_CACHE_HOME": "/caches"}) == Path("/caches/lithophone/measured.json")
    assert measured_path({}) == Path.home() / ".cache/lithophone/measured.json"
