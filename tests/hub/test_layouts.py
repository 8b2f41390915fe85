"""Every member's repository as it is laid out, from the hub to words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load, save

from lithophone.backends import opening
from lithophone.backends.device.facts import read_torch_facts
from lithophone.backends.device.plan import DevicePlan, DeviceWishes
from lithophone.backends.device.runtime import TorchRuntime
from lithophone.backends.opening import open_backend
from lithophone.backends.transformers_backend.checkpoint import fetch, read_reference
from lithophone.errors import CheckpointError
from lithophone.pulling import pull
from tests.backends.conftest import babble, cpu_plan, heard_by, opened
from tests.hub.fake import FakeHub
from tests.hub.layouts import PREFIX, as_published
from tests.shapes import SHAPES

NOT_FETCHED = {"out_llm.safetensors", "model.sig", "granite_encoder.py", "preprocessor_config.json"}


@pytest.mark.parametrize("name", SHAPES)
def test_a_repository_as_ibm_lays_it_out_is_fetched_loaded_and_heard(
    name: str, hub: FakeHub, shape: Callable[[str], Path], plan: DevicePlan
) -> None:
    files = as_published(shape(name))
    hub.repositories[f"ibm-granite/{name}"] = files
    checkpoint = fetch(read_reference(name))
    fetched = {file.name for file in checkpoint.path.iterdir()}
    assert fetched < {*files}
    assert (
        not {file for file in fetched if file.endswith(".wav") or "-of-00004" in file} | fetched & NOT_FETCHED
    )
    assert (checkpoint.spec.id, checkpoint.revision) == (name, hub.commit(f"ibm-granite/{name}"))
    published = opened(name, plan)
    assert published.info.revision == checkpoint.revision
    assert heard_by(published, babble(1.0)).tokens or name.endswith("turboctc")


def test_an_adapter_without_prefix_changes_what_is_heard(
    hub: FakeHub, shape: Callable[[str], Path], plan: DevicePlan
) -> None:
    name = "granite-speech-3.3-2b"
    files = as_published(shape(name))
    hub.repositories[f"ibm-granite/{name}"] = files
    heard = _said(name, plan)
    prefixed = load(files["adapter_model.safetensors"])
    files["adapter_model.safetensors"] = save(
        {f"{PREFIX}{tensor}": values for tensor, values in prefixed.items()}
    )
    pull(name, "main")
    assert _said(name, plan) == heard
    files["adapter_model.safetensors"] = save({tensor: values * 0 for tensor, values in prefixed.items()})
    pull(name, "main")
    assert _said(name, plan) != heard


def test_a_damaged_file_in_the_cache_is_named_with_what_to_do(
    hub: FakeHub, shape: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, file = "granite-speech-4.1-2b", "model-00002-of-00003.safetensors"
    hub.repositories[f"acme/{name}"] = as_published(shape(name))
    reference = read_reference(f"acme/{name}")
    monkeypatch.setattr(opening, "plan_for", lambda *_, **__: cpu_plan(read_torch_facts(), "float32"))
    blob = (fetch(reference).path / file).resolve()
    blob.write_bytes(blob.read_bytes()[:-100])
    with pytest.raises(
        CheckpointError, match=rf"{file} cannot be used.*`lithophone pull acme/{name}`"
    ) as refused:
        open_backend(reference, DeviceWishes())
    assert len(refused.value.message.splitlines()) == 1
    pull(f"acme/{name}", "main")
    with TorchRuntime().thread():
        assert open_backend(reference, DeviceWishes()).info.model_id == name


def _said(name: str, plan: DevicePlan) -> list[int]:
    return [token.id for token in heard_by(opened(name, plan), babble(1.5)).tokens]
