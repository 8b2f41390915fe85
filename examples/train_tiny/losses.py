"""The loss both models share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

Span = tuple[int, int, list[int]]
"""First frame, frames, and labels of a row."""


def ctc_loss(logits: Tensor, rows: Sequence[Span], blank: int = 0) -> Tensor:
    """CTC per label over all rows of a pack; `logits` are [frames, labels]."""
    if not rows:
        return logits.sum() * 0
    log_probs = logits.log_softmax(-1)
    longest = max(length for _, length, _ in rows)
    padded = torch.stack(
        [
            functional.pad(log_probs[start : start + length], (0, 0, 0, longest - length))
            for start, length, _ in rows
        ],
        1,
    )
    targets = torch.tensor([label for _, _, labels in rows for label in labels])
    lengths = torch.tensor([length for _, length, _ in rows])
    sizes = torch.tensor([len(labels) for _, _, labels in rows])
    loss = functional.ctc_loss(padded, targets, lengths, sizes, blank, reduction="none", zero_infinity=True)
    return loss.sum() / sizes.sum()
