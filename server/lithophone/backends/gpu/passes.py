"""Passes over pages: what is new goes to the device in one copy, what was said comes back in one.

Tokens of all sequences stand one behind the other, those that go on first. A pass without prompts is a replay of a captured
graph where one is large enough; the places that are left over are padding, written to a page of nobody.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from torch import Tensor

from lithophone.backends.decoding.packed import as_tensor
from lithophone.backends.decoding.passes import Embeddings, Part, Verdicts
from lithophone.backends.decoding.verdicts import Exceptions, judge, read
from lithophone.backends.gpu.decoder import PagedDecoder
from lithophone.backends.gpu.graphs import StepGraphs
from lithophone.backends.gpu.head import Head
from lithophone.backends.gpu.kernels import Kernels, Where
from lithophone.backends.gpu.pages import PAGE_POSITIONS, PageTable
from lithophone.backends.gpu.prompts import Begun, bounds_of
from lithophone.backends.gpu.trial import fault_of_graphs

log = structlog.get_logger(__name__)

MOST_POSITIONS: Final = 8192
"""Of one sequence: some ten minutes of audio and its words. Bounds the table that goes to the device."""

WINDOW_PAGES: Final = 16
"""For each window at a time, on average: 1,024 positions, as the estimate of memory has it for one of 30 s."""


class PoolSize(msgspec.Struct, frozen=True):
    """Of the pool of keys and values: sequences at a time, pages, and the most pages of one sequence."""

    slots: int
    pages: int
    slot_pages: int

    @classmethod
    def of(cls, windows: int, max_positions: int) -> PoolSize:
        """Room for so many windows at a time, one of them as long as any may be, and for one more done alone."""
        slot_pages = -(-min(max_positions, MOST_POSITIONS) // PAGE_POSITIONS)
        return cls(windows + 1, 1 + max((windows + 1) * WINDOW_PAGES, slot_pages), slot_pages)


class PagedLanguageModel:
    """A language model whose keys and values are in pages of one pool; see `LanguageModel`.

    Args:
        model: A `GraniteSpeechForConditionalGeneration` or its plus sibling, on one device.
        kernels: See there.
        size: Of the pool.
        graphs: Capture the steps as graphs; needs a device that can.
    """

    def __init__(self, model: Any, kernels: Kernels, size: PoolSize, *, graphs: bool) -> None:
        language_model = model.model.language_model
        config = language_model.config
        self.max_positions = min(int(config.max_position_embeddings), size.slot_pages * PAGE_POSITIONS)
        self.decoder = PagedDecoder(language_model, kernels, size.pages, self.max_positions)
        self.pages = PageTable(size.pages, size.slots, size.slot_pages)
        self.head = Head(model.lm_head.weight, float(config.logits_scaling))
        self.graphs = StepGraphs(self) if graphs else None

    @property
    def exact(self) -> bool:
        """In float32 what is said depends on neither company nor drafts."""
        return self.decoder.dtype == torch.float32

    def prompt(self, before: Sequence[int], audio: Embeddings, after: Sequence[int]) -> Tensor:
        """See `LanguageModel`; [positions, hidden], before the model's embedding multiplier."""
        ids = torch.tensor([*before, *after], device=self.decoder.device)
        text = self.decoder.embed(ids)
        heard = as_tensor(audio).to(text.device, text.dtype)
        return torch.cat([text[: len(before)], heard, text[len(before) :]])

    def prepare(self) -> None:
        """Choose among kernels, and capture the graphs; where they fail, kernels no longer overlap, then each is started alone."""
        if self.graphs is None:
            return
        reason = self._captured(self.graphs)
        if reason is not None and self.decoder.begin_one_by_one():
            log.warning("no_overlap", reason=reason, effect="slower decoding")
            self.graphs = StepGraphs(self)
            reason = self._captured(self.graphs)
        if reason is not None:
            log.warning("no_graphs", reason=reason, effect="slower decoding")
            self.graphs = None

    def _captured(self, graphs: StepGraphs) -> str | None:
        """Why the graphs cannot serve; None if they can."""
        try:
            self.decoder.tune()
            graphs.capture()
            return fault_of_graphs(self)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - compilers and drivers fail in many ways
            return f"{type(error).__name__}: {error}"

    def start(self, end_tokens: frozenset[int], *, settle_ties: bool) -> PagedPasses:
        """See `LanguageModel`."""
        return PagedPasses(self, end_tokens, settle_ties=settle_ties and self.exact)

    def step(self, tokens: Tensor, where: Where) -> Tensor:
        """Scaled logits, float32 [tokens, vocabulary], of one token or more of sequences that go on."""
        return self.head(self.decoder.forward(self.decoder.embed(tokens), where))


