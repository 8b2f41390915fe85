"""torch.compile for a loaded model.

Owns what is compiled: the layers of the language model around their attention, and the feed-forward halves of the
encoder's layers, which is where nearly all arithmetic is. Attention stays as it is: what it does depends on which
sequence is where, which changes with every pass and would be compiled anew each time. The number of tokens is symbolic,
so that there are two versions of each part, for one token and for more; the warm-up runs both.

On a GPU the one-token version is captured as a graph, which saves the launches. Untested on hardware.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface

from lithophone.backends.decoding.language_model import ATTENTION, packed_attention
from lithophone.errors import ConfigurationError


def compile_layers(model: Any, torch_device: str) -> None:
    """Mark the parts of a `GraniteSpeechForConditionalGeneration` to be compiled at their first use.

    Raises:
        ConfigurationError: the CPU's code needs a C++ compiler, and there is none.
    """
    capture = torch_device != "cpu"
    if capture:
        _capture_fixed_shapes_alone()
    else:
        _require_cpp_compiler()
    AttentionInterface.register(ATTENTION, torch.compiler.disable(packed_attention))
    for layer in model.model.language_model.layers:
        layer.compile(dynamic=True, mode="reduce-overhead" if capture else None)
    for layer in model.model.encoder.layers:
        for half in (layer.ff1, layer.ff2):
            half.compile(dynamic=True)  # never captured: what the encoder gives outlives the next pass


def _capture_fixed_shapes_alone() -> None:
    """No graph for each number of tokens that ever occurs."""
    from torch._inductor import config  # noqa: PLC0415 - slow to import, and only wanted here

    config.triton.cudagraph_skip_dynamic_graphs = True


def _require_cpp_compiler() -> None:
    from torch._inductor.cpp_builder import get_cpp_compiler  # noqa: PLC0415 - as above
    from torch._inductor.exc import InvalidCxxCompiler  # noqa: PLC0415 - as above

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        raise ConfigurationError(
            "--compile on the CPU needs a C++ compiler such as g++ on the PATH"
        ) from None
