"""Whether the kernels compute on the GPU at hand what plain operations do: some tokens and frames through the model itself.

Compilers for GPUs fail in many ways: they refuse, or what they make computes something else. Either is found out here, while
a model is loaded, and the plain operations serve.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import structlog
import torch
from torch import Tensor

from lithophone.backends.decoding.encoder import ConformerLayer, EncoderLayer, PackedClips
from lithophone.backends.decoding.packed import transformers_attention
from lithophone.backends.gpu.graphs import SIZES
from lithophone.backends.gpu.kernels import Where
from lithophone.backends.gpu.prompts import Begun

if TYPE_CHECKING:
    from lithophone.backends.gpu.passes import PagedLanguageModel

log = structlog.get_logger(__name__)

PROMPT_TOKENS: Final = 20
DRAFTED_TOKENS: Final = 76  # more than `triton_attention.ALONE_TOKENS`
MOST_DIFFERENCE: Final = 0.25
"""Of the length of a vector. Rounding to 16 bits in 40 layers is some hundredths; what has nothing to do with it, 1 and more."""
MOST_GRAPH_DIFFERENCE: Final = 0.05  # the same kernels on the same numbers
REPLAYS: Final = 3  # kernels that do not wait for each other may come off well at times
COMPARED_ROWS: Final = 64  # at a time: of logits each is as long as the vocabulary


def fault_of_decoder(model: Any, paged: PagedLanguageModel) -> str | None:
    """Why the paged decoder cannot serve; None if it can. Steps of every size are run, so that all is compiled beforehand.

    Args:
        model: The transformers model whose language model it has taken over.
        paged: With pages for as many positions as the largest graph has tokens.
    """
    decoder, sizes = paged.decoder, _sizes(paged)
    count = PROMPT_TOKENS + DRAFTED_TOKENS + 1
    vocabulary = int(model.config.text_config.vocab_size)
    chosen = torch.randint(vocabulary, (max(count, *sizes),), generator=torch.Generator().manual_seed(0))
    many = decoder.embed(chosen.to(decoder.device))
    embeddings = many[:count]

    def by_kernels() -> Tensor:
        with _joined(paged, len(many)) as slot:
            where = _where(paged, slot, len(many))
            for size in sizes:
                decoder.forward(many[:size], _some(where, 0, size))
            ends = torch.tensor((0, PROMPT_TOKENS), dtype=torch.int32, device=decoder.device)
            begun = Begun((PROMPT_TOKENS,), ends)
            prompt = decoder.forward(embeddings[:PROMPT_TOKENS], _some(where, 0, PROMPT_TOKENS), begun)
            drafted = decoder.forward(embeddings[PROMPT_TOKENS:-1], _some(where, PROMPT_TOKENS, count - 1))
            return torch.cat(
                (prompt, drafted, decoder.forward(embeddings[-1:], _some(where, count - 1, count)))
            )

    def by_transformers() -> Tensor:
        with transformers_attention(model):
            output = model.model.language_model(inputs_embeds=embeddings.unsqueeze(0), use_cache=False)
        return output.last_hidden_state[0]

    return _fault(by_kernels, by_transformers)


def fault_of_graphs(paged: PagedLanguageModel) -> str | None:
    """Why its graphs cannot serve; None if they say what their kernels say one by one, or if there are none."""
    graphs = paged.graphs
    if graphs is None:
        return None
    sizes = [size for size in _sizes(paged) if graphs.hold(size)]
    with _joined(paged, sizes[-1]) as slot:
        where = _where(paged, slot, sizes[-1])
        for size in sizes:
            packed = np.stack((np.arange(size) % PROMPT_TOKENS, np.full(size, slot), np.arange(size)))
            tokens = torch.from_numpy(packed[0]).to(paged.decoder.device)
            expected = paged.step(tokens, _some(where, 0, size))
            for _ in range(REPLAYS):
                difference = _difference(graphs.replay(packed.astype(np.int32)).logits, expected)
                if not difference <= MOST_GRAPH_DIFFERENCE:
                    return f"a graph of {size} tokens computes something else (off by {difference:.2g})"
    return None


def fault_of_encoder(encoder: Any, layer: EncoderLayer) -> str | None:
    """Why the encoder's layers over kernels cannot serve; None if they can.

    Args:
        encoder: `model.model.encoder`.
        layer: Its first layer, over kernels.
    """
    config, weight = encoder.config, encoder.input_linear.weight
    context = int(config.context_size)
    clips = PackedClips((context + 3, 7), context, int(config.conv_kernel_size) // 2, weight.device)
    noise = torch.randn(clips.frames, len(weight), generator=torch.Generator().manual_seed(0))
    frames = noise.to(weight.device, weight.dtype)
    reference = ConformerLayer(encoder.layers[0])
    return _fault(lambda: layer(frames, clips, None), lambda: reference(frames, clips, None))


def _sizes(paged: PagedLanguageModel) -> list[int]:
    """Tokens of the steps that one sequence alone can fill."""
    return [size for size in SIZES if size <= paged.max_positions]


@contextmanager
def _joined(paged: PagedLanguageModel, positions: int) -> Iterator[int]:
    slot = paged.pages.join(positions)
    if slot is None:
        raise RuntimeError("the pool of pages is too small")
    try:
        yield slot
    finally:
        paged.pages.leave(slot)


def _where(paged: PagedLanguageModel, slot: int, count: int) -> Where:
    device = paged.decoder.device
    positions = torch.arange(count, dtype=torch.int32, device=device)
    table = torch.from_numpy(paged.pages.table).to(device)
    return Where(torch.full_like(positions, slot), positions, table, paged.decoder.rotation)


def _some(where: Where, start: int, end: int) -> Where:
    return where._replace(slots=where.slots[start:end], positions=where.positions[start:end])


def _fault(kernels: Callable[[], Tensor], reference: Callable[[], Tensor]) -> str | None:
    """What is wrong with rows [rows, features] by kernels; nothing, where there is no reference to hold against them."""
    try:
        found = kernels().float().cpu()
    except torch.OutOfMemoryError:
        raise  # that is no fault of theirs
    except Exception as error:  # noqa: BLE001 - compilers and drivers fail in many ways
        return f"{type(error).__name__}: {error}"
    try:
        expected = reference().float().cpu()
    except Exception as error:  # noqa: BLE001 - then these may be the only ones that work
        log.warning("no_reference", reason=f"{type(error).__name__}: {error}")
        return None
    difference = _difference(found, expected)
    return None if difference <= MOST_DIFFERENCE else f"they compute something else (off by {difference:.2g})"


def _difference(found: Tensor, expected: Tensor) -> float:
    """Of the row that differs most, as a share of its length."""
    parts = zip(found.split(COMPARED_ROWS), expected.split(COMPARED_ROWS), strict=True)
    shares = [((one - other).norm(dim=-1) / other.norm(dim=-1)).max() for one, other in parts]
    return torch.stack(shares).max().item()