class PagedPasses:
    """Passes over some sequences of the pool; see `Passes`. What it leaves behind is given back with it.

    Args:
        model: Whose passes.
        end_tokens: Tokens that end a sequence.
        settle_ties: Say where rounding could decide.
    """

    def __init__(self, model: PagedLanguageModel, end_tokens: frozenset[int], *, settle_ties: bool) -> None:
        self._model = model
        self._end_tokens = end_tokens
        self._settle_ties = settle_ties
        self._slots: set[int] = set()
        weakref.finalize(self, _give_back, model.pages, self._slots)

    def join(self, positions: int) -> int | None:
        """See `Passes`."""
        slot = self._model.pages.join(positions)
        if slot is not None:
            self._slots.add(slot)
        return slot

    def leave(self, slot: int) -> None:
        """See `Passes`."""
        self._slots.remove(slot)
        self._model.pages.leave(slot)

    def run(self, parts: Sequence[Part]) -> Verdicts:
        """See `Passes`."""
        exceptions = Exceptions.of(parts)
        if any(part.prompt is not None for part in parts):
            return self._judged(self._with_prompts(parts), exceptions)
        packed = packed_step(parts)
        graphs = self._model.graphs
        if graphs is None or not graphs.hold(packed.shape[1]):
            tokens, where = self._sent(packed)
            return self._judged(self._model.step(tokens, where), exceptions)
        stepped = graphs.replay(packed)
        if exceptions.any or self._settle_ties:
            return self._judged(stepped.logits, exceptions)
        return read(stepped.judged)

    def padded(self, parts: Sequence[Part]) -> int:
        """Places of the graph that are left over."""
        tokens = sum(part.new for part in parts)
        graphs = self._model.graphs
        if graphs is None or any(part.prompt is not None for part in parts) or not graphs.hold(tokens):
            return 0
        return graphs.size_for(tokens) - tokens

    def _judged(self, logits: Tensor, exceptions: Exceptions) -> Verdicts:
        return read(judge(logits, exceptions, self._end_tokens, settle_ties=self._settle_ties))

    def _with_prompts(self, parts: Sequence[Part]) -> Tensor:
        """Logits of the positions that were asked for, part by part, of a pass in which some begin."""
        ordered = sorted(parts, key=lambda part: part.prompt is not None)
        packed = packed_step(ordered)
        ends = dict(
            zip((part.slot for part in ordered), np.cumsum([part.new for part in ordered]), strict=True)
        )
        asked = np.concatenate([np.arange(ends[part.slot] - part.asked, ends[part.slot]) for part in parts])
        lengths = tuple(part.new for part in ordered if part.prompt is not None)
        bounds = bounds_of(lengths)
        table = self._model.pages.table.ravel()
        sent = np.concatenate((table, packed.ravel(), asked.astype(np.int32), np.array(bounds, np.int32)))
        received = torch.from_numpy(sent).to(self._model.decoder.device)
        tokens, where = self._unpacked(received, packed.shape[1])
        text = self._model.decoder.embed(tokens)
        pieces: list[Tensor] = []
        start = 0
        for part in ordered:
            prompt = 0
            if part.prompt is not None:
                pieces.append(as_tensor(part.prompt))
                prompt = len(part.prompt)
            pieces.append(text[start + prompt : start + part.new])
            start += part.new
        behind = received[-len(asked) - len(bounds) :]
        hidden = self._model.decoder.forward(torch.cat(pieces), where, Begun(lengths, behind[len(asked) :]))
        return self._model.head(hidden[behind[: len(asked)]])

    def _sent(self, packed: NDArray[np.int32]) -> tuple[Tensor, Where]:
        """Tokens and where they belong, on the device by one copy."""
        sent = np.concatenate((self._model.pages.table.ravel(), packed.ravel()))
        return self._unpacked(torch.from_numpy(sent).to(self._model.decoder.device), packed.shape[1])

    def _unpacked(self, received: Tensor, count: int) -> tuple[Tensor, Where]:
        table = self._model.pages.table
        rows = received[table.size : table.size + 3 * count].view(3, count)
        where = Where(
            rows[1], rows[2], received[: table.size].view(table.shape), self._model.decoder.rotation
        )
        return rows[0], where


def packed_step(parts: Sequence[Part]) -> NDArray[np.int32]:
    """Token ids, slots and positions, int32 [3, tokens]; the ids of a prompt, which has embeddings, are 0."""
    tokens: list[int] = []
    slots: list[int] = []
    positions: list[int] = []
    for part in parts:
        new = part.new
        tokens += [0] * (new - len(part.tokens))
        tokens += part.tokens
        slots += [part.slot] * new
        positions += range(part.cached, part.cached + new)
    return np.array((tokens, slots, positions), dtype=np.int32)


def _give_back(pages: PageTable, slots: set[int]) -> None:
    for slot in slots:
        pages.leave(slot)
