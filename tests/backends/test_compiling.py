"""Compiled layers say what the others say, and everything is compiled before the model counts as warm."""

from __future__ import annotations

import msgspec
import pytest
import torch
from torch._dynamo.utils import counters

from lithophone.backends.base import Backend, RecognitionRequest
from lithophone.backends.device import DevicePlan
from lithophone.backends.transformers_backend.compiling import compile_layers
from lithophone.errors import ConfigurationError
from lithophone.granite.family import DEMONSTRATION_ID
from tests.backends.conftest import opened
from tests.backends.test_identity_slow import BATCH, example_utterances


def tokens(backend: Backend, requests: list[RecognitionRequest]) -> list[list[int]]:
    """Alone, then in company."""
    alone = [backend.recognise([request], lambda: False)[0] for request in requests]
    together = backend.recognise(requests, lambda: False)
    return [[token.id for token in recognition.tokens] for recognition in (*alone, *together)]


def test_without_a_compiler_the_message_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import cpp_builder, exc  # noqa: PLC0415 - slow to import

    def none_found() -> str:
        raise exc.InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", none_found)
    with pytest.raises(ConfigurationError, match=r"g\+\+"):
        compile_layers(torch.nn.Module(), "cpu")


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning"
)  # torch's compiler uses parts of torch that are to go
def test_a_compiled_model_says_the_same(plan: DevicePlan) -> None:
    requests = [RecognitionRequest(samples=clip.samples) for clip in list(example_utterances(0))[:BATCH]]
    wanted = tokens(opened(DEMONSTRATION_ID, plan), requests)
    compiled = opened(DEMONSTRATION_ID, msgspec.structs.replace(plan, compiled=True))
    compiled.warm_up()
    graphs = counters["stats"]["unique_graphs"]
    assert graphs > 0
    assert tokens(compiled, requests) == wanted
    assert counters["stats"]["unique_graphs"] == graphs
