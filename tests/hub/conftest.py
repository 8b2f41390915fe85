"""A hub and an empty cache for every test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import close_session

from lithophone.backends.device.facts import read_torch_facts
from lithophone.backends.device.plan import DevicePlan
from lithophone.hub import remote
from lithophone.hub.cache import Repository
from tests.backends.conftest import cpu_plan
from tests.hub.fake import FakeHub

HUB_ID = "ibm-granite/granite-speech-3.3-2b"
SHARD_BYTES = 50_000


def shard(number: int) -> bytes:
    return bytes((number * 7 + place * place) % 251 for place in range(SHARD_BYTES))


def published() -> dict[str, bytes]:
    """The files of a 3.3 repository, names and all that surrounds them: two sets of shards, of which the index names one."""
    shards = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    weight_map = {f"layer.{number}": name for number, name in enumerate(shards)}
    config = {"model_type": "granite_speech", "has_lora_adapter": True, "text_config": {"hidden_size": 2048}}
    return {
        "config.json": json.dumps(config).encode(),
        "adapter_config.json": b'{"r": 64}',
        "adapter_model.safetensors": shard(9),
        "model.safetensors.index.json": json.dumps({"weight_map": weight_map}).encode(),
        **{name: shard(number) for number, name in enumerate(shards)},
        **{f"model-0000{number}-of-00002.safetensors": shard(20 + number) for number in (1, 2)},
        "out_llm.safetensors": shard(30),
        "tokenizer.json": b'{"model": {}}',
        "tokenizer_config.json": b"{}",
        "chat_template.jinja": b"{{ messages }}",
        "model.sig": b"signed",
        "modeling_granite.py": b"raise SystemExit",
        "pytorch_model.bin": shard(40),
        "README.md": b"A model",
        "10226_10111_000000.wav": shard(50),
        "original/consolidated.safetensors": shard(60),
    }


NEEDED = {
    "config.json",
    "adapter_config.json",
    "adapter_model.safetensors",
    "model.safetensors.index.json",
    "model-00001-of-00003.safetensors",
    "model-00002-of-00003.safetensors",
    "model-00003-of-00003.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
}


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    yield
    close_session()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    made = FakeHub()
    made.repositories[HUB_ID] = published()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(remote, "ANSWER_SECONDS", 1.5)
    monkeypatch.setattr(remote, "SILENCE_SECONDS", 0.3)
    for module in ("remote", "download"):
        monkeypatch.setattr(f"lithophone.hub.{module}.PAUSES_SECONDS", (0.01, 0.02))
    with made.running():
        monkeypatch.setattr(constants, "ENDPOINT", made.url)
        template = f"{made.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield made


@pytest.fixture
def plan() -> DevicePlan:
    return cpu_plan(read_torch_facts(), "float32")


@pytest.fixture
def repository(hub: FakeHub) -> Repository:
    assert hub.url
    return Repository(HUB_ID)
