"""Training packs of the CTC sibling: log-mels with deltas, and a word piece for every label frame.

Owns the layout of rows and their targets. Drawing, joining and degrading clips is `packs`. Knows nothing of the network's
weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

from lithophone.granite import features

from .ctc_model import GUARD_FRAMES, SLOT, SUBSAMPLING
from .ctc_vocabulary import BLANK_ID
from .packs import IGNORE, SILENCE, Corpus, RowShape, Utterance, Words, degraded, drawn

FRAMES = 6 * SLOT  # of one pack: 31 s at 20 ms
LABEL_SECONDS = 0.02 * SUBSAMPLING
FEATURES = 4 * features.MEL_BANDS
SINGLE_SHARE = 0.1  # of rows that hold one clip
SHORT_SHARE = 0.5  # of rows that fill one slot; the rest are as long as rows get
LONGEST_PAUSES = 82  # frames of the pauses around one clip that must fit beside it


@dataclass
class CtcRow:
    """One training example inside a pack; `start` and `length` in input frames of 20 ms."""

    start: int
    length: int
    text: str
    pieces: list[int]


@dataclass
class CtcPack:
    """Rows side by side: features [frames, 320], their mask, and a word piece for every label frame where known."""

    features: Tensor
    mask: Tensor
    labels: Tensor
    rows: list[CtcRow] = field(default_factory=list)


def normalised_with_deltas(mel: np.ndarray) -> Tensor:
    """Features of one row, [frames, 320], as the product makes them of a waveform; frames are a multiple of four."""
    whole = len(mel) // (2 * SUBSAMPLING) * 2 * SUBSAMPLING
    log_mel = torch.from_numpy(mel[:whole]).clamp(min=SILENCE)
    scaled = torch.maximum(log_mel, log_mel.max() - features.LOG_MEL_RANGE) / 4 + 1
    edged = functional.pad(scaled.T[None], (1, 1), mode="replicate")[0].T
    return torch.cat((scaled, (edged[2:] - edged[:-2]) / 2), 1).reshape(-1, FEATURES)


def frame_pieces(pieces: list[list[int]], words: Words, frames: int) -> np.ndarray:
    """A label for every frame: pieces share the time of their word evenly, pauses are blank.

    Each piece has at least one frame of its own, and a blank parts it from an equal one before it.
    """
    labels = np.full(frames, BLANK_ID, dtype=np.int64)
    free = 0
    for ids, (start, end) in zip(pieces, words, strict=True):
        for place, piece in enumerate(ids):
            begin = start + (end - start) * place / len(ids)
            stop = start + (end - start) * (place + 1) / len(ids)
            first = max(round(begin / LABEL_SECONDS), free)
            if 0 < first == free and labels[min(first, frames) - 1] == piece:
                first += 1
            free = max(round(stop / LABEL_SECONDS), first + 1)
            labels[first:free] = piece
    return labels


def fits(pieces: list[int], frames: int) -> bool:
    """Whether the pieces and the blanks between equal ones have room in so many label frames."""
    repeats = sum(one == other for one, other in pairwise(pieces))
    return len(pieces) + repeats <= frames


class CtcPackMaker:
    """Draws packs. The same generator state gives the same pack."""

    def __init__(self, corpus: Corpus, tokenizer: PreTrainedTokenizerFast) -> None:
        self.corpus = corpus
        self._tokenizer = tokenizer
        self._pieces: dict[str, list[int]] = {}

    def pieces(self, text: str) -> list[list[int]]:
        """Word pieces of each word of a text."""
        for word in text.split():
            if word not in self._pieces:
                self._pieces[word] = self._tokenizer(f" {word}", add_special_tokens=False).input_ids
        return [self._pieces[word] for word in text.split()]

    def pack(self, shares: Mapping[str, float], rng: np.random.Generator) -> CtcPack:
        """One random pack of the sources in their shares."""
        labels = torch.full((FRAMES // SUBSAMPLING,), IGNORE)
        pack = CtcPack(torch.zeros(FRAMES, FEATURES), torch.zeros(FRAMES), labels)
        used = 0
        while FRAMES - used >= SLOT:
            room = min(FRAMES - used, 2 * SLOT) - GUARD_FRAMES
            kind = rng.random()
            if SINGLE_SHARE <= kind < SINGLE_SHARE + SHORT_SHARE:
                room = min(room, SLOT - GUARD_FRAMES)
            wanted = 0 if kind < SINGLE_SHARE else room
            shape = RowShape(room, LONGEST_PAUSES, SLOT, GUARD_FRAMES)
            utterance = drawn(self.corpus, shares, rng, wanted, shape)
            if utterance is None:
                break
            used = self._place(pack, utterance, used, rng)
        return pack

    def _place(self, pack: CtcPack, utterance: Utterance, start: int, rng: np.random.Generator) -> int:
        rows = normalised_with_deltas(degraded(utterance.mel, rng))
        length = len(rows)
        pack.features[start : start + length] = rows
        pack.mask[start : start + length] = 1
        pieces = self.pieces(utterance.text)
        frames, words = length // SUBSAMPLING, utterance.words
        if words is not None and not any(math.isnan(begin) for begin, _ in words):
            begin = start // SUBSAMPLING
            pack.labels[begin : begin + frames] = torch.from_numpy(frame_pieces(pieces, words, frames))
        flat = [piece for ids in pieces for piece in ids]
        if fits(flat, frames):
            pack.rows.append(CtcRow(start, length, utterance.text, flat))
        return start + math.ceil((length + GUARD_FRAMES) / SLOT) * SLOT
