"""Configurations with anything in them: a model that works, or one line about what is wrong, and neither takes long."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lithophone.backends.transformers_backend.checkpoint import (
    embedded_checkpoint,
    read_reference,
    read_traits,
)
from lithophone.errors import CheckpointError, DoesNotFitError
from lithophone.granite.family import FAMILY
from lithophone.granite.prompts import Task, instruction
from tests.backends.conftest import started

LONGEST_SECONDS = 30.0  # of the processor, for one start; most take a hundredth

FILES = {
    "granite-speech-3.3-2b": (
        "config.json",
        "generation_config.json",
        "adapter_config.json",
        "tokenizer_config.json",
    ),
    "granite-speech-4.1-2b-plus": ("config.json", "generation_config.json", "tokenizer_config.json"),
    "granite-speech-5.0-470m-turboctc": ("config.json", "tokenizer_config.json"),
}

numbers = (
    st.integers(-2, 400)
    | st.sampled_from([0, 2**31, 2**63, 10**9, 10**12, 10**30, 1 << 20, 65_536, 4096])
    | st.floats(allow_nan=True, allow_infinity=True)
)
scalars = (
    st.none()
    | st.booleans()
    | numbers
    | st.text(max_size=8)
    | st.sampled_from(["silu", "granite", "64", "cpu"])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)


class Change:
    """Other values in some places of one file; every place that it has, and one that it has not, may be chosen."""

    def __init__(self, data: st.DataObject, written: Any) -> None:
        self.written = written
        for _ in range(data.draw(st.integers(1, 3))):
            holder, key = data.draw(st.sampled_from(places(self.written)))
            holder[key] = data.draw(numbers if isinstance(holder.get(key), int | float) else values)


def places(written: Any) -> list[tuple[dict[str, Any], str]]:
    found: list[tuple[dict[str, Any], str]] = []
    if isinstance(written, dict):
        for key, value in written.items():
            found += [(written, key), *places(value)]
        found.append((written, "something_else"))
    return found


@pytest.fixture(scope="module")
def copies(shape: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("changed")
    return {name: Path(shutil.copytree(shape(name), folder / name)) for name in FILES}


@settings(max_examples=60)
@given(data=st.data())
def test_any_value_anywhere_loads_or_is_refused(data: st.DataObject, copies: dict[str, Path]) -> None:
    name = data.draw(st.sampled_from(sorted(FILES)))
    file = copies[name] / data.draw(st.sampled_from(FILES[name]))
    before = file.read_text()
    file.write_text(json.dumps(Change(data, json.loads(before)).written))
    begun = time.process_time()
    try:
        started(copies[name])
    except (CheckpointError, DoesNotFitError) as refused:
        assert len(refused.message.splitlines()) == 1  # noqa: PT017 - most are refused, some are not
    finally:
        file.write_text(before)
    assert time.process_time() - begun < LONGEST_SECONDS


@pytest.mark.parametrize(
    ("flag", "adapter", "lora"),
    [(True, True, True), (True, False, True), (False, True, False), (None, True, True), (None, False, False)],
)
def test_what_is_left_out_of_the_adapter_is_seen_in_the_folder(
    flag: bool | None, adapter: bool, lora: bool, copies: dict[str, Path], tmp_path: Path
) -> None:
    config = json.loads((copies["granite-speech-3.3-2b"] / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "has_lora_adapter": flag}))
    if adapter:
        (tmp_path / "adapter_config.json").write_text("{}")
    assert read_traits(tmp_path).has_lora_adapter is lora


SHAPE_3, SHAPE_4 = "granite-speech-3.3-2b", "granite-4.0-1b-speech"


def copied(shape: Callable[[str], Path], name: str, folder: Path, **fields: object) -> Path:
    """A checkpoint in another folder, with other fields in its configuration."""
    copy = Path(shutil.copytree(shape(name), folder))
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, **fields}))
    return copy


@pytest.mark.parametrize("name", ["my-model", "granite-speech-4.1-2b", "granite-speech-3.3-8b"])
def test_a_copy_of_4_0_is_4_0_under_any_name(name: str, shape: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copied(shape, SHAPE_4, tmp_path / name, transformers_version="4.54.0")
    reference = read_reference(str(folder))
    assert reference.spec.id == "granite-4.0-1b-speech"
    assert instruction(reference.spec, Task()) == "can you transcribe the speech into a written format?"


def test_a_second_head_makes_it_4_1(shape: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copied(shape, SHAPE_4, tmp_path / "granite-4.0-1b-speech")
    assert read_reference(str(folder)).spec.id == "granite-4.0-1b-speech"
    (folder / "out_llm.safetensors").touch()
    assert read_reference(str(folder)).spec.id == "granite-speech-4.1-2b"


@pytest.mark.parametrize("demonstration", ["granite-speech-tiny", "granite-speech-tiny-ctc"])
def test_a_copy_of_an_embedded_model_is_that(demonstration: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(embedded_checkpoint(FAMILY[demonstration]), tmp_path / "copy"))
    assert read_reference(str(folder)).spec.id == demonstration


@pytest.mark.parametrize("template", ["file", "tokenizer"])
def test_a_3_3_without_its_adapter_is_refused_under_any_name(
    template: str, shape: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copied(shape, SHAPE_3, tmp_path / "granite-speech-4.1-2b", has_lora_adapter=None)
    for file in folder.glob("adapter_*"):
        file.unlink()
    if template == "tokenizer":
        written = json.loads((folder / "tokenizer_config.json").read_text())
        moved = {**written, "chat_template": (folder / "chat_template.jinja").read_text()}
        (folder / "tokenizer_config.json").write_text(json.dumps(moved))
        (folder / "chat_template.jinja").unlink()
    with pytest.raises(CheckpointError, match=r"is a granite-speech-3\.3-2b and holds no adapter.*Download"):
        started(folder)
